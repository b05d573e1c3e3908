// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Code generation of kernels for NVIDIA GPUs: from functions in
// destination-passing form to device functions in the nvvm dialect and a host
// side in the LLVM dialect.
#ifndef NAG_PIPELINES_GPUKERNELS_H
#define NAG_PIPELINES_GPUKERNELS_H

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"

namespace nag {

/// Options of `nag-gpu-kernels`.
struct GPUKernelsOptions : mlir::PassPipelineOptions<GPUKernelsOptions> {
  Option<std::string> chip{*this, "chip",
                           llvm::cl::desc("the chip, sm_80 or sm_90a"),
                           llvm::cl::init("sm_80")};
  Option<bool> tf32{*this, "tf32",
                    llvm::cl::desc("contractions of f32 tensors round their "
                                   "operands to tf32, for tensor cores"),
                    llvm::cl::init(false)};
  Option<std::string> schedule{
      *this, "schedule",
      llvm::cl::desc("JSON file of schedules that override the choice of "
                     "-nag-assign-schedules"),
      llvm::cl::init("")};
  Option<bool> remarks{*this, "remarks",
                       llvm::cl::desc("say which schedules were chosen"),
                       llvm::cl::init(false)};
};

/// `nag-gpu-kernels`, on a module of kernel functions (-nag-outline-kernels).
/// Each becomes an llvm.func with one pointer per argument, inputs and then
/// destinations, that launches device functions of the gpu.module `@device`.
/// Consists of three parts; between them schedules and launches can be read.
void buildGPUKernelsPipeline(mlir::OpPassManager &manager,
                             const GPUKernelsOptions &options);

void buildGPUSchedulePipeline(mlir::OpPassManager &manager,
                              const GPUKernelsOptions &options);
void buildGPULaunchPipeline(mlir::OpPassManager &manager,
                            const GPUKernelsOptions &options);
void buildGPUCodegenPipeline(mlir::OpPassManager &manager);

/// Registers `nag-gpu-kernels`.
void registerGPUKernelsPipeline();

} // namespace nag

#endif // NAG_PIPELINES_GPUKERNELS_H
