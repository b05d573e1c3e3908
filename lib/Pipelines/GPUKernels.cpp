// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Pipelines/GPUKernels.h"
#include "nag/Conversion/Passes.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace nag;

/// Thread code of a gpu.module to the nvvm and LLVM dialects.
static void addDeviceCode(OpPassManager &manager) {
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
  ConvertMathToPolynomialsOptions functions;
  functions.withoutLibrary = true;
  manager.addPass(createConvertMathToPolynomials(functions));
  manager.addPass(createConvertNVGPUToNVVMPass());
  manager.addPass(createConvertVectorToSCFPass());
  manager.addPass(memref::createExpandStridedMetadataPass());
  manager.addPass(createLowerAffinePass());
  manager.addPass(createSCFToControlFlowPass());
  ConvertVectorToLLVMPassOptions vectors;
  vectors.reassociateFPReductions = true;
  vectors.useVectorAlignment = true;
  manager.addPass(createConvertVectorToLLVMPass(vectors));
  ConvertGpuOpsToNVVMOpsOptions gpuOptions;
  gpuOptions.useBarePtrCallConv = true;
  manager.addPass(createConvertGpuOpsToNVVMOps(gpuOptions));
  manager.addPass(createReconcileUnrealizedCastsPass());
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

void nag::buildGPUSchedulePipeline(OpPassManager &manager,
                                   const GPUKernelsOptions &options) {
  NagAssignSchedulesOptions schedules;
  schedules.chip = options.chip;
  schedules.tf32 = options.tf32;
  schedules.file = options.schedule;
  schedules.remarks = options.remarks;
  manager.addPass(createNagAssignSchedules(schedules));
}

void nag::buildGPULaunchPipeline(OpPassManager &manager,
                                 const GPUKernelsOptions &options) {
  ConvertNagToGPUOptions kernels;
  kernels.chip = options.chip;
  kernels.tf32 = options.tf32;
  manager.addPass(createConvertNagToGPU(kernels));
}

void nag::buildGPUCodegenPipeline(OpPassManager &manager) {
  // Launches number the device's kernels, which are gpu.funcs until then.
  manager.addPass(createConvertNagLaunchesToLLVM());
  addDeviceCode(manager.nest<gpu::GPUModuleOp>());
}

void nag::buildGPUKernelsPipeline(OpPassManager &manager,
                                  const GPUKernelsOptions &options) {
  buildGPUSchedulePipeline(manager, options);
  buildGPULaunchPipeline(manager, options);
  buildGPUCodegenPipeline(manager);
}

void nag::registerGPUKernelsPipeline() {
  PassPipelineRegistration<GPUKernelsOptions>(
      "nag-gpu-kernels",
      "lower kernel functions to nvvm device functions and their launches",
      buildGPUKernelsPipeline);
}
