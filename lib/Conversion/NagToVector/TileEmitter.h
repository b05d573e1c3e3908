// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Loops and vector code over buffers: what the attention emitters are made of.
#ifndef NAG_LIB_CONVERSION_NAGTOVECTOR_TILEEMITTER_H
#define NAG_LIB_CONVERSION_NAGTOVECTOR_TILEEMITTER_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace nag {

/// A rectangle of a buffer: its element (r, c) is
/// buffer[prefix..., row + r, column + c]. A null row or column is 0.
struct Tile {
  mlir::Value buffer;
  llvm::SmallVector<mlir::Value, 2> prefix;
  mlir::Value row, column;
};

/// How wide the generated code is. All sizes are in elements.
struct TileShape {
  /// Queries that are treated at once, side by side in a vector.
  int64_t lanes;
  /// Rows of a matrix product that are kept in registers at once; divides
  /// `lanes`.
  int64_t rows;
  /// Keys between two updates of the running softmax; a multiple of `lanes`.
  int64_t keys;
};

class TileEmitter : public mlir::ImplicitLocOpBuilder {
public:
  using Values = llvm::SmallVector<mlir::Value>;

  TileEmitter(mlir::Location loc, mlir::OpBuilder &builder,
              mlir::FloatType type)
      : ImplicitLocOpBuilder(loc, builder), element(type) {}

  mlir::FloatType getElement() const { return element; }

  // Constants and index arithmetic; folds what it can.
  mlir::Value index(int64_t value);
  mlir::Value number(double value);
  mlir::Value splat(double value, int64_t width);
  mlir::Value broadcast(mlir::Value scalar, int64_t width);
  mlir::Value plus(mlir::Value lhs, mlir::Value rhs);
  mlir::Value plus(mlir::Value lhs, int64_t rhs);
  mlir::Value minus(mlir::Value lhs, mlir::Value rhs);
  mlir::Value times(mlir::Value lhs, int64_t rhs);
  mlir::Value smaller(mlir::Value lhs, mlir::Value rhs);
  mlir::Value larger(mlir::Value lhs, mlir::Value rhs);
  /// value / divisor and value % divisor of an index that is not negative.
  std::pair<mlir::Value, mlir::Value> divide(mlir::Value value,
                                             int64_t divisor);

  // Control flow.
  void loop(mlir::Value lower, mlir::Value upper, int64_t step,
            llvm::function_ref<void(mlir::Value)> body);
  Values loop(mlir::Value lower, mlir::Value upper, int64_t step,
              mlir::ValueRange initial,
              llvm::function_ref<Values(mlir::Value, mlir::ValueRange)> body);
  /// Runs `body(buffers, i)` for i < count on all threads. The body becomes a
  /// function of its own, whose stack frame holds the scratch buffers;
  /// `buffers` are its arguments.
  void parallel(llvm::StringRef name, mlir::ValueRange buffers, int64_t count,
                llvm::function_ref<void(mlir::ValueRange, mlir::Value)> body);
  void when(mlir::Value condition, llvm::function_ref<void()> body);
  /// `body()` where the condition holds, else `otherwise`.
  Values choose(mlir::Value condition, llvm::function_ref<Values()> body,
                mlir::ValueRange otherwise);
  /// Splits [0, count) into at most two loops over blocks of nearly equal,
  /// static size, none above `largest`.
  void
  forBlocks(int64_t count, int64_t largest,
            llvm::function_ref<void(mlir::Value first, int64_t size)> body);
  /// Splits [0, count) into blocks of `size` and, unless `exact`, single rest
  /// elements.
  void
  forBlocks(mlir::Value count, int64_t size, bool exact,
            llvm::function_ref<void(mlir::Value first, int64_t size)> body);

  // Memory. Vectors lie along the columns.
  mlir::Value scratch(int64_t rows, int64_t columns);
  mlir::Value load(const Tile &tile, mlir::Value row, mlir::Value column);
  mlir::Value load(const Tile &tile, mlir::Value row, mlir::Value column,
                   int64_t width);
  void store(mlir::Value value, const Tile &tile, mlir::Value row,
             mlir::Value column);
  void fill(const Tile &tile, mlir::Value rows, int64_t columns,
            mlir::Value scalar);

  // Vector arithmetic.
  mlir::Value add(mlir::Value lhs, mlir::Value rhs);
  mlir::Value sub(mlir::Value lhs, mlir::Value rhs);
  mlir::Value mul(mlir::Value lhs, mlir::Value rhs);
  mlir::Value fma(mlir::Value a, mlir::Value b, mlir::Value c);
  /// The larger one; `rhs` where either is NaN (one instruction on x86).
  mlir::Value maximum(mlir::Value lhs, mlir::Value rhs);
  /// 2^x to about one unit in the last place, 0 far below 0; keeps NaN.
  mlir::Value exp2(mlir::Value x);
  /// ln(x) of positive, normal x to about one unit in the last place.
  mlir::Value log(mlir::Value x);
  /// Transposes the square matrix whose rows are `rows`.
  Values transpose(Values rows);

  /// initial[r] + the sum over k < count of left(r, k) * right(k): a matrix
  /// product whose rows stay in registers. `left` gives scalars, `right`
  /// vectors.
  Values multiply(mlir::ValueRange initial, mlir::Value count,
                  llvm::function_ref<mlir::Value(int64_t, mlir::Value)> left,
                  llvm::function_ref<mlir::Value(mlir::Value)> right);

private:
  mlir::Value polynomial(mlir::Value x, llvm::ArrayRef<double> coefficients);
  void indices(const Tile &tile, mlir::Value row, mlir::Value column,
               Values &result);

  mlir::FloatType element;
};

/// Emit the op as loops over tiles; the op stays in place.
class StreamAttentionOp;
class StreamAttentionVJPOp;
void emitAttention(mlir::OpBuilder &builder, StreamAttentionOp op,
                   const TileShape &shape);
void emitAttentionVJP(mlir::OpBuilder &builder, StreamAttentionVJPOp op,
                      const TileShape &shape);

} // namespace nag

#endif // NAG_LIB_CONVERSION_NAGTOVECTOR_TILEEMITTER_H
