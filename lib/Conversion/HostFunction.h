// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One host function as an LLVM function.
#ifndef NAG_LIB_CONVERSION_HOSTFUNCTION_H
#define NAG_LIB_CONVERSION_HOSTFUNCTION_H

#include "DeviceRuntime.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/Transforms/HostOps.h"
#include "nag/Dialect/Nag/Transforms/HostSignature.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace nag {

/// The parts of a nag.repeat's loop that its iterations share.
struct RepeatLoop {
  mlir::Block *body = nullptr;
  mlir::Value counter, index;
  /// Per carry that alternates, three block arguments: what is read, what is
  /// written, and what is written next. Empty for the others.
  llvm::SmallVector<llvm::SmallVector<mlir::Value, 3>> carries;
};

/// Lowers one host function: tensors become pointers, calls and launches pass
/// them on.
class HostFunctionLowering {
public:
  /// `deviceRuntime` is null where buffers are host memory.
  HostFunctionLowering(mlir::func::FuncOp hostFunction,
                       mlir::SymbolTable &programSymbols,
                       mlir::LLVM::LLVMFuncOp lowered,
                       DeviceRuntime *deviceRuntime);

  mlir::LogicalResult run();

private:
  mlir::LogicalResult lowerLaunch(LaunchOp op);
  void lowerRepeat(RepeatOp op);
  RepeatLoop beginLoop(RepeatOp op, mlir::func::FuncOp callee);
  void endLoop(RepeatOp op, const RepeatLoop &loop);
  mlir::Value getNextSlice(RepeatOp op, const RepeatLoop &loop,
                           mlir::Value stack, unsigned carry);
  void lowerCall(mlir::func::CallOp op);
  void lowerCopy(CopyOp op);

  mlir::Value getPointer(mlir::Value tensor);
  mlir::Value computePointer(mlir::Value tensor);
  mlir::Value getSlotPointer(mlir::Attribute slot);
  mlir::Value getGlobal(mlir::arith::ConstantOp constant);
  mlir::Value advance(mlir::Value pointer, int64_t bytes);
  mlir::Value advance(mlir::Value pointer, mlir::Value index, int64_t stride);
  mlir::Value constant(int64_t value);
  void callHost(mlir::func::FuncOp callee, llvm::ArrayRef<mlir::Value> buffers,
                mlir::Attribute slot, mlir::Value pointerArray);
  mlir::Value allocatePointerArray(unsigned count);

  mlir::func::FuncOp function;
  mlir::SymbolTable &symbols;
  mlir::LLVM::LLVMFuncOp target;
  DeviceRuntime *device;
  mlir::ImplicitLocOpBuilder builder;
  mlir::Type pointerType;
  mlir::Block *entry;
  llvm::SmallVector<mlir::Value> arguments;
  mlir::Value workspace;
  llvm::DenseMap<mlir::Value, mlir::Value> pointers;
};

/// The buffers of `callee`'s results that stand in none of its arguments.
template <typename GetBuffer>
void appendResultBuffers(mlir::func::FuncOp callee,
                         llvm::SmallVectorImpl<mlir::Value> &buffers,
                         GetBuffer getBuffer) {
  for (auto [index, buffer] : llvm::enumerate(getResultBuffers(callee)))
    if (buffer >= callee.getNumArguments())
      buffers.push_back(getBuffer(index));
}

} // namespace nag

#endif // NAG_LIB_CONVERSION_HOSTFUNCTION_H
