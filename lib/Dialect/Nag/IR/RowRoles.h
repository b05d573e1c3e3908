// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Roles and row counts that most row-wise ops share.
#ifndef NAG_DIALECT_NAG_IR_ROWROLES_H
#define NAG_DIALECT_NAG_IR_ROWROLES_H

#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/IR/RowBuilder.h"

namespace nag {

/// Rows of a tensor: the product of all dimensions but the last; 1 for rank 0.
int64_t countRows(mlir::Type type);

/// Row, or Lane for a tensor of rank 0, which is one row of one scalar.
RowRole getRowRole(mlir::Type type);

/// The compute type of a tensor's or a stream's elements.
mlir::Type getComputeElementType(mlir::Value value);

/// Length of a row of `tensor`.
int64_t getWidth(mlir::Value tensor);

/// Makes the elementwise arith and math ops row-wise.
void attachElementwiseRows(mlir::MLIRContext &context);

} // namespace nag

#endif // NAG_DIALECT_NAG_IR_ROWROLES_H
