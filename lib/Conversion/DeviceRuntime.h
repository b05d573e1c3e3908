// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the host side of a program for a GPU calls (Runtime/CUDA/Entry.h). The
// context that every function takes first is the address of
// `nag_gpu_context`.
#ifndef NAG_LIB_CONVERSION_DEVICERUNTIME_H
#define NAG_LIB_CONVERSION_DEVICERUNTIME_H

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace nag {

class DeviceRuntime {
public:
  /// Functions are declared in `owner` when they are called.
  explicit DeviceRuntime(mlir::ModuleOp owner) : module(owner) {}

  /// void nag_gpu_launch(context, int64_t kernel, const int64_t sizes[7],
  ///                     void **arguments)
  void launch(mlir::ImplicitLocOpBuilder &builder, mlir::Value kernel,
              mlir::Value sizes, mlir::Value arguments);
  /// void *nag_gpu_scratch(context): memory of the program's kernels.
  mlir::Value scratch(mlir::ImplicitLocOpBuilder &builder);
  /// void nag_gpu_copy(context, void *to, const void *from, int64_t bytes):
  /// between places in device memory, which may overlap.
  void copy(mlir::ImplicitLocOpBuilder &builder, mlir::Value to,
            mlir::Value from, mlir::Value bytes);
  /// void *nag_gpu_constant(context, const void *host, int64_t bytes): where a
  /// constant of the host program stands in device memory.
  mlir::Value constant(mlir::ImplicitLocOpBuilder &builder, mlir::Value host,
                       mlir::Value bytes);

private:
  mlir::LLVM::CallOp call(mlir::ImplicitLocOpBuilder &builder,
                          llvm::StringRef name, bool hasResult,
                          mlir::ValueRange arguments);
  mlir::LLVM::GlobalOp getContext();

  mlir::ModuleOp module;
};

} // namespace nag

#endif // NAG_LIB_CONVERSION_DEVICERUNTIME_H
