// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The warp's matrix instructions: ldmatrix and mma.sync (PTX ISA, "Warp Level
// Matrix Instructions").
#ifndef NAG_LIB_CONVERSION_NAGTOGPU_MATRIXCODE_H
#define NAG_LIB_CONVERSION_NAGTOGPU_MATRIXCODE_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace nag {

/// The types of factors; sums are f32.
enum class MatrixFactor { BF16, TF32 };

/// Four matrices of 8 rows by 16 bytes in shared memory, each in one i32
/// register: lane l names the start of row l % 8 of matrix l / 8. Transposed,
/// elements of 2 bytes change rows and columns.
llvm::SmallVector<mlir::Value> loadMatrices(mlir::ImplicitLocOpBuilder &builder,
                                            mlir::Value pointer,
                                            bool transposed);

/// Adds the product of 16 rows (4 registers) and 8 columns (2 registers), over
/// 16 elements of bf16 or 8 of tf32, to the four sums of a lane.
void multiplyAdd(mlir::ImplicitLocOpBuilder &builder, MatrixFactor factor,
                 mlir::ValueRange rows, mlir::ValueRange columns,
                 llvm::MutableArrayRef<mlir::Value> sums);

} // namespace nag

#endif // NAG_LIB_CONVERSION_NAGTOGPU_MATRIXCODE_H
