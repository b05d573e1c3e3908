// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Code generation of kernels for the CPU: from functions in
// destination-passing form to the LLVM dialect.
#ifndef NAG_PIPELINES_CPUKERNELS_H
#define NAG_PIPELINES_CPUKERNELS_H

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"

namespace nag {

/// Options of `nag-cpu-kernels`.
struct CPUKernelsOptions : mlir::PassPipelineOptions<CPUKernelsOptions> {
  Option<int64_t> vectorBits{
      *this, "vector-bits",
      llvm::cl::desc("bits of the vectors that row-wise loops work on"),
      llvm::cl::init(512)};
  Option<int64_t> minWork{
      *this, "min-work",
      llvm::cl::desc("element operations from which threads pay"),
      llvm::cl::init(65536)};
};

/// `nag-cpu-kernels`, on a module of kernel functions (-nag-outline-kernels).
/// Each becomes an llvm.func with one pointer per argument, inputs and then
/// destinations, and no result.
void buildCPUKernelsPipeline(mlir::OpPassManager &manager,
                             const CPUKernelsOptions &options);

/// Registers `nag-cpu-kernels`.
void registerCPUKernelsPipeline();

} // namespace nag

#endif // NAG_PIPELINES_CPUKERNELS_H
