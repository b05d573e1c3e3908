// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The backward pass of attention. With p = exp(s - lse), dp = <do, v> and delta
// = <do, o>: ds = p (dp - delta), dq = ds k, dk = ds^T q and dv = p^T do. Every
// sum has one block and one order, so that results repeat bit for bit.
#include "AttentionTiles.h"

using namespace mlir;
using namespace nag;
using namespace nag::attention;

namespace {
class GradKernel {
public:
  GradKernel(AttentionTiles &tiles, const TileSchedule &tileSchedule,
             ArrayRef<Value> launchArguments)
      : code(tiles), sizes(code.getSizes()), schedule(tileSchedule),
        arguments(launchArguments) {}

protected:
  /// Places of operands among the launch's arguments.
  enum { kQuery, kKey, kValue, kResultGrad, kLse, kDelta, kGrad0, kGrad1 };

  Head queryHead(int64_t argument) {
    return code.head(arguments[argument], sizes.heads, batch, head);
  }
  Head kvHead(int64_t argument) {
    return code.head(arguments[argument], sizes.kvHeads, batch, keyHead);
  }
  /// The probability of a product of query and key, and the gradient of its
  /// score.
  Value probability(Value product, Value log2Sum) {
    return code.exp2(code.subf(
        code.mulf(product, code.number(sizes.getLog2Scale())), log2Sum));
  }
  Value scoreGrad(Value probability, Value probabilityGrad, Value delta) {
    return code.mulf(probability, code.subf(probabilityGrad, delta));
  }
  Values repeat(double factor) {
    return Values(code.getThreadRows(), code.number(factor));
  }

  AttentionTiles &code;
  const Sizes &sizes;
  const TileSchedule &schedule;
  ArrayRef<Value> arguments;
  Value batch, head, keyHead;
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
  Values loadValues(Value from);
  Part scoreGrads(const ColumnTile &keys);

  Value firstQuery, queries, resultGrads;
  Values log2Sums, deltas;
};

/// dk and dv of a tile of keys (rows: k and v), over tiles of queries
/// (columns: q and do).
class KeyGradKernel : public GradKernel {
public:
  using GradKernel::GradKernel;
  void build();

private:
  Values addHead(ValueRange state);
  Values addTile(const ColumnTile &queries, ValueRange state);

  Value firstKey, keys, values;
};
} // namespace

//===----------------------------------------------------------------------===//
// dq
//===----------------------------------------------------------------------===//

void QueryGradKernel::build() {
  int64_t tiles = llvm::divideCeil(sizes.length, schedule.getRows());
  Value block = code.blockIndex();
  // The last queries see the most keys: they start first.
  Value tile = code.sub(code.constant(tiles - 1), code.rem(block, tiles));
  head = code.rem(code.div(block, tiles), sizes.heads);
  batch = code.div(block, tiles * sizes.heads);
  keyHead = code.div(head, sizes.getGroup());
  firstQuery = code.mul(tile, schedule.getRows());
  queries = code.copyRows(queryHead(kQuery), firstQuery);
  resultGrads = code.copyRows(queryHead(kResultGrad), firstQuery);
  log2Sums = loadValues(code.headSums(arguments[kLse], batch, head));
  for (Value &sum : log2Sums)
    sum = code.mulf(sum, code.number(M_LOG2E));
  deltas = loadValues(code.headSums(arguments[kDelta], batch, head));

  Head heads[] = {kvHead(kKey), kvHead(kValue)};
  auto [begin, end] =
      code.keyRange(firstQuery, schedule.getRows(), schedule.getColumns());
  Values sums =
      code.stream(begin, end, heads, {}, code.zeroSums(),
                  [&](const ColumnTile &tileOfKeys, ValueRange state) {
                    return code.addWeighted(state, scoreGrads(tileOfKeys),
                                            tileOfKeys.tiles[0]);
                  });
  code.storeSums(sums, repeat(sizes.getScale()), queryHead(kGrad0), firstQuery);
}

Values QueryGradKernel::loadValues(Value from) {
  Values loaded;
  for (int64_t i = 0; i < code.getThreadRows(); ++i) {
    Value place = code.smaller(code.add(firstQuery, code.getRow(i)),
                               code.constant(sizes.length - 1));
    Value at = code.mul(code.extend(place), sizeof(float));
    loaded.push_back(code.load(code.getBuilder().getF32Type(),
                               code.offset(from, at), sizeof(float)));
  }
  return loaded;
}

Part QueryGradKernel::scoreGrads(const ColumnTile &keys) {
  Part part = code.multiply(queries, keys.tiles[0]);
  for (auto [i, row] : llvm::enumerate(part))
    for (Value &value : row)
      value = probability(value, log2Sums[i]);
  part = code.mask(part, AttentionTiles::Rows::Queries, firstQuery, keys.first,
                   /*invisible=*/0);
  Part grads = code.multiply(resultGrads, keys.tiles[1]);
  for (auto [i, row] : llvm::enumerate(grads))
    for (auto [j, value] : llvm::enumerate(row))
      value = scoreGrad(part[i][j], value, deltas[i]);
  return grads;
}

