// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The global norm as kernels can compute it: one sum per tensor.
#ifndef NAG_LIB_DIALECT_NAG_TRANSFORMS_GLOBALNORM_H
#define NAG_LIB_DIALECT_NAG_TRANSFORMS_GLOBALNORM_H

#include "mlir/IR/Builders.h"

namespace nag {

/// Builds the root of the sum of nag.squared_norm over `inputs` (at least one,
/// of one compute type), added up in their order. Returns a rank-0 tensor.
mlir::Value buildGlobalNorm(mlir::OpBuilder &builder, mlir::Location loc,
                            mlir::ValueRange inputs);

} // namespace nag

#endif // NAG_LIB_DIALECT_NAG_TRANSFORMS_GLOBALNORM_H
