// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The backward pass of attention: the probabilities of a tile are computed
// again from the saved log-sum-exp.
#include "AttentionTiles.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"

using namespace mlir;
using namespace nag;

namespace {

class BackwardEmitter : public AttentionTiles {
public:
  BackwardEmitter(OpBuilder &builder, StreamAttentionVJPOp attention,
                  const TileShape &tileShape)
      : AttentionTiles(builder, attention, tileShape), op(attention),
        buffers(attention->getOperands(), attention) {}

  void emit();

private:
  void allocate();
  void emitQueryTile(Value head, Value kvHead, const QueryTile &tile);
  void emitRowFacts(Value head, const QueryTile &tile);
  Value emitRowProduct(const Tile &lhs, const Tile &rhs, Value row);
  void emitScoreGradients(const Tile &keys, const Tile &values,
                          const QueryPlaces &places, Value key, Value count);
  /// target[key, :] += sum over the tile's queries of
  /// weights[key, query] * rows[query, :].
  void addToKeys(const Tile &target, const Tile &weights, const Tile &rows,
                 Value keys, Value queryCount);

  StreamAttentionVJPOp op;
  /// The op's operands inside the parallel body.
  StreamAttentionVJPOp::Adaptor buffers;
  /// Packed queries and output gradients, [hd, lanes].
  Tile queries, outputGrads;
  /// Probabilities and score gradients of a tile, [keys, lanes].
  Tile probabilities, scoreGrads;
  /// Gradient of the packed queries, [hd, lanes].
  Tile queryGrads;
  /// Row 0: log-sum-exp to base 2; row 1: -scale * <output, output_grad>.
  Tile rowFacts;
};

void BackwardEmitter::allocate() {
  queries = scratchTile(sizes.headDim, shape.lanes);
  outputGrads = scratchTile(sizes.headDim, shape.lanes);
  queryGrads = scratchTile(sizes.headDim, shape.lanes);
  probabilities = scratchTile(shape.keys, shape.lanes);
  scoreGrads = scratchTile(shape.keys, shape.lanes);
  rowFacts = scratchTile(2, shape.lanes);
}

void BackwardEmitter::emit() {
  int64_t group = sizes.heads / sizes.kvHeads;
  // One iteration owns a key-value head: its sums need no other order.
  parallel("attention_vjp_heads", op->getOperands(),
           sizes.batch * sizes.kvHeads, [&](ValueRange arguments, Value item) {
             buffers = StreamAttentionVJPOp::Adaptor(arguments, op);
             auto [batch, kvHead] = divide(item, sizes.kvHeads);
             Value kv = kvHead;
             enterSequence(batch, buffers.getRoute());
             allocate();
             for (Value buffer : {buffers.getKeyGrad(), buffers.getValueGrad()})
               fill(keyTile(buffer, kv), sequence.keys, sizes.headDim,
                    number(0));
             loop(index(0), index(group), 1, [&](Value member) {
               Value head = plus(times(kv, group), member);
               loop(index(0), countQueryTiles(), 1, [&](Value number) {
                 emitQueryTile(head, kv, queryTileAt(number));
               });
             });
           });
}

void BackwardEmitter::emitQueryTile(Value head, Value kvHead,
                                    const QueryTile &tile) {
  Tile queryRows = queryTile(buffers.getQuery(), head, tile.first);
  Tile gradRows = queryTile(buffers.getOutputGrad(), head, tile.first);
  packQueries(queryTile(buffers.getQuery(), head), tile, queries, scoreScale());
  packQueries(queryTile(buffers.getOutputGrad(), head), tile, outputGrads, 1);
  emitRowFacts(head, tile);
  fill(queryGrads, index(sizes.headDim), shape.lanes, number(0));
  QueryPlaces places = placeQueries(tile);
  auto [begin, end] = keyRange(places);
  Value stop = end;
  loop(begin, end, shape.keys, [&](Value key) {
    Value count = smaller(minus(stop, key), index(shape.keys));
    emitScoreGradients(keyTile(buffers.getKey(), kvHead),
                       keyTile(buffers.getValue(), kvHead), places, key, count);
    addToKeys(keyTile(buffers.getValueGrad(), kvHead, key), probabilities,
              gradRows, count, tile.count);
    addToKeys(keyTile(buffers.getKeyGrad(), kvHead, key), scoreGrads, queryRows,
              count, tile.count);
    addWeightedRows(queryGrads, keyTile(buffers.getKey(), kvHead, key),
                    scoreGrads, count);
  });
  unpackQueries(queryGrads, queryTile(buffers.getQueryGrad(), head), tile);
}

/// Lanes without a query get an infinite log-sum-exp in effect: probability 0.
void BackwardEmitter::emitRowFacts(Value head, const QueryTile &tile) {
  if (hasShortTile())
    store(splat(-kInvisible, shape.lanes), rowFacts, index(0), index(0));
  Tile output = queryTile(buffers.getOutput(), head, tile.first);
  Tile outputGrad = queryTile(buffers.getOutputGrad(), head, tile.first);
  Tile logSums = logSumTile(buffers.getLse(), tile.first);
  Value factor = number(-1 / std::sqrt(double(sizes.headDim)));
  loop(index(0), tile.count, 1, [&](Value lane) {
    store(mul(load(logSums, head, lane), number(M_LOG2E)), rowFacts, index(0),
          lane);
    store(mul(emitRowProduct(output, outputGrad, lane), factor), rowFacts,
          index(1), lane);
  });
}

Value BackwardEmitter::emitRowProduct(const Tile &lhs, const Tile &rhs,
                                      Value row) {
  constexpr int64_t kWidth = 8;
  int64_t whole = sizes.headDim / kWidth * kWidth;
  Values sums = loop(index(0), index(whole), kWidth, splat(0, kWidth),
                     [&](Value d, ValueRange sum) -> Values {
                       return {fma(load(lhs, row, d, kWidth),
                                   load(rhs, row, d, kWidth), sum.front())};
                     });
  Value total =
      vector::ReductionOp::create(*this, vector::CombiningKind::ADD,
                                  sums.front(), arith::FastMathFlags::reassoc);
  for (int64_t d = whole; d < sizes.headDim; ++d)
    total = add(total, mul(load(lhs, row, index(d)), load(rhs, row, index(d))));
  return total;
}

/// p = exp(s - lse); ds = p * (dp - <o, do>) * scale.
void BackwardEmitter::emitScoreGradients(const Tile &keys, const Tile &values,
                                         const QueryPlaces &places, Value key,
                                         Value count) {
  Value scale = splat(1 / std::sqrt(double(sizes.headDim)), shape.lanes);
  Value logSum = load(rowFacts, index(0), index(0), shape.lanes);
  Value shift = load(rowFacts, index(1), index(0), shape.lanes);
  loop(index(0), count, shape.rows, [&](Value first) {
    Value position = plus(key, first);
    Values scores = scoreBlock(keys, position, queries);
    for (Value &score : scores)
      score = exp2(sub(score, logSum));
    scores = maskBlock(scores, position, places, 0);
    for (auto [row, probability] : llvm::enumerate(scores))
      store(probability, probabilities, plus(first, row), index(0));
    Values grads = scoreBlock(values, position, outputGrads);
    for (auto [row, grad] : llvm::enumerate(grads))
      store(mul(scores[row], fma(grad, scale, shift)), scoreGrads,
            plus(first, row), index(0));
  });
}

void BackwardEmitter::addToKeys(const Tile &target, const Tile &weights,
                                const Tile &rows, Value keys,
                                Value queryCount) {
  forBlocks(sizes.headDim, shape.lanes, [&](Value column, int64_t width) {
    forBlocks(keys, shape.rows, !hasRestKeys(), [&](Value first, int64_t size) {
      Values initial;
      for (int64_t row = 0; row < size; ++row)
        initial.push_back(load(target, plus(first, row), column, width));
      Values results = multiply(
          initial, queryCount,
          [&](int64_t row, Value query) {
            return load(weights, plus(first, row), query);
          },
          [&](Value query) { return load(rows, query, column, width); });
      for (auto [row, result] : llvm::enumerate(results))
        store(result, target, plus(first, row), column);
    });
  });
}

} // namespace

void nag::emitAttentionVJP(OpBuilder &builder, StreamAttentionVJPOp op,
                           const TileShape &shape) {
  BackwardEmitter(builder, op, shape).emit();
}
