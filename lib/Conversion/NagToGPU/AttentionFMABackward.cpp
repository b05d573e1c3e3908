// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The backward pass of attention in f32. With p = exp(s - lse), dp = <do, v>
// and delta = <do, o>: ds = p (dp - delta), dq = ds k, dk = ds^T q and
// dv = p^T do. Every sum has one block and one order, so that results repeat
// bit for bit.
#include "AttentionFMA.h"

using namespace mlir;
using namespace nag;
using namespace nag::attention;

namespace {
/// What both kernels share: two resident row tiles and two passing column
/// tiles, whose products are scores and gradients of probabilities.
class GradKernel : public FMACode {
public:
  GradKernel(DeviceFunction &device, const Sizes &opSizes,
             const FMAShape &fmaShape)
      : FMACode(device.builder, opSizes, fmaShape), shape(fmaShape),
        arguments(device.arguments) {}

protected:
  /// Places of operands among the launch's arguments.
  enum { kQuery, kKey, kValue, kResultGrad, kLse, kDelta, kGrad0, kGrad1 };

  void takeTiles() {
    for (Value &tile : rowTiles)
      tile = takeShared(shape.getRowTileBytes());
    for (Value &tile : columnTiles)
      tile = takeShared(shape.getColumnTileBytes());
  }
  /// The probability of a product of query and key.
  Value probability(Value product, Value log2Sum, Value query, Value key) {
    Value exponent = subf(mulf(product, number(sizes.getLog2Scale())), log2Sum);
    return select(sees(query, key), exp2(exponent), number(0));
  }
  Value scoreGrad(Value probability, Value probabilityGrad, Value delta) {
    return mulf(probability, subf(probabilityGrad, delta));
  }

  const FMAShape shape;
  ArrayRef<Value> arguments;
  Value rowTiles[2], columnTiles[2];
};

/// dq of a tile of queries (rows: q and do), over tiles of keys (columns: k
/// and v).
class QueryGradKernel : public GradKernel {
public:
  using GradKernel::GradKernel;
  void build();

private:
  /// Per row of the thread, the value at its position; the last one's behind
  /// the end.
  Values loadSums(Value from, double factor);
  Part scoreGrads(Value firstKey);

  Value firstQuery, weights;
  Values log2Sums, deltas;
};

/// dk and dv of a tile of keys (rows: k and v), over tiles of queries
/// (columns: q and do).
class KeyGradKernel : public GradKernel {
public:
  using GradKernel::GradKernel;
  void build();

private:
  Values addHead(Value headIndex, ValueRange state);
  Values addTile(Value firstQuery, ValueRange state);
  /// The value of a column that copySums has stored.
  Value loadSum(Value from, int64_t column) {
    return load(getBuilder().getF32Type(),
                offset(from, mul(getColumn(column), sizeof(float))),
                sizeof(float));
  }

  Value batch, firstKey, probabilities, grads, log2Sums, deltas;
};
} // namespace

//===----------------------------------------------------------------------===//
// dq
//===----------------------------------------------------------------------===//

