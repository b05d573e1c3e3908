// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tensors as matrices: all dimensions but the last are one.
#ifndef NAG_LIB_CONVERSION_NAGTOLINALG_MATRICES_H
#define NAG_LIB_CONVERSION_NAGTOLINALG_MATRICES_H

#include "mlir/IR/Builders.h"

namespace nag {

/// [rows..., width] as [rows, width].
mlir::Value asMatrix(mlir::OpBuilder &builder, mlir::Location loc,
                     mlir::Value tensor);

/// `destination` filled with zeros.
mlir::Value zeros(mlir::OpBuilder &builder, mlir::Location loc,
                  mlir::Value destination);

} // namespace nag

#endif // NAG_LIB_CONVERSION_NAGTOLINALG_MATRICES_H
