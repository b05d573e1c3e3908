// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "AttentionTiles.h"

using namespace mlir;
using namespace nag;

using Values = TileEmitter::Values;

/// An element of a buffer of i32 as an index.
Value AttentionTiles::loadIndex(Value buffer, Value at) {
  Value number = memref::LoadOp::create(*this, buffer, at);
  return arith::IndexCastOp::create(*this, getIndexType(), number);
}

void AttentionTiles::enterSequence(Value batch, ValueRange route) {
  sequence = {batch, nullptr, index(sizes.queries), index(sizes.keys)};
  if (!sizes.routed)
    return;
  routeIndices = route[0];
  lanePlaces = memref::AllocaOp::create(
      *this, MemRefType::get({shape.lanes}, getI32Type()),
      getI64IntegerAttr(64));
  sequence.firstRow = loadIndex(route[1], batch);
  sequence.queries =
      minus(loadIndex(route[1], plus(batch, 1)), sequence.firstRow);
  if (sizes.routedKeys)
    sequence.keys = sequence.queries;
}

/// A number in every lane, as i32.
Value AttentionTiles::spread(Value number) {
  return broadcast(arith::IndexCastOp::create(*this, getI32Type(), number),
                   shape.lanes);
}

/// first, first + 1, ... as i32.
Value AttentionTiles::countUp(Value first) {
  auto type = VectorType::get(shape.lanes, getI32Type());
  SmallVector<int32_t> steps =
      llvm::to_vector(llvm::seq<int32_t>(0, shape.lanes));
  Value start = spread(first);
  return arith::AddIOp::create(
      *this, start,
      arith::ConstantOp::create(*this,
                                DenseElementsAttr::get(type, ArrayRef(steps))));
}

QueryTile AttentionTiles::queryTileAt(Value number) {
  Value whole = times(number, shape.lanes);
  if (!hasShortTile())
    return {whole, index(shape.lanes)};
  Value idle = minus(times(countQueryTiles(), shape.lanes), sequence.queries);
  Value first = larger(minus(whole, idle), index(0));
  return {first, minus(minus(plus(whole, shape.lanes), idle), first)};
}

/// The places of the tile's queries; lanes behind the last one repeat it.
Value AttentionTiles::loadPlaces(const QueryTile &tile) {
  Value last = minus(tile.count, index(1));
  loop(index(0), index(shape.lanes), 1, [&](Value lane) {
    Value row = plus(plus(sequence.firstRow, tile.first), smaller(lane, last));
    Value place = memref::LoadOp::create(*this, routeIndices, row);
    memref::StoreOp::create(*this, place, lanePlaces, lane);
  });
  auto vector = VectorType::get(shape.lanes, getI32Type());
  return vector::LoadOp::create(*this, vector, lanePlaces, index(0))
      .getResult();
}

QueryPlaces AttentionTiles::placeQueries(const QueryTile &tile) {
  QueryPlaces queries;
  queries.tile = tile;
  if (!sizes.routed || sizes.routedKeys) {
    queries.begin = tile.first;
    queries.end = minus(plus(tile.first, tile.count), index(1));
  }
  if (!sizes.routed)
    return queries;
  Value places = loadPlaces(tile);
  if (sizes.routedKeys) {
    queries.order = countUp(tile.first);
    queries.places = places;
    return queries;
  }
  // Among the keys, a query's order is its position.
  queries.order = arith::SubIOp::create(
      *this, places, spread(times(sequence.batch, sizes.keys)));
  auto lane = [&](int64_t at) -> Value {
    Value number = vector::ExtractOp::create(*this, queries.order, at);
    return arith::IndexCastOp::create(*this, getIndexType(), number);
  };
  queries.begin = lane(0);
  queries.end = lane(shape.lanes - 1);
  return queries;
}

std::pair<Value, Value> AttentionTiles::keyRange(const QueryPlaces &queries) {
  Value end = plus(queries.end, 1);
  if (!sizes.window || sizes.routedKeys)
    return {index(0), end};
  Value first = larger(minus(queries.begin, index(*sizes.window)), index(0));
  return {minus(first, divide(first, shape.rows).second), end};
}

