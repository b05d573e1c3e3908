// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Functions made from a joint function and its plan.
#ifndef NAG_LIB_TRANSFORMS_DIFFERENTIATE_EMISSION_H
#define NAG_LIB_TRANSFORMS_DIFFERENTIATE_EMISSION_H

#include "ResidualPlan.h"

namespace nag {

/// What a program asks of the gradient function of its loss, and an op test of
/// the gradient function of any other.
struct GradientOptions {
  llvm::StringRef name;
  /// Takes a cotangent for every result and returns gradients only; otherwise
  /// the first result's cotangent is 1 and the results are returned too.
  bool seeded = false;
};

/// Adds `<name>.forward` and `<name>.backward` to the module.
Derivative emitDerivative(const JointFunction &joint, const ResidualPlan &plan,
                          mlir::SymbolTable &symbols);

/// Adds one function that runs both passes.
mlir::func::FuncOp emitGradients(const JointFunction &joint,
                                 const ResidualPlan &plan,
                                 const GradientOptions &options,
                                 mlir::SymbolTable &symbols);

} // namespace nag

#endif // NAG_LIB_TRANSFORMS_DIFFERENTIATE_EMISSION_H