void QueryGradKernel::build() {
  int64_t tiles = llvm::divideCeil(sizes.length, shape.getRows());
  Value block = blockIndex();
  // The last queries see the most keys: they start first.
  Value tile = sub(constant(tiles - 1), rem(block, tiles));
  Value headIndex = rem(div(block, tiles), sizes.heads);
  Value batch = div(block, tiles * sizes.heads);
  Value kvHead = div(headIndex, sizes.getGroup());
  firstQuery = mul(tile, shape.getRows());
  takeTiles();
  weights = takeShared(shape.getWeightBytes());
  copyTile(head(arguments[kQuery], sizes.heads, batch, headIndex), firstQuery,
           shape.getRows(), rowTiles[0]);
  copyTile(head(arguments[kResultGrad], sizes.heads, batch, headIndex),
           firstQuery, shape.getRows(), rowTiles[1]);
  log2Sums = loadSums(headSums(arguments[kLse], batch, headIndex), M_LOG2E);
  deltas = loadSums(headSums(arguments[kDelta], batch, headIndex), 1);

  Head keys = head(arguments[kKey], sizes.kvHeads, batch, kvHead);
  Head values = head(arguments[kValue], sizes.kvHeads, batch, kvHead);
  auto [begin, end] = keyRange(firstQuery, shape.getRows(), shape.columns);
  Values sums =
      loop(begin, end, shape.columns, zeroSums(),
           [&](Value firstKey, ValueRange state) {
             barrier();
             copyTile(keys, firstKey, shape.columns, columnTiles[0]);
             copyTile(values, firstKey, shape.columns, columnTiles[1]);
             barrier();
             storeWeights(scoreGrads(firstKey), weights);
             warpBarrier();
             return addWeighted(state, weights, columnTiles[0]);
           });
  storeSums(sums, Values(shape.rowsPerThread, number(sizes.getScale())),
            head(arguments[kGrad0], sizes.heads, batch, headIndex), firstQuery);
}

Values QueryGradKernel::loadSums(Value from, double factor) {
  Values values;
  for (int64_t i = 0; i < shape.rowsPerThread; ++i) {
    Value place =
        smaller(add(firstQuery, getRow(i)), constant(sizes.length - 1));
    Value value =
        load(getBuilder().getF32Type(),
             offset(from, mul(extend(place), sizeof(float))), sizeof(float));
    values.push_back(factor == 1 ? value : mulf(value, number(factor)));
  }
  return values;
}

Part QueryGradKernel::scoreGrads(Value firstKey) {
  Part part = multiply(rowTiles[0], columnTiles[0]);
  for (auto [i, row] : llvm::enumerate(part))
    for (auto [j, value] : llvm::enumerate(row))
      value = probability(value, log2Sums[i], add(firstQuery, getRow(i)),
                          add(firstKey, getColumn(j)));
  Part grads = multiply(rowTiles[1], columnTiles[1]);
  for (auto [i, row] : llvm::enumerate(grads))
    for (auto [j, value] : llvm::enumerate(row))
      value = scoreGrad(part[i][j], value, deltas[i]);
  return grads;
}

//===----------------------------------------------------------------------===//
// dk and dv
//===----------------------------------------------------------------------===//

void KeyGradKernel::build() {
  int64_t tiles = llvm::divideCeil(sizes.length, shape.getRows());
  Value block = blockIndex();
  Value kvHead = rem(div(block, tiles), sizes.kvHeads);
  batch = div(block, tiles * sizes.kvHeads);
  // The first keys are seen by the most queries: they start first.
  firstKey = mul(rem(block, tiles), shape.getRows());
  takeTiles();
  probabilities = takeShared(shape.getWeightBytes());
  grads = takeShared(shape.getWeightBytes());
  log2Sums = takeShared(shape.columns * sizeof(float));
  deltas = takeShared(shape.columns * sizeof(float));
  copyTile(head(arguments[kKey], sizes.kvHeads, batch, kvHead), firstKey,
           shape.getRows(), rowTiles[0]);
  copyTile(head(arguments[kValue], sizes.kvHeads, batch, kvHead), firstKey,
           shape.getRows(), rowTiles[1]);

  Values state = zeroSums();
  state.append(zeroSums());
  Value firstHead = mul(kvHead, sizes.getGroup());
  if (sizes.getGroup() == 1)
    state = addHead(firstHead, state);
  else
    state = loop(constant(0), constant(sizes.getGroup()), 1, state,
                 [&](Value index, ValueRange current) {
                   return addHead(add(firstHead, index), current);
                 });
  ValueRange sums(state);
  size_t half = sums.size() / 2;
  storeSums(sums.take_front(half),
            Values(shape.rowsPerThread, number(sizes.getScale())),
            head(arguments[kGrad0], sizes.kvHeads, batch, kvHead), firstKey);
  storeSums(sums.drop_front(half), Values(shape.rowsPerThread, number(1)),
            head(arguments[kGrad1], sizes.kvHeads, batch, kvHead), firstKey);
}

