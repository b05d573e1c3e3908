// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rows of tensors whose first dimension counts rows: [rows, d] or [rows].
#ifndef NAG_LIB_CONVERSION_NAGTOLINALG_ROWTENSORS_H
#define NAG_LIB_CONVERSION_NAGTOLINALG_ROWTENSORS_H

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace nag {

/// `count` whole rows of `tensor` from row `first` on.
mlir::Value extractRows(mlir::ImplicitLocOpBuilder &builder, mlir::Value tensor,
                        mlir::OpFoldResult first, mlir::OpFoldResult count);

/// Row `index` of [rows, d] as tensor<d>; a lane of [rows] as tensor<1>.
mlir::Value extractRow(mlir::ImplicitLocOpBuilder &builder, mlir::Value tensor,
                       mlir::Value index);

/// `tensor` with `row` at `index`.
mlir::Value insertRow(mlir::ImplicitLocOpBuilder &builder, mlir::Value row,
                      mlir::Value tensor, mlir::Value index);

/// Makes `part` the `count` rows of `tensor` from row `first` on, at the end of
/// a parallel loop's body.
void insertInParallel(mlir::ImplicitLocOpBuilder &builder,
                      mlir::scf::InParallelOp terminator, mlir::Value part,
                      mlir::Value tensor, mlir::OpFoldResult first,
                      mlir::OpFoldResult count);

/// A row or a scalar in its compute type.
mlir::Value toComputeType(mlir::ImplicitLocOpBuilder &builder,
                          mlir::Value value);

/// A row or a scalar in the type in which it is stored.
mlir::Value toStorageType(mlir::ImplicitLocOpBuilder &builder,
                          mlir::Value value, mlir::Type type);

} // namespace nag

#endif // NAG_LIB_CONVERSION_NAGTOLINALG_ROWTENSORS_H
