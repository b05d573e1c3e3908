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
  /// `queries` of a sequence, or at most so many; `keys` of a sequence.
  int64_t batch, queries, keys, heads, kvHeads, headDim;
  std::optional<int64_t> window;
  /// Queries, and perhaps keys, are rows of executed tokens alone.
  bool routed, routedKeys;

  template <typename AttentionLike> static AttentionSizes of(AttentionLike op) {
    auto shape = [](mlir::Value buffer) {
      return mlir::cast<mlir::MemRefType>(buffer.getType()).getShape();
    };
    llvm::ArrayRef<int64_t> query = shape(op.getQuery()),
                            key = shape(op.getKey());
    AttentionSizes sizes{query[0],
                         query[1],
                         query[1],
                         int64_t(op.getHeads()),
                         int64_t(op.getKvHeads()),
                         op.getHeadDim(),
                         op.getWindow(),
                         !op.getRoute().empty(),
                         false};
    if (sizes.routed) {
      sizes.batch = shape(op.getRoute()[1])[0] - 1;
      sizes.queries = sizes.keys = query[0] / sizes.batch;
      sizes.routedKeys = key.size() == 2;
      if (!sizes.routedKeys)
        sizes.keys = key[1];
    }
    return sizes;
  }
};

/// The sequence that is at hand: where the rows of its queries and keys begin
/// and how many there are.
struct Sequence {
  mlir::Value batch;
  /// Null: rows are counted within the sequence.
  mlir::Value firstRow;
  mlir::Value queries, keys;
};

/// A tile of queries: the number of its first one within the sequence, and how
/// many they are.
struct QueryTile {
  mlir::Value first, count;
};

/// The places of a tile's queries, which the mask compares with.
struct QueryPlaces {
  QueryTile tile;
  /// Order of the first and the last query among the keys, and of all.
  mlir::Value begin, end, order;
  /// Places of the queries as vector, which a window counts from. Null: they
  /// are the order.
  mlir::Value places;
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
  /// Tiles of a sequence, or at most so many.
  int64_t queryTiles() const {
    return llvm::divideCeil(sizes.queries, shape.lanes);
  }
  mlir::Value countQueryTiles() {
    if (!sizes.routed)
      return index(queryTiles());
    return divide(plus(sequence.queries, shape.lanes - 1), shape.lanes).first;
  }
  /// The sequence's tile of that number. All have `lanes` queries but the first
  /// one: its queries see the fewest keys, so idle lanes cost least there.
  QueryTile queryTileAt(mlir::Value number);
  /// True when the first tile may have fewer than `lanes`.
  bool hasShortTile() const {
    return sizes.routed || sizes.queries % shape.lanes != 0;
  }
  /// True when the number of keys of a tile may be no multiple of `rows`.
  bool hasRestKeys() const {
    return sizes.routedKeys || sizes.keys % shape.rows != 0;
  }

  /// Makes `batch` the sequence at hand; `route` are indices and offsets.
  void enterSequence(mlir::Value batch, mlir::ValueRange route);
  /// Where the queries of a tile stand.
  QueryPlaces placeQueries(const QueryTile &tile);

  /// A head's columns of the sequence's queries (or results, or gradients of
  /// these) from `row` on.
  Tile queryTile(mlir::Value buffer, mlir::Value head,
                 mlir::Value row = nullptr) {
    return rowTile(buffer, head, row, sizes.routed);
  }
  /// The same of keys or values; `head` counts key-value heads.
  Tile keyTile(mlir::Value buffer, mlir::Value head,
               mlir::Value row = nullptr) {
    return rowTile(buffer, head, row, sizes.routedKeys);
  }
  /// Log-sum-exps from a query on: rows count heads.
  Tile logSumTile(mlir::Value buffer, mlir::Value firstQuery) {
    if (sizes.routed)
      return {buffer, {}, nullptr, plus(sequence.firstRow, firstQuery)};
    return {buffer, {sequence.batch}, nullptr, firstQuery};
  }
  Tile scratchTile(int64_t rows, int64_t columns) {
    return {scratch(rows, columns), {}, nullptr, nullptr};
  }
  /// The keys that a tile's queries see: [first, second), first a multiple of
  /// `rows`.
  std::pair<mlir::Value, mlir::Value> keyRange(const QueryPlaces &queries);
  /// The key, or the last one when it lies behind that.
  mlir::Value existingKey(mlir::Value key) {
    return smaller(key, minus(sequence.keys, index(1)));
  }

  /// target[d, lane] = factor * source[tile.first + lane, d]; lanes behind the
  /// tile's last query repeat it.
  void packQueries(const Tile &source, const QueryTile &tile,
                   const Tile &target, double factor);
  /// target[tile.first + lane, d] = source[d, lane] * factor[lane] (no factor:
  /// 1).
  void unpackQueries(const Tile &source, const Tile &target,
                     const QueryTile &tile, mlir::Value factor = nullptr);
  /// The product of `rows` keys from `key` on with packed queries:
  /// scores[r][lane] = <keys[key + r], queries[:, lane]>.
  Values scoreBlock(const Tile &keys, mlir::Value key, const Tile &packed);
  /// Replaces what a query may not see in a block of scores.
  Values maskBlock(Values scores, mlir::Value key, const QueryPlaces &queries,
                   double invisible);
  /// sums[d, lane] = sums * decay + sum over count of
  /// rows[key, d] * weights[key, lane].
  void addWeightedRows(const Tile &sums, const Tile &rows, const Tile &weights,
                       mlir::Value count, mlir::Value decay = nullptr);

  AttentionSizes sizes;
  TileShape shape;
  Sequence sequence;

private:
  Tile rowTile(mlir::Value buffer, mlir::Value head, mlir::Value row,
               bool routed) {
    if (routed)
      return {buffer,
              {},
              row ? plus(sequence.firstRow, row) : sequence.firstRow,
              times(head, sizes.headDim)};
    return {buffer, {sequence.batch}, row, times(head, sizes.headDim)};
  }
  void storeQuery(mlir::Value value, const Tile &target, const QueryTile &tile,
                  int64_t query, mlir::Value column);
  mlir::Value compare(mlir::arith::CmpIPredicate predicate, mlir::Value lhs,
                      mlir::Value rhs);
  mlir::Value loadIndex(mlir::Value buffer, mlir::Value at);
  mlir::Value spread(mlir::Value number);
  mlir::Value countUp(mlir::Value first);
  mlir::Value loadPlaces(const QueryTile &tile);
  mlir::Value isPartlyVisible(mlir::Value key, const QueryPlaces &queries);
  mlir::Value seenBy(const QueryPlaces &queries, mlir::Value key);

  /// The indices of the executed tokens, where queries are routed.
  mlir::Value routeIndices;
  /// A buffer for the places of a tile's queries.
  mlir::Value lanePlaces;

  /// Elements of a head that are transposed together.
  static constexpr int64_t kSquare = 8;
};

} // namespace nag

#endif // NAG_LIB_CONVERSION_NAGTOVECTOR_ATTENTIONTILES_H