Values KeyGradKernel::addHead(Value headIndex, ValueRange state) {
  Head queries = head(arguments[kQuery], sizes.heads, batch, headIndex);
  Head resultGrads =
      head(arguments[kResultGrad], sizes.heads, batch, headIndex);
  Value headLse = headSums(arguments[kLse], batch, headIndex);
  Value headDelta = headSums(arguments[kDelta], batch, headIndex);
  auto [begin, end] = queryRange(firstKey, shape.getRows());
  return loop(begin, end, shape.columns, state,
              [&](Value firstQuery, ValueRange current) {
                barrier();
                copyTile(queries, firstQuery, shape.columns, columnTiles[0]);
                copyTile(resultGrads, firstQuery, shape.columns,
                         columnTiles[1]);
                copySums(headLse, firstQuery, M_LOG2E, log2Sums);
                copySums(headDelta, firstQuery, 1, deltas);
                barrier();
                return addTile(firstQuery, current);
              });
}

Values KeyGradKernel::addTile(Value firstQuery, ValueRange state) {
  Part part = multiply(rowTiles[0], columnTiles[0]);
  Value zero = number(0);
  for (auto [j, unused] : llvm::enumerate(part[0])) {
    Value query = add(firstQuery, getColumn(j));
    Value exists = less(query, sizes.length);
    Value log2Sum = loadSum(log2Sums, j);
    for (auto [i, row] : llvm::enumerate(part)) {
      Value key = add(firstKey, getRow(i));
      row[j] = select(exists, probability(row[j], log2Sum, query, key), zero);
    }
  }
  storeWeights(part, probabilities);
  Part scoreGrads = multiply(rowTiles[1], columnTiles[1]);
  for (auto [j, unused] : llvm::enumerate(part[0])) {
    Value delta = loadSum(deltas, j);
    for (auto [i, row] : llvm::enumerate(scoreGrads))
      row[j] = scoreGrad(part[i][j], row[j], delta);
  }
  storeWeights(scoreGrads, grads);
  warpBarrier();
  size_t half = state.size() / 2;
  Values sums = addWeighted(state.take_front(half), grads, columnTiles[0]);
  sums.append(
      addWeighted(state.drop_front(half), probabilities, columnTiles[1]));
  return sums;
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

void attention::emitQueryGradFMA(KernelLowering &kernel, const Sizes &sizes,
                                 const Backward &buffers) {
  FMAShape shape = FMAShape::choose(sizes, /*products=*/2, /*sums=*/1);
  int64_t tiles = llvm::divideCeil(sizes.length, shape.getRows());
  DeviceFunction device = kernel.createLaunch(
      "query",
      {buffers.query, buffers.key, buffers.value, buffers.resultGrad,
       buffers.lse, buffers.delta, buffers.queryGrad},
      {tiles * sizes.heads * sizes.batch, 1, 1}, {shape.getThreads(), 1, 1},
      shape.getBytes(2, 2, 1));
  useAllRegisters(device.function);
  QueryGradKernel(device, sizes, shape).build();
}

void attention::emitKeyGradFMA(KernelLowering &kernel, const Sizes &sizes,
                               const Backward &buffers) {
  FMAShape shape = FMAShape::choose(sizes, /*products=*/2, /*sums=*/2);
  int64_t tiles = llvm::divideCeil(sizes.length, shape.getRows());
  int64_t sumBytes = 2 * shape.columns * sizeof(float);
  DeviceFunction device = kernel.createLaunch(
      "key",
      {buffers.query, buffers.key, buffers.value, buffers.resultGrad,
       buffers.lse, buffers.delta, buffers.keyGrad, buffers.valueGrad},
      {tiles * sizes.kvHeads * sizes.batch, 1, 1}, {shape.getThreads(), 1, 1},
      shape.getBytes(2, 2, 2) + sumBytes);
  useAllRegisters(device.function);
  KeyGradKernel(device, sizes, shape).build();
}
