// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What Gram forms (RowGramOpInterface::buildGramForm) are written with: inner
// products of rows, scalars made of them, linear combinations of rows
// (docs/mathematics.md section 3.1). One form serves two builders: one that
// writes the row program of an op, one that writes nag.row_gram,
// nag.row_scalars and nag.row_combine.
#ifndef NAG_DIALECT_NAG_IR_ROWGRAM_H
#define NAG_DIALECT_NAG_IR_ROWGRAM_H

#include "nag/Dialect/Nag/IR/RowBuilder.h"

namespace nag {

/// A row of a Gram form: one that comes from outside or a linear combination of
/// others. It is an expression; nothing is computed until it is needed.
struct GramRow {
  unsigned id = 0;
};

/// What a form takes and gives: a row, or a scalar of the row.
class GramValue {
public:
  GramValue(GramRow gramRow) : row(gramRow) {}
  GramValue(Scalar laneScalar) : scalar(laneScalar) {}

  bool isRow() const { return row.has_value(); }
  operator GramRow() const { return *row; }
  operator Scalar() const { return scalar; }

private:
  std::optional<GramRow> row;
  Scalar scalar;
};

class GramBuilder {
public:
  /// TwoPass: the form may ask for the inner products of a combination whose
  /// terms cancel, which is computed on chip first; one pass over memory, two
  /// over registers. Sums: only those of the rows from outside, so that they
  /// may be taken elsewhere, in the epilogue of a GEMM say.
  enum class Numerics { TwoPass, Sums };

  /// A pair of rows; the second one is the row of ones where it is left out.
  struct Pair {
    GramRow left;
    std::optional<GramRow> right = std::nullopt;
  };
  struct Term {
    GramRow row;
    Scalar coefficient;
  };

  GramBuilder(Numerics numericsOfForm) : numerics(numericsOfForm) {}
  virtual ~GramBuilder() = default;

  bool usesSums() const { return numerics == Numerics::Sums; }
  /// The inner products of the pairs, taken in one pass.
  virtual llvm::SmallVector<Scalar> gram(llvm::ArrayRef<Pair> pairs) = 0;
  /// A number in the compute type.
  virtual Scalar constant(double number) = 0;

  /// The sum of the terms and of `offset` in every element. `cancels`: the
  /// terms may nearly cancel (see nag.row_combine).
  GramRow combine(llvm::ArrayRef<Term> terms,
                  std::optional<Scalar> offset = std::nullopt,
                  bool cancels = false);
  Scalar sum(GramRow row) { return gram({Pair{row}}).front(); }
  Scalar dot(GramRow left, GramRow right) {
    return gram({Pair{left, right}}).front();
  }

protected:
  struct Node {
    /// A row from outside; null for a combination.
    mlir::Value source;
    llvm::SmallVector<Term> terms;
    std::optional<Scalar> offset;
    bool cancels = false;
  };
  GramRow addSource(mlir::Value row);

  llvm::SmallVector<Node> nodes;

private:
  Numerics numerics;
};

/// The row program of an op that has a Gram form: `operands` and results as in
/// RowwiseOpInterface::buildRow, computed in `type`. Rows are read once per
/// gram and once more for the results; combinations are computed as they are
/// read.
llvm::SmallVector<mlir::Value> buildGramRow(mlir::Operation *op,
                                            mlir::ImplicitLocOpBuilder &builder,
                                            mlir::ValueRange operands,
                                            mlir::Type type);

/// Writes an op with a Gram form as nag.row_gram, nag.row_scalars and
/// nag.row_combine in front of it. Returns one tensor or stream per result.
llvm::SmallVector<mlir::Value> buildGramOps(mlir::Operation *op,
                                            mlir::ImplicitLocOpBuilder &builder,
                                            GramBuilder::Numerics numerics);

} // namespace nag

#endif // NAG_DIALECT_NAG_IR_ROWGRAM_H