void AttentionTiles::packQueries(const Tile &source, const QueryTile &tile,
                                 const Tile &target, double factor) {
  int64_t blocks = sizes.headDim / kSquare * kSquare;
  Value factors = splat(factor, kSquare);
  Value last = minus(plus(tile.first, tile.count), index(1));
  for (int64_t lane = 0; lane < shape.lanes; lane += kSquare) {
    Values rows;
    for (int64_t row = lane; row < lane + kSquare; ++row) {
      Value position = plus(tile.first, row);
      rows.push_back(hasShortTile() ? smaller(position, last) : position);
    }
    Tile absolute{source.buffer, source.prefix, nullptr, source.column};
    loop(index(0), index(blocks), kSquare, [&](Value d) {
      Values square;
      for (Value row : rows)
        square.push_back(load(source, row, d, kSquare));
      for (auto [column, vector] : llvm::enumerate(transpose(square)))
        store(mul(vector, factors), target, plus(d, column), index(lane));
    });
    for (int64_t d = blocks; d < sizes.headDim; ++d)
      for (auto [row, position] : llvm::enumerate(rows))
        store(mul(load(source, position, index(d)), number(factor)), target,
              index(d), index(lane + row));
  }
}

/// Stores a query's row, or a part of it, unless the tile has no such query.
void AttentionTiles::storeQuery(Value value, const Tile &target,
                                const QueryTile &tile, int64_t query,
                                Value column) {
  Value row = plus(tile.first, query);
  if (!hasShortTile())
    return store(value, target, row, column);
  Value inside = arith::CmpIOp::create(*this, arith::CmpIPredicate::slt,
                                       index(query), tile.count);
  when(inside, [&] { store(value, target, row, column); });
}

void AttentionTiles::unpackQueries(const Tile &source, const Tile &target,
                                   const QueryTile &tile, Value factor) {
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
        storeQuery(vector, target, tile, lane + row, d);
    });
    for (int64_t d = blocks; d < sizes.headDim; ++d) {
      Value column = loadScaled(index(d));
      for (int64_t row = 0; row < kSquare; ++row)
        storeQuery(vector::ExtractOp::create(*this, column, row), target, tile,
                   lane + row, index(d));
    }
  }
}

Values AttentionTiles::scoreBlock(const Tile &keys, Value key,
                                  const Tile &packed) {
  Values rows;
  for (int64_t row = 0; row < shape.rows; ++row) {
    Value position = plus(key, row);
    rows.push_back(hasRestKeys() ? existingKey(position) : position);
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

/// True when some query of the tile does not see some key of the block, or may
/// not.
Value AttentionTiles::isPartlyVisible(Value key, const QueryPlaces &queries) {
  if (sizes.routedKeys && sizes.window)
    return arith::ConstantIntOp::create(*this, true, 1);
  Value ahead = compare(arith::CmpIPredicate::sgt, plus(key, shape.rows - 1),
                        queries.begin);
  if (!sizes.window)
    return ahead;
  Value behind =
      compare(arith::CmpIPredicate::slt, plus(key, *sizes.window), queries.end);
  return arith::OrIOp::create(*this, ahead, behind);
}

/// Which of the queries see the key.
Value AttentionTiles::seenBy(const QueryPlaces &queries, Value key) {
  Value visible =
      compare(arith::CmpIPredicate::sle, spread(key), queries.order);
  if (!sizes.window)
    return visible;
  Value place = key;
  if (sizes.routedKeys)
    place = loadIndex(routeIndices, plus(sequence.firstRow, existingKey(key)));
  Value near =
      compare(arith::CmpIPredicate::sge, spread(plus(place, *sizes.window)),
              queries.places ? queries.places : queries.order);
  return arith::AndIOp::create(*this, visible, near);
}

Values AttentionTiles::maskBlock(Values scores, Value key,
                                 const QueryPlaces &queries, double invisible) {
  auto mask = [&] {
    QueryPlaces placed = queries;
    if (!placed.order)
      placed.order = countUp(queries.tile.first);
    Values result;
    for (auto [row, score] : llvm::enumerate(scores))
      result.push_back(
          arith::SelectOp::create(*this, seenBy(placed, plus(key, row)), score,
                                  splat(invisible, shape.lanes)));
    return result;
  };
  return choose(isPartlyVisible(key, queries), mask, scores);
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
