// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// mlir-opt with the nag dialect, passes and pipelines.
#include "nag/Conversion/Passes.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/Transforms/GenerationPasses.h"
#include "nag/Dialect/Nag/Transforms/Passes.h"
#include "nag/Dialect/Nag/Transforms/Precision.h"
#include "nag/Pipelines/Pipelines.h"

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::registerAllPasses();
  nag::registerNagConversionPasses();
  nag::registerNagTransformsPasses();
  nag::registerNagPrecisionPasses();
  nag::registerNagGenerationPasses();
  nag::registerPipelines();
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  registry.insert<nag::NagDialect>();
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "nag compiler: pass driver\n", registry));
}
