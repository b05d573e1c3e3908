// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// mlir-opt with the nag dialect, passes and pipelines.
#include "Version.h"

#include "nag/Conversion/Passes.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/Transforms/GenerationPasses.h"
#include "nag/Dialect/Nag/Transforms/InspectionPasses.h"
#include "nag/Dialect/Nag/Transforms/Passes.h"
#include "nag/Dialect/Nag/Transforms/Precision.h"
#include "nag/Dialect/Nag/Transforms/RoutingPasses.h"
#include "nag/Pipelines/Pipelines.h"

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

static constexpr llvm::StringLiteral kExamples = R"(
EXAMPLES:
  nag-opt model.mlir --nag-expand-blocks --nag-decompose        one pass at a time
  nag-opt model.mlir --nag-training-pipeline                    @gradients, @apply in the dialect
  nag-opt f.mlir --nag-differentiate="function=f seeded"        options of a pass
  nag-opt model.mlir --nag-training-pipeline --mlir-print-ir-after-change
  nag-opt - --verify-roundtrip < op.mlir

EXIT STATUS:
  0 done; 1 failed, with diagnostics on the standard error
)";

int main(int argc, char **argv) {
  mlir::registerAllPasses();
  nag::registerNagConversionPasses();
  nag::registerNagTransformsPasses();
  nag::registerNagPrecisionPasses();
  nag::registerNagGenerationPasses();
  nag::registerNagInspectionPasses();
  nag::registerNagRoutingPasses();
  nag::registerPipelines();
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  registry.insert<nag::NagDialect>();
  llvm::cl::SetVersionPrinter(
      [](llvm::raw_ostream &os) { nag::tool::printBuild("nag-opt", os); });
  llvm::cl::extrahelp examples(kExamples);
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "nag compiler: pass driver\n", registry));
}
