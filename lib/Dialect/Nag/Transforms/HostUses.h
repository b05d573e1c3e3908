// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Who reads the memory of a host function's tensors, and which ops write their
// results over an operand.
#ifndef NAG_LIB_TRANSFORMS_HOSTUSES_H
#define NAG_LIB_TRANSFORMS_HOSTUSES_H

#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/Transforms/HostOps.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace nag {

int64_t bytesOf(mlir::Value value);

/// The tensor that a reshape or contiguous slice `value` looks into, with the
/// byte offset; nothing when `value` is no such view.
std::optional<ViewPart> getViewOf(mlir::Value value);

/// The tensor that `value` is a view of, or `value`.
mlir::Value getViewRoot(mlir::Value value);

/// Calls `visit` on each use of the memory that `value` looks into or is looked
/// into, through reshapes and slices.
void forEachUse(mlir::Value value,
                llvm::function_ref<void(mlir::OpOperand &)> visit);

/// True when `use` is a carry that comes out of its nag.repeat unchanged, in
/// the memory where it went in.
bool isForwardedCarry(mlir::OpOperand &use,
                      mlir::SymbolTableCollection &symbols);

/// True when `user` alone reads the memory of `value` from there on, and reads
/// it once.
bool diesAt(mlir::Value value, mlir::Operation *user,
            mlir::SymbolTableCollection &symbols);

/// The input that result `index` of `launch` may overwrite.
std::optional<unsigned> getSharedInput(LaunchOp launch, unsigned index,
                                       mlir::SymbolTableCollection &symbols);

/// The input whose contents must stand where result `index` of `launch` does.
std::optional<unsigned> getUpdatedInput(LaunchOp launch, unsigned index,
                                        mlir::SymbolTableCollection &symbols);

/// The results of launches that update `argument` in place, one after the
/// other: each must stand where the one before stands, and alone reads it from
/// there on. Rows that none of them writes stay as they came.
llvm::SmallVector<mlir::Value>
findUpdates(mlir::BlockArgument argument, mlir::SymbolTableCollection &symbols);

} // namespace nag

#endif // NAG_LIB_TRANSFORMS_HOSTUSES_H
