// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// DifferentiableOpInterface for upstream ops that nag functions mix with.
#ifndef NAG_DIALECT_NAG_TRANSFORMS_DIFFERENTIABLEMODELS_H
#define NAG_DIALECT_NAG_TRANSFORMS_DIFFERENTIABLEMODELS_H

#include "mlir/IR/DialectRegistry.h"

namespace nag {

/// Adds the interface to the float ops of arith and math (on scalars and
/// tensors), to linalg.fill and linalg.generic without reductions, and to the
/// reshapes, slices and concatenations of tensor. Where a function has a kink
/// (maximumf at equal operands, absf at 0), the cotangent goes to the first
/// operand, or is 0. -nag-differentiate registers them itself.
void registerDifferentiableExternalModels(mlir::DialectRegistry &registry);

} // namespace nag

#endif // NAG_DIALECT_NAG_TRANSFORMS_DIFFERENTIABLEMODELS_H
