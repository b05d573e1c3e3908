// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The forward pass of attention in f32: a running softmax over tiles of keys
// (Milakov and Gimelshein, 2018; Dao et al., 2022).
#include "AttentionFMA.h"

using namespace mlir;
using namespace nag;
using namespace nag::attention;

namespace {
class ForwardKernel : public FMACode {
public:
  ForwardKernel(DeviceFunction &device, const Sizes &opSizes,
                const FMAShape &fmaShape)
      : FMACode(device.builder, opSizes, fmaShape), shape(fmaShape),
        arguments(device.arguments) {}

  void build();

private:
  /// What a thread carries from tile to tile: per row the highest score and
  /// its own part of the sum of probabilities, and the sums of values.
  struct State {
    Values highest, total, sums;

    State() = default;
    State(ValueRange values, int64_t rows)
        : highest(values.take_front(rows)), total(values.slice(rows, rows)),
          sums(values.drop_front(2 * rows)) {}
    Values join() const {
      Values values = highest;
      values.append(total);
      values.append(sums);
      return values;
    }
  };

  State start();
  State addTile(State state, Value firstKey);
  Part scores(Value firstKey);
  void storeResults(const State &state, Value batch, Value headIndex);

  const FMAShape shape;
  ArrayRef<Value> arguments;
  Value firstQuery, queries, keys, values, weights;
};
} // namespace

void ForwardKernel::build() {
  int64_t tiles = llvm::divideCeil(sizes.length, shape.getRows());
  Value block = blockIndex();
  // The last queries see the most keys: they start first.
  Value tile = sub(constant(tiles - 1), rem(block, tiles));
  Value headIndex = rem(div(block, tiles), sizes.heads);
  Value batch = div(block, tiles * sizes.heads);
  Value kvHead = div(headIndex, sizes.getGroup());
  firstQuery = mul(tile, shape.getRows());
  queries = takeShared(shape.getRowTileBytes());
  keys = takeShared(shape.getColumnTileBytes());
  values = takeShared(shape.getColumnTileBytes());
  weights = takeShared(shape.getWeightBytes());

  copyTile(head(arguments[0], sizes.heads, batch, headIndex), firstQuery,
           shape.getRows(), queries);
  Head keyHead = head(arguments[1], sizes.kvHeads, batch, kvHead);
  Head valueHead = head(arguments[2], sizes.kvHeads, batch, kvHead);
  auto [begin, end] = keyRange(firstQuery, shape.getRows(), shape.columns);
  Values last =
      loop(begin, end, shape.columns, start().join(),
           [&](Value firstKey, ValueRange state) {
             barrier();
             copyTile(keyHead, firstKey, shape.columns, keys);
             copyTile(valueHead, firstKey, shape.columns, values);
             barrier();
             return addTile(State(state, shape.rowsPerThread), firstKey).join();
           });
  storeResults(State(last, shape.rowsPerThread), batch, headIndex);
}

ForwardKernel::State ForwardKernel::start() {
  State state;
  state.highest.assign(shape.rowsPerThread, number(kInvisible));
  state.total.assign(shape.rowsPerThread, number(0));
  state.sums = zeroSums();
  return state;
}

/// Logarithms to base 2 of unnormalised probabilities.
Part ForwardKernel::scores(Value firstKey) {
  Part products = multiply(queries, keys);
  Value scale = number(sizes.getLog2Scale()), invisible = number(kInvisible);
  for (auto [i, row] : llvm::enumerate(products)) {
    Value query = add(firstQuery, getRow(i));
    for (auto [j, score] : llvm::enumerate(row))
      score = select(sees(query, add(firstKey, getColumn(j))),
                     mulf(score, scale), invisible);
  }
  return products;
}

ForwardKernel::State ForwardKernel::addTile(State state, Value firstKey) {
  Part part = scores(firstKey);
  int64_t perRow = state.sums.size() / part.size();
  auto higher = [&](Value a, Value b) { return maximum(a, b); };
  for (auto [i, row] : llvm::enumerate(part)) {
    Value highest = row[0];
    for (Value score : ArrayRef(row).drop_front())
      highest = maximum(highest, score);
    highest = reduce(highest, shape.columnLanes, higher);
    highest = maximum(highest, state.highest[i]);
    Value decay = exp2(subf(state.highest[i], highest));
    Value total = mulf(state.total[i], decay);
    for (Value &score : row) {
      score = exp2(subf(score, highest));
      total = addf(total, score);
    }
    for (Value &sum : MutableArrayRef(state.sums).slice(i * perRow, perRow))
      sum = mulf(sum, decay);
    state.highest[i] = highest;
    state.total[i] = total;
  }
  storeWeights(part, weights);
  warpBarrier();
  state.sums = addWeighted(state.sums, weights, values);
  return state;
}

void ForwardKernel::storeResults(const State &state, Value batch,
                                 Value headIndex) {
  auto plus = [&](Value a, Value b) { return addf(a, b); };
  Value logSums = headSums(arguments[4], batch, headIndex);
  Values factors;
  for (int64_t i = 0; i < shape.rowsPerThread; ++i) {
    Value total = reduce(state.total[i], shape.columnLanes, plus);
    factors.push_back(reciprocal(total));
    Value position = add(firstQuery, getRow(i));
    Value stores = both(less(position, sizes.length), less(getColumn(0), 1));
    Value logSum = mulf(addf(state.highest[i], log2(total)), number(M_LN2));
    ifTrue(stores, [&] {
      store(logSum, offset(logSums, mul(extend(position), sizeof(float))),
            sizeof(float));
    });
  }
  storeSums(state.sums, factors,
            head(arguments[3], sizes.heads, batch, headIndex), firstQuery);
}

void attention::emitForwardFMA(KernelLowering &kernel, const Sizes &sizes,
                               const Forward &buffers) {
  FMAShape shape = FMAShape::choose(sizes, /*products=*/1, /*sums=*/1);
  int64_t tiles = llvm::divideCeil(sizes.length, shape.getRows());
  DeviceFunction device = kernel.createLaunch(
      "",
      {buffers.query, buffers.key, buffers.value, buffers.result, buffers.lse},
      {tiles * sizes.heads * sizes.batch, 1, 1}, {shape.getThreads(), 1, 1},
      shape.getBytes(1, 2, 1));
  useAllRegisters(device.function);
  ForwardKernel(device, sizes, shape).build();
}