//===----------------------------------------------------------------------===//
// dk and dv
//===----------------------------------------------------------------------===//

void KeyGradKernel::build() {
  int64_t tiles = llvm::divideCeil(sizes.length, schedule.getRows());
  Value block = code.blockIndex();
  keyHead = code.rem(code.div(block, tiles), sizes.kvHeads);
  batch = code.div(block, tiles * sizes.kvHeads);
  // The first keys are seen by the most queries: they start first.
  firstKey = code.mul(code.rem(block, tiles), schedule.getRows());
  keys = code.copyRows(kvHead(kKey), firstKey);
  values = code.copyRows(kvHead(kValue), firstKey);

  Values state = code.zeroSums();
  state.append(code.zeroSums());
  Value firstHead = code.mul(keyHead, sizes.getGroup());
  if (sizes.getGroup() == 1) {
    head = firstHead;
    state = addHead(state);
  } else {
    state = code.loop(code.constant(0), code.constant(sizes.getGroup()), 1,
                      state, [&](Value index, ValueRange current) {
                        head = code.add(firstHead, index);
                        return addHead(current);
                      });
  }
  ValueRange sums(state);
  size_t half = sums.size() / 2;
  code.storeSums(sums.take_front(half), repeat(sizes.getScale()),
                 kvHead(kGrad0), firstKey);
  code.storeSums(sums.drop_front(half), repeat(1), kvHead(kGrad1), firstKey);
}

Values KeyGradKernel::addHead(ValueRange state) {
  Head heads[] = {queryHead(kQuery), queryHead(kResultGrad)};
  Value rows[] = {code.headSums(arguments[kLse], batch, head),
                  code.headSums(arguments[kDelta], batch, head)};
  auto [begin, end] = code.queryRange(firstKey, schedule.getRows());
  return code.stream(begin, end, heads, rows, state,
                     [&](const ColumnTile &queries, ValueRange current) {
                       return addTile(queries, current);
                     });
}

Values KeyGradKernel::addTile(const ColumnTile &queries, ValueRange state) {
  Part part = code.multiply(keys, queries.tiles[0]);
  for (auto [j, unused] : llvm::enumerate(part[0])) {
    Value log2Sum =
        code.mulf(code.loadValue(queries.values[0], j), code.number(M_LOG2E));
    for (Values &row : part)
      row[j] = probability(row[j], log2Sum);
  }
  part = code.mask(part, AttentionTiles::Rows::Keys, firstKey, queries.first,
                   /*invisible=*/0);
  size_t half = state.size() / 2;
  Values valueSums =
      code.addWeighted(state.drop_front(half), part, queries.tiles[1]);
  Part grads = code.multiply(values, queries.tiles[1]);
  for (auto [j, unused] : llvm::enumerate(part[0])) {
    Value delta = code.loadValue(queries.values[1], j);
    for (auto [i, row] : llvm::enumerate(grads))
      row[j] = scoreGrad(part[i][j], row[j], delta);
  }
  Values sums =
      code.addWeighted(state.take_front(half), grads, queries.tiles[0]);
  sums.append(valueSums);
  return sums;
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

template <typename Kernel>
static void emitGrad(KernelLowering &kernel, const Sizes &sizes,
                     const TileNeeds &needs, StringRef suffix,
                     ValueRange operands, int64_t heads,
                     ScheduleAttr schedule) {
  auto tiling = createSchedule(sizes, needs,
                               TileSizes::from(schedule, (suffix + "_").str()));
  int64_t tiles = llvm::divideCeil(sizes.length, tiling->getRows());
  DeviceFunction device = kernel.createLaunch(
      suffix, operands, {tiles * heads * sizes.batch, 1, 1},
      {tiling->getThreads(), 1, 1}, tiling->getSharedBytes());
  device.function->setAttr(kScheduleAttrName, schedule);
  useAllRegisters(device.function);
  auto code = tiling->create(device.builder);
  Kernel(*code, *tiling, device.arguments).build();
}

void attention::emitBackward(KernelLowering &kernel, const Sizes &sizes,
                             const Backward &buffers, ScheduleAttr schedule) {
  Values operands{buffers.query,      buffers.key, buffers.value,
                  buffers.resultGrad, buffers.lse, buffers.delta};
  Values keyOperands = operands;
  keyOperands.append({buffers.keyGrad, buffers.valueGrad});
  emitGrad<KeyGradKernel>(kernel, sizes, kKeyGradNeeds, "key", keyOperands,
                          sizes.kvHeads, schedule);
  operands.push_back(buffers.queryGrad);
  emitGrad<QueryGradKernel>(kernel, sizes, kQueryGradNeeds, "query", operands,
                            sizes.heads, schedule);
}
