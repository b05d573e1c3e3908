// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The forward pass of attention: a running softmax over tiles of keys
// (Milakov and Gimelshein, 2018; Dao et al., 2022).
#include "AttentionTiles.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"

using namespace mlir;
using namespace nag;

namespace {

class ForwardEmitter : public AttentionTiles {
public:
  ForwardEmitter(OpBuilder &builder, StreamAttentionOp attention,
                 const TileShape &tileShape)
      : AttentionTiles(builder, attention, tileShape), op(attention),
        buffers(attention->getOperands(), attention) {}

  void emit();

private:
  Value countTiles(Value near, Value far);
  void emitPair(Value head, Value near, Value far, Value count);
  void emitQueryTile(Value head, const QueryTile &tile);
  /// One step over the keys [key, key + count): state is the running maximum
  /// and sum of every lane.
  Values addKeyTile(const Tile &keys, const Tile &values,
                    const QueryPlaces &places, Value key, Value count,
                    ValueRange state);
  Value emitScores(const Tile &keys, const QueryPlaces &places, Value key,
                   Value count, Value highest);
  Value emitProbabilities(Value count, Value highest, Value sum);
  void storeLogSum(Value head, const QueryTile &tile, ValueRange state);

  StreamAttentionOp op;
  /// The op's operands inside the parallel body.
  StreamAttentionOp::Adaptor buffers;
  Tile queries, scores, sums;
};

void ForwardEmitter::emit() {
  // Tiles p and n-1-p together see as many keys for every p, so that equal
  // numbers of pairs are equal work.
  int64_t tiles = queryTiles(), pairs = llvm::divideCeil(tiles, 2);
  int64_t items = sizes.batch * sizes.heads * pairs;
  parallel("attention_tiles", op->getOperands(), items,
           [&](ValueRange arguments, Value item) {
             buffers = StreamAttentionOp::Adaptor(arguments, op);
             auto [head, pair] = divide(item, pairs);
             auto [batch, headInBatch] = divide(head, sizes.heads);
             enterSequence(batch, buffers.getRoute());
             queries = scratchTile(sizes.headDim, shape.lanes);
             scores = scratchTile(shape.keys, shape.lanes);
             sums = scratchTile(sizes.headDim, shape.lanes);
             Value far = minus(minus(countQueryTiles(), index(1)), pair);
             emitPair(headInBatch, pair, far, countTiles(pair, far));
           });
}

/// How many tiles a pair is: 1 in the middle; none where the sequence has fewer
/// tiles than it may have.
Value ForwardEmitter::countTiles(Value near, Value far) {
  auto holds = [&](arith::CmpIPredicate predicate) -> Value {
    Value condition = arith::CmpIOp::create(*this, predicate, near, far);
    return arith::IndexCastUIOp::create(*this, getIndexType(), condition);
  };
  if (!sizes.routed)
    return plus(holds(arith::CmpIPredicate::ne), 1);
  return plus(holds(arith::CmpIPredicate::sle),
              holds(arith::CmpIPredicate::slt));
}

void ForwardEmitter::emitPair(Value head, Value near, Value far, Value count) {
  loop(index(0), count, 1, [&](Value step) {
    Value number =
        plus(near, createOrFold<arith::MulIOp>(step, minus(far, near)));
    emitQueryTile(head, queryTileAt(number));
  });
}

void ForwardEmitter::emitQueryTile(Value head, const QueryTile &tile) {
  Value kvHead = divide(head, sizes.heads / sizes.kvHeads).first;
  packQueries(queryTile(buffers.getQuery(), head), tile, queries, scoreScale());
  fill(sums, index(sizes.headDim), shape.lanes, number(0));
  Tile keys = keyTile(buffers.getKey(), kvHead);
  Tile values = keyTile(buffers.getValue(), kvHead);
  QueryPlaces places = placeQueries(tile);
  auto [begin, end] = keyRange(places);
  Value stop = end;
  Values initial{splat(kInvisible, shape.lanes), splat(0, shape.lanes)};
  Values state =
      loop(begin, end, shape.keys, initial, [&](Value key, ValueRange current) {
        Value count = smaller(minus(stop, key), index(shape.keys));
        return addKeyTile(keys, values, places, key, count, current);
      });
  Value inverse = arith::DivFOp::create(*this, splat(1, shape.lanes), state[1]);
  unpackQueries(sums, queryTile(buffers.getOutput(), head), tile, inverse);
  storeLogSum(head, tile, state);
}

TileEmitter::Values ForwardEmitter::addKeyTile(const Tile &keys,
                                               const Tile &values,
                                               const QueryPlaces &places,
                                               Value key, Value count,
                                               ValueRange state) {
  Value highest = emitScores(keys, places, key, count, state[0]);
  Value decay = exp2(sub(state[0], highest));
  Value sum = emitProbabilities(count, highest, mul(state[1], decay));
  Tile rows = values;
  rows.row = plus(values.row, key);
  addWeightedRows(sums, rows, scores, count, decay);
  return {highest, sum};
}

/// Stores the tile's scores and returns the new maximum of every lane.
Value ForwardEmitter::emitScores(const Tile &keys, const QueryPlaces &places,
                                 Value key, Value count, Value highest) {
  return loop(index(0), count, shape.rows, highest,
              [&](Value first, ValueRange top) -> Values {
                Value position = plus(key, first);
                Values rows = maskBlock(scoreBlock(keys, position, queries),
                                        position, places, kInvisible);
                Value maximal = top.front();
                for (auto [row, score] : llvm::enumerate(rows)) {
                  store(score, scores, plus(first, row), index(0));
                  maximal = maximum(score, maximal);
                }
                return {maximal};
              })
      .front();
}

/// Replaces scores by probabilities and returns their sum on top of `sum`.
Value ForwardEmitter::emitProbabilities(Value count, Value highest, Value sum) {
  return loop(index(0), count, 1, sum,
              [&](Value row, ValueRange total) -> Values {
                Value score = load(scores, row, index(0), shape.lanes);
                Value probability = exp2(sub(score, highest));
                store(probability, scores, row, index(0));
                return {add(total.front(), probability)};
              })
      .front();
}

void ForwardEmitter::storeLogSum(Value head, const QueryTile &tile,
                                 ValueRange state) {
  Value logSum = fma(state[0], splat(M_LN2, shape.lanes), log(state[1]));
  Tile target = logSumTile(buffers.getLse(), tile.first);
  if (!hasShortTile())
    return store(logSum, target, head, index(0));
  store(logSum, queries, index(0), index(0));
  loop(index(0), tile.count, 1, [&](Value lane) {
    store(load(queries, index(0), lane), target, head, lane);
  });
}

} // namespace

void nag::emitAttention(OpBuilder &builder, StreamAttentionOp op,
                        const TileShape &shape) {
  ForwardEmitter(builder, op, shape).emit();
}
