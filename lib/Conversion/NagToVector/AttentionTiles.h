// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What attention's forward and backward emitters share: the sizes of one op,
// the position of one head, packing and masking.
#ifndef NAG_LIB_CONVERSION_NAGTOVECTOR_ATTENTIONTILES_H
#define NAG_LIB_CONVERSION_NAGTOVECTOR_ATTENTIONTILES_H

#include "TileEmitter.h"

#include "mlir/IR/TypeUtilities.h"
#include <cmath>
#include <optional>

namespace nag {

/// Static sizes of one attention op.
struct AttentionSizes {
  int64_t batch, length, heads, kvHeads, headDim;
  std::optional<int64_t> window;

  template <typename AttentionLike> static AttentionSizes of(AttentionLike op) {
    auto shape = mlir::cast<mlir::MemRefType>(op.getQuery().getType());
    return {shape.getDimSize(0),    shape.getDimSize(1),
            int64_t(op.getHeads()), int64_t(op.getKvHeads()),
            op.getHeadDim(),        op.getWindow()};
  }
};

/// A tile of queries takes one lane of a vector per query. Every product has
/// a vector of queries (or of a row's elements) on its right and scalars on its
/// left, so that the softmax needs no reduction across lanes.
class AttentionTiles : public TileEmitter {
public:
  /// Stands for the score of an invisible key; finite, so that no NaN arises.
  static constexpr double kInvisible = -1.0e30;

  template <typename AttentionLike>
  AttentionTiles(mlir::OpBuilder &builder, AttentionLike op,
                 const TileShape &tileShape)
      : TileEmitter(op.getLoc(), builder,
                    mlir::cast<mlir::FloatType>(
                        mlir::getElementTypeOrSelf(op.getQuery()))),
        sizes(AttentionSizes::of(op)), shape(tileShape) {}

protected:
  /// Turns q k^T into logarithms to base 2 of unnormalised probabilities.
  double scoreScale() const {
    return M_LOG2E / std::sqrt(double(sizes.headDim));
  }
  int64_t queryTiles() const {
    return llvm::divideCeil(sizes.length, shape.lanes);
  }
  /// True when the last tile of queries has fewer than `lanes`.
  bool hasShortTile() const { return sizes.length % shape.lanes != 0; }
  /// True when the number of keys of a tile may be no multiple of `rows`.
  bool hasRestKeys() const { return sizes.length % shape.rows != 0; }

  /// A head's columns of a [B, T, heads*hd] buffer, from position `row` on.
  Tile headTile(mlir::Value buffer, mlir::Value batch, mlir::Value head,
                mlir::Value row = nullptr) {
    return {buffer, {batch}, row, times(head, sizes.headDim)};
  }
  Tile scratchTile(int64_t rows, int64_t columns) {
    return {scratch(rows, columns), {}, nullptr, nullptr};
  }
  /// The tile's number of queries.
  mlir::Value countQueries(mlir::Value firstQuery) {
    if (!hasShortTile())
      return index(shape.lanes);
    return smaller(minus(index(sizes.length), firstQuery), index(shape.lanes));
  }
  /// The keys that a tile's queries see: [first, second), first a multiple of
  /// `rows`.
  std::pair<mlir::Value, mlir::Value> keyRange(mlir::Value firstQuery);
  /// Position of a key or query, or the last one when it lies behind that.
  mlir::Value existing(mlir::Value position) {
    return smaller(position, index(sizes.length - 1));
  }

  /// target[d, lane] = factor * source[lane, d]; lanes behind the last query
  /// repeat it. `source.row` is the tile's first query.
  void packQueries(const Tile &source, const Tile &target, double factor);
  /// target[lane, d] = source[d, lane] * factor[lane] (no factor: 1).
  void unpackQueries(const Tile &source, const Tile &target,
                     mlir::Value factor = nullptr);
  /// The product of `rows` keys from `key` on with packed queries:
  /// scores[r][lane] = <keys[key + r], queries[:, lane]>.
  Values scoreBlock(const Tile &keys, mlir::Value key, const Tile &packed);
  /// Replaces what a query may not see in a block of scores.
  Values maskBlock(Values scores, mlir::Value key, mlir::Value firstQuery,
                   double invisible);
  /// sums[d, lane] = sums * decay + sum over count of
  /// rows[key, d] * weights[key, lane].
  void addWeightedRows(const Tile &sums, const Tile &rows, const Tile &weights,
                       mlir::Value count, mlir::Value decay = nullptr);

  AttentionSizes sizes;
  TileShape shape;

private:
  void storeQuery(mlir::Value value, const Tile &target, int64_t query,
                  mlir::Value column);
  mlir::Value compare(mlir::arith::CmpIPredicate predicate, mlir::Value lhs,
                      mlir::Value rhs);
  mlir::Value isPartlyVisible(mlir::Value key, mlir::Value firstQuery);
  mlir::Value seenBy(mlir::Value positions, mlir::Value key);

  /// Elements of a head that are transposed together.
  static constexpr int64_t kSquare = 8;
};

} // namespace nag

#endif // NAG_LIB_CONVERSION_NAGTOVECTOR_ATTENTIONTILES_H
