// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Roundings of tensors to bf16.
#ifndef NAG_LIB_TRANSFORMS_ROUNDINGS_H
#define NAG_LIB_TRANSFORMS_ROUNDINGS_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/TypeUtilities.h"

namespace nag {

inline bool isRounding(mlir::Operation *op) {
  return mlir::isa<mlir::arith::TruncFOp>(op) &&
         mlir::getElementTypeOrSelf(op->getResult(0).getType()).isBF16();
}

/// The tensor type `type` with elements of bf16.
inline mlir::RankedTensorType getRoundedType(mlir::Type type) {
  return mlir::cast<mlir::RankedTensorType>(type).clone(
      mlir::BFloat16Type::get(type.getContext()));
}

/// Lets whoever reads a rounding of `value` read `rounded`.
inline void replaceRoundings(mlir::Value value, mlir::Value rounded) {
  for (mlir::Operation *user : llvm::make_early_inc_range(value.getUsers()))
    if (isRounding(user)) {
      user->getResult(0).replaceAllUsesWith(rounded);
      user->erase();
    }
}

} // namespace nag

#endif // NAG_LIB_TRANSFORMS_ROUNDINGS_H
