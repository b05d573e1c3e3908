// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// PTX text of device functions.
#ifndef NAG_TARGET_CUDA_PTX_H
#define NAG_TARGET_CUDA_PTX_H

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "llvm/Support/Error.h"

#include <memory>
#include <string>

namespace llvm {
class LLVMContext;
class Module;
} // namespace llvm

namespace nag::cuda {

/// LLVM IR of a gpu.module lowered by `nag-gpu-kernels`, optimised for `chip`
/// (sm_80, sm_90a).
llvm::Expected<std::unique_ptr<llvm::Module>>
translateToLLVM(mlir::gpu::GPUModuleOp device, llvm::StringRef chip,
                llvm::LLVMContext &context);

/// PTX text of that module, for PTX ISA 8.0 (CUDA 12.0 and later).
llvm::Expected<std::string> emitPTX(llvm::Module &module, llvm::StringRef chip);

} // namespace nag::cuda

#endif // NAG_TARGET_CUDA_PTX_H
