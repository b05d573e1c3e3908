// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "AttentionTiles.h"

using namespace mlir;
using namespace nag;

using Values = TileEmitter::Values;

std::pair<Value, Value> AttentionTiles::keyRange(Value firstQuery) {
  Value end = plus(firstQuery, countQueries(firstQuery));
  if (!sizes.window)
    return {index(0), end};
  Value first = larger(minus(firstQuery, index(*sizes.window)), index(0));
  return {minus(first, divide(first, shape.rows).second), end};
}

void AttentionTiles::packQueries(const Tile &source, const Tile &target,
                                 double factor) {
  int64_t blocks = sizes.headDim / kSquare * kSquare;
  Value factors = splat(factor, kSquare);
  for (int64_t lane = 0; lane < shape.lanes; lane += kSquare) {
    Values rows;
    for (int64_t row = lane; row < lane + kSquare; ++row) {
      Value position = plus(source.row, row);
      rows.push_back(hasShortTile() ? existing(position) : position);
    }
    Tile absolute{source.buffer, source.prefix, nullptr, source.column};
    loop(index(0), index(blocks), kSquare, [&](Value d) {
      Values square;
      for (Value row : rows)
        square.push_back(load(absolute, row, d, kSquare));
      for (auto [column, vector] : llvm::enumerate(transpose(square)))
        store(mul(vector, factors), target, plus(d, column), index(lane));
    });
    for (int64_t d = blocks; d < sizes.headDim; ++d)
      for (auto [row, position] : llvm::enumerate(rows))
        store(mul(load(absolute, position, index(d)), number(factor)), target,
              index(d), index(lane + row));
  }
}

/// Stores a query's row, or a part of it, unless the tile has no such query.
void AttentionTiles::storeQuery(Value value, const Tile &target, int64_t query,
                                Value column) {
  if (!hasShortTile())
    return store(value, target, index(query), column);
  Value inside = arith::CmpIOp::create(*this, arith::CmpIPredicate::slt,
                                       index(query), countQueries(target.row));
  when(inside, [&] { store(value, target, index(query), column); });
}

void AttentionTiles::unpackQueries(const Tile &source, const Tile &target,
                                   Value factor) {
  int64_t blocks = sizes.headDim / kSquare * kSquare;
  for (int64_t lane = 0; lane < shape.lanes; lane += kSquare) {
    Value factors;
    if (factor)
      factors = vector::ExtractStridedSliceOp::create(
          *this, factor, ArrayRef<int64_t>{lane}, ArrayRef<int64_t>{kSquare},
          ArrayRef<int64_t>{1});
    auto loadScaled = [&](Value d) {
      Value column = load(source, d, index(lane), kSquare);
      return factors ? mul(column, factors) : column;
    };
    loop(index(0), index(blocks), kSquare, [&](Value d) {
      Values square;
      for (int64_t column = 0; column < kSquare; ++column)
        square.push_back(loadScaled(plus(d, column)));
      for (auto [row, vector] : llvm::enumerate(transpose(square)))
        storeQuery(vector, target, lane + row, d);
    });
    for (int64_t d = blocks; d < sizes.headDim; ++d) {
      Value column = loadScaled(index(d));
      for (int64_t row = 0; row < kSquare; ++row)
        storeQuery(vector::ExtractOp::create(*this, column, row), target,
                   lane + row, index(d));
    }
  }
}

Values AttentionTiles::scoreBlock(const Tile &keys, Value key,
                                  const Tile &packed) {
  Values rows;
  for (int64_t row = 0; row < shape.rows; ++row) {
    Value position = plus(key, row);
    rows.push_back(hasRestKeys() ? existing(position) : position);
  }
  Values zeros(shape.rows, splat(0, shape.lanes));
  return multiply(
      zeros, index(sizes.headDim),
      [&](int64_t row, Value d) { return load(keys, rows[row], d); },
      [&](Value d) { return load(packed, d, index(0), shape.lanes); });
}

Value AttentionTiles::compare(arith::CmpIPredicate predicate, Value lhs,
                              Value rhs) {
  return arith::CmpIOp::create(*this, predicate, lhs, rhs);
}

/// True when some query of the tile does not see some key of the block.
Value AttentionTiles::isPartlyVisible(Value key, Value firstQuery) {
  Value ahead =
      compare(arith::CmpIPredicate::sgt, plus(key, shape.rows - 1), firstQuery);
  if (!sizes.window)
    return ahead;
  Value behind = compare(arith::CmpIPredicate::slt, plus(key, *sizes.window),
                         plus(firstQuery, shape.lanes - 1));
  return arith::OrIOp::create(*this, ahead, behind);
}

/// Which of the queries at `positions` see the key.
Value AttentionTiles::seenBy(Value positions, Value key) {
  auto spread = [&](Value position) {
    return broadcast(arith::IndexCastOp::create(*this, getI32Type(), position),
                     shape.lanes);
  };
  Value visible = compare(arith::CmpIPredicate::sle, spread(key), positions);
  if (!sizes.window)
    return visible;
  Value near = compare(arith::CmpIPredicate::sge,
                       spread(plus(key, *sizes.window)), positions);
  return arith::AndIOp::create(*this, visible, near);
}

Values AttentionTiles::maskBlock(Values scores, Value key, Value firstQuery,
                                 double invisible) {
  auto mask = [&] {
    auto type = VectorType::get(shape.lanes, getI32Type());
    SmallVector<int32_t> steps =
        llvm::to_vector(llvm::seq<int32_t>(0, shape.lanes));
    Value first =
        broadcast(arith::IndexCastOp::create(*this, getI32Type(), firstQuery),
                  shape.lanes);
    Value positions = arith::AddIOp::create(
        *this, first,
        arith::ConstantOp::create(
            *this, DenseElementsAttr::get(type, ArrayRef(steps))));
    Values result;
    for (auto [row, score] : llvm::enumerate(scores))
      result.push_back(
          arith::SelectOp::create(*this, seenBy(positions, plus(key, row)),
                                  score, splat(invisible, shape.lanes)));
    return result;
  };
  return choose(isPartlyVisible(key, firstQuery), mask, scores);
}

void AttentionTiles::addWeightedRows(const Tile &sums, const Tile &rows,
                                     const Tile &weights, Value count,
                                     Value decay) {
  forBlocks(sizes.headDim, shape.rows, [&](Value first, int64_t size) {
    Values initial;
    for (int64_t d = 0; d < size; ++d) {
      Value sum = load(sums, plus(first, d), index(0), shape.lanes);
      initial.push_back(decay ? mul(sum, decay) : sum);
    }
    Values results = multiply(
        initial, count,
        [&](int64_t d, Value key) { return load(rows, key, plus(first, d)); },
        [&](Value key) { return load(weights, key, index(0), shape.lanes); });
    for (auto [d, result] : llvm::enumerate(results))
      store(result, sums, plus(first, d), index(0));
  });
}
