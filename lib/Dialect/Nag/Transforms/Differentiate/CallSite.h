// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// func.call and nag.repeat seen alike.
#ifndef NAG_LIB_TRANSFORMS_DIFFERENTIATE_CALLSITE_H
#define NAG_LIB_TRANSFORMS_DIFFERENTIATE_CALLSITE_H

#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/BitVector.h"

namespace nag {

/// How the arguments of a function divide: values carried from call to call,
/// slices of stacks, operands shared by all calls. Results are the carry, then
/// slices. For a plain call every operand and result counts as a slice.
struct CallShape {
  unsigned numCarry = 0;
  unsigned numStacked = 0;
  unsigned numShared = 0;

  unsigned firstShared() const { return numCarry + numStacked; }
  bool isShared(unsigned argument) const { return argument >= firstShared(); }
  bool isCarry(unsigned index) const { return index < numCarry; }
};

/// A call of a function of this module.
struct CallSite {
  mlir::Operation *op;
  mlir::func::FuncOp callee;
  CallShape shape;
};

/// The call that `op` makes, if it is a func.call or a nag.repeat. `symbols` is
/// the module's table.
std::optional<CallSite> getCallSite(mlir::Operation *op,
                                    mlir::SymbolTable &symbols);

/// Checks that `function` and all that it calls have bodies of one block and
/// that no call is recursive.
mlir::LogicalResult verifyCallGraph(mlir::func::FuncOp function,
                                    mlir::SymbolTable &symbols);

/// True for the types that carry a derivative: floats, tensors of floats,
/// streams.
bool isDifferentiableType(mlir::Type type);

/// The tensors that together are the cotangent of a value of this type: one, or
/// two for a stream.
llvm::SmallVector<mlir::Type> getCotangentTypes(mlir::Type type);

/// Operands of `op` and the values its regions read from outside.
llvm::SmallVector<mlir::Value> getReadValues(mlir::Operation *op);

} // namespace nag

#endif // NAG_LIB_TRANSFORMS_DIFFERENTIATE_CALLSITE_H
