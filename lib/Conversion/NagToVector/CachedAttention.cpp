// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Attention of one token per sequence to a cache: scores, softmax, mixture, one
// head at a time. Work grows with the positions that a token sees.
#include "CachedAttention.h"
#include "TileEmitter.h"
#include <cmath>

using namespace mlir;
using namespace nag;

namespace {

class CachedAttentionEmitter : public TileEmitter {
public:
  CachedAttentionEmitter(OpBuilder &builder, StreamCachedAttentionOp attention,
                         FloatType type)
      : TileEmitter(attention.getLoc(), builder, type), op(attention),
        buffers(attention->getOperands(), attention),
        headDim(attention.getHeadDim()), heads(attention.getHeads()),
        kvHeads(attention.getKvHeads()) {
    auto cache = cast<MemRefType>(attention.getKeyCache().getType());
    Value rows = attention.getRows();
    batch = cache.getDimSize(0);
    capacity = rows ? cast<MemRefType>(rows.getType()).getDimSize(1)
                    : cache.getDimSize(1);
    reach = capacity;
    if (attention.getWindow())
      reach = std::min<int64_t>(reach, *attention.getWindow());
  }

  void emit();

private:
  /// Scores that the softmax treats at once.
  static constexpr int64_t kLanes = 16;
  /// The score of what no position stands behind.
  static constexpr double kInvisible = -1.0e30;

  void emitHead(Value sequence, Value head);
  Value emitScores(Value query);
  Value emitProbabilities(Value highest);
  Value emitMixture();
  /// A head of the token's query or result.
  Tile queryTile(Value buffer, Value head) {
    if (op.getRoute().empty())
      return {buffer, {index(0)}, sequence, times(head, headDim)};
    return {buffer, {}, queryRow, times(head, headDim)};
  }
  /// A head's vector of the token's own key or value.
  Value loadToken(Value buffer, Value head) {
    if (cast<MemRefType>(buffer.getType()).getRank() == 2)
      return load({buffer, {}, queryRow, times(head, headDim)}, index(0),
                  index(0), headDim);
    Tile tile{buffer, {index(0)}, sequence, times(head, headDim)};
    return load(tile, index(0), index(0), headDim);
  }
  Value loadIndex(Value buffer, ValueRange at) {
    Value number = memref::LoadOp::create(*this, buffer, at);
    return arith::IndexCastOp::create(*this, getIndexType(), number);
  }
  /// A head's vector of the position `distance` before the token's.
  Value loadCached(Value buffer, Value distance) {
    Value row = arith::RemUIOp::create(*this, minus(position, distance),
                                       index(capacity));
    if (Value rows = buffers.getRows())
      row = loadIndex(rows, {sequence, row});
    Tile tile{buffer, {sequence}, row, times(kvHead, headDim)};
    return load(tile, index(0), index(0), headDim);
  }
  Value sumOf(Value vector) {
    // In any order: one sum after the other would be one chain of adds.
    return vector::ReductionOp::create(*this, vector::CombiningKind::ADD,
                                       vector, arith::FastMathFlags::reassoc);
  }

  StreamCachedAttentionOp op;
  /// The op's operands inside the parallel body.
  StreamCachedAttentionOp::Adaptor buffers;
  int64_t headDim, heads, kvHeads, batch = 0, capacity = 0, reach = 0;

  Value sequence, kvHead, position;
  /// The row of routed queries that is the token's.
  Value queryRow;
  /// Positions that the token sees, without its own; scores[0, d] belongs to
  /// distance d.
  Value seen;
  Tile scores;
};

} // namespace

void CachedAttentionEmitter::emit() {
  int64_t queries = batch;
  if (!op.getRoute().empty())
    queries = cast<MemRefType>(op.getQuery().getType()).getDimSize(0);
  parallel("cached_attention_heads", op->getOperands(), queries * heads,
           [&](ValueRange arguments, Value item) {
             buffers = StreamCachedAttentionOp::Adaptor(arguments, op);
             auto [first, second] = divide(item, heads);
             Value row = first, head = second;
             if (op.getRoute().empty())
               return emitHead(row, head);
             Value count = loadIndex(buffers.getRoute()[1], index(1));
             Value isExecuted = arith::CmpIOp::create(
                 *this, arith::CmpIPredicate::slt, row, count);
             when(isExecuted, [&] {
               queryRow = row;
               emitHead(loadIndex(buffers.getRoute()[0], row), head);
             });
           });
}

void CachedAttentionEmitter::emitHead(Value chosen, Value head) {
  sequence = chosen;
  kvHead = divide(head, heads / kvHeads).first;
  position = loadIndex(buffers.getPositions(), {index(0), sequence});
  seen = smaller(position, index(reach));
  scores = {scratch(1, llvm::alignTo(reach + 1, kLanes)), {}, nullptr, nullptr};
  double scale = M_LOG2E / std::sqrt(double(headDim));
  Value query =
      load(queryTile(buffers.getQuery(), head), index(0), index(0), headDim);
  query = mul(query, splat(scale, headDim));
  Value sum = emitProbabilities(emitScores(query));
  Value mixture = emitMixture();
  Value result = arith::DivFOp::create(*this, mixture, broadcast(sum, headDim));
  store(result, queryTile(buffers.getOutput(), head), index(0), index(0));
}

/// Stores all scores, in logarithms to base 2, and returns the highest. Lanes
/// behind the last one are filled up.
Value CachedAttentionEmitter::emitScores(Value query) {
  Value own = sumOf(mul(query, loadToken(buffers.getKey(), kvHead)));
  store(own, scores, index(0), index(0));
  Value end = plus(seen, 1);
  Values highest = loop(
      index(1), end, 1, own, [&](Value distance, ValueRange top) -> Values {
        Value key = loadCached(buffers.getKeyCache(), distance);
        Value score = sumOf(mul(query, key));
        store(score, scores, index(0), distance);
        return {maximum(score, top.front())};
      });
  Value filled = times(divide(plus(seen, kLanes), kLanes).first, kLanes);
  loop(end, filled, 1, [&](Value distance) {
    store(number(kInvisible), scores, index(0), distance);
  });
  return highest.front();
}

/// Replaces scores by unnormalised probabilities and returns their sum.
Value CachedAttentionEmitter::emitProbabilities(Value highest) {
  Value top = broadcast(highest, kLanes);
  Values sum = loop(index(0), plus(seen, 1), kLanes, splat(0, kLanes),
                    [&](Value first, ValueRange total) -> Values {
                      Value score = load(scores, index(0), first, kLanes);
                      Value probability = exp2(sub(score, top));
                      store(probability, scores, index(0), first);
                      return {add(total.front(), probability)};
                    });
  return sumOf(sum.front());
}

Value CachedAttentionEmitter::emitMixture() {
  Value own = mul(loadToken(buffers.getValue(), kvHead),
                  broadcast(load(scores, index(0), index(0)), headDim));
  return loop(index(1), plus(seen, 1), 1, own,
              [&](Value distance, ValueRange sum) -> Values {
                Value value = loadCached(buffers.getValueCache(), distance);
                Value weight = load(scores, index(0), distance);
                return {fma(broadcast(weight, headDim), value, sum.front())};
              })
      .front();
}

void nag::emitCachedAttention(OpBuilder &builder, StreamCachedAttentionOp op) {
  auto type = cast<MemRefType>(op.getQuery().getType());
  CachedAttentionEmitter(builder, op, cast<FloatType>(type.getElementType()))
      .emit();
}
