// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the forward pass saves for the backward pass, and what is computed
// again.
#ifndef NAG_LIB_TRANSFORMS_DIFFERENTIATE_RESIDUALPLAN_H
#define NAG_LIB_TRANSFORMS_DIFFERENTIATE_RESIDUALPLAN_H

#include "JointFunction.h"
#include "nag/Dialect/Nag/Transforms/Passes.h"

#include "llvm/ADT/SetVector.h"

namespace nag {

/// A division of a joint function into a forward and a backward pass.
struct ResidualPlan {
  /// Ops that depend on a cotangent, in their order.
  llvm::SmallVector<mlir::Operation *> backwardOps;
  /// Values of the forward pass that stay in memory until the backward pass.
  llvm::SetVector<mlir::Value> saved;
  /// Ops whose results the backward pass computes again, in their order.
  llvm::SmallVector<mlir::Operation *> recomputed;
  /// Free arguments that the backward pass reads again.
  llvm::BitVector neededArguments;
  int64_t savedBytes = 0;
};

/// Finds the values to save of which the fewest bytes suffice, given what
/// `mode` allows to compute again: the minimum cut between what cannot be
/// computed again and what the backward pass reads.
mlir::FailureOr<ResidualPlan> planResiduals(const JointFunction &joint,
                                            RecomputeMode mode);

/// True for constants and for ops that only give their operand another form.
bool isFreeToRecompute(mlir::Operation *op);

/// Reports every saved and every recomputed value as a remark.
void explainPlan(const JointFunction &joint, const ResidualPlan &plan);

} // namespace nag

#endif // NAG_LIB_TRANSFORMS_DIFFERENTIATE_RESIDUALPLAN_H
