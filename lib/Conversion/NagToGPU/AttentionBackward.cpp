// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The backward pass of attention. With p = exp(s - lse), dp = <do, v> and delta
// = <do, o>: ds = p (dp - delta), dq = ds k, dk = ds^T q and dv = p^T do. Every
// sum has one block and one order, so that results repeat bit for bit.
#include "AttentionTiles.h"
#include "BlockOrder.h"

using namespace mlir;
using namespace nag;
using namespace nag::attention;

namespace {
class GradKernel {
public:
  GradKernel(AttentionTiles &tiles, const TileSchedule &tileSchedule,
             ArrayRef<Value> launchArguments)
      : code(tiles), sizes(code.getSizes()), schedule(tileSchedule),
        arguments(launchArguments) {
    if (sizes.isRouted())
      code.setRoute(arguments.take_back(2));
  }

protected:
  /// Places of buffers among the launch's arguments.
  enum {
    kQuery,
    kKey,
    kValue,
    kResult,
    kResultGrad,
    kLse,
    kDelta,
    kQueryGrad,
    kKeyGrad,
    kValueGrad
  };

  Head queryHead(int64_t argument) {
    return code.head(arguments[argument], sizes.heads, queryRows, head);
  }
  Head kvHead(int64_t argument) {
    return code.head(arguments[argument], sizes.kvHeads, keyRows, keyHead);
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
  RowSet queryRows, keyRows;
  /// The rows that the block keeps, and the positions of the thread's.
  RowRange range;
  Values positions;
};

/// dq of a tile of queries (rows: q and do), over tiles of keys (columns: k
/// and v); and delta, which dk needs.
class QueryGradKernel : public GradKernel {
public:
  using GradKernel::GradKernel;
  void build();

private:
  void buildTile();
  /// Per row of the thread, its value; the last one's behind the end.
  Values loadValues(Value from);
  Part scoreGrads(const ColumnTile &keys);

  Value queries, resultGrads;
  Values log2Sums, deltas;
};

/// dk and dv of a tile of keys (rows: k and v), over tiles of queries
/// (columns: q and do).
class KeyGradKernel : public GradKernel {
public:
  using GradKernel::GradKernel;
  void build();

private:
  void buildTile();
  Values addHead(ValueRange state);
  Values addTile(const ColumnTile &queries, ValueRange state);

  Value keys, values;
};
} // namespace

//===----------------------------------------------------------------------===//
// dq
//===----------------------------------------------------------------------===//

void QueryGradKernel::build() {
  QueryTile place = findQueryTile(code, schedule);
  batch = place.batch;
  head = place.head;
  keyHead = code.div(head, sizes.getGroup());
  queryRows = code.getQueries(batch);
  keyRows = code.getKeys(batch);
  range.first = place.first;
  code.ifHasRow(queryRows, place.first, [&] { buildTile(); });
}

void QueryGradKernel::buildTile() {
  range = code.range(queryRows, range.first, schedule.getRows());
  positions = code.loadPositions(range);
  queries = code.copyRows(queryHead(kQuery), range.first);
  resultGrads = code.copyRows(queryHead(kResultGrad), range.first);
  log2Sums = loadValues(code.headSums(arguments[kLse], queryRows, batch, head));
  for (Value &sum : log2Sums)
    sum = code.mulf(sum, code.number(M_LOG2E));
  deltas = code.multiplyRows(queryHead(kResult), queryHead(kResultGrad),
                             range.first);
  code.storeRowValues(deltas,
                      code.headSums(arguments[kDelta], queryRows, batch, head),
                      queryRows, range.first);

  Head heads[] = {kvHead(kKey), kvHead(kValue)};
  Values values;
  if (keyRows.isRouted())
    values.push_back(keyRows.indices);
  auto [begin, end] =
      code.keyRange(range, schedule.getRows(), keyRows, schedule.getColumns());
  Values sums =
      code.stream(begin, end, heads, values, code.zeroSums(),
                  [&](const ColumnTile &tileOfKeys, ValueRange state) {
                    return code.addWeighted(state, scoreGrads(tileOfKeys),
                                            tileOfKeys.tiles[0]);
                  });
  code.storeSums(sums, repeat(sizes.getScale()), queryHead(kQueryGrad),
                 range.first);
}

Values QueryGradKernel::loadValues(Value from) {
  Values loaded;
  for (int64_t i = 0; i < code.getThreadRows(); ++i) {
    Value place = code.smaller(code.add(range.first, code.getRow(i)),
                               code.sub(queryRows.count, code.constant(1)));
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
  part = code.mask(part, AttentionTiles::Rows::Queries, range, positions,
                   keyRows, keys, /*invisible=*/0);
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
  int64_t tiles = countKeyTiles(sizes, schedule.getRows());
  Value block = code.blockIndex(), tile = code.rem(block, tiles);
  // The first keys are seen by the most queries: they start first.
  if (sizes.routesKeys) {
    std::tie(batch, tile) = code.findRoutedTile(tile, schedule.getRows());
    keyHead = code.div(block, tiles);
  } else {
    keyHead = code.rem(code.div(block, tiles), sizes.kvHeads);
    batch = code.div(block, tiles * sizes.kvHeads);
  }
  range.first = code.mul(tile, schedule.getRows());
  queryRows = code.getQueries(batch);
  keyRows = code.getKeys(batch);
  code.ifHasRow(keyRows, range.first, [&] { buildTile(); });
}

void KeyGradKernel::buildTile() {
  range = code.range(keyRows, range.first, schedule.getRows());
  positions = code.loadPositions(range);
  keys = code.copyRows(kvHead(kKey), range.first);
  values = code.copyRows(kvHead(kValue), range.first);

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
                 kvHead(kKeyGrad), range.first);
  code.storeSums(sums.drop_front(half), repeat(1), kvHead(kValueGrad),
                 range.first);
}

Values KeyGradKernel::addHead(ValueRange state) {
  Head heads[] = {queryHead(kQuery), queryHead(kResultGrad)};
  Values rows{code.headSums(arguments[kLse], queryRows, batch, head),
              code.headSums(arguments[kDelta], queryRows, batch, head)};
  if (queryRows.isRouted())
    rows.push_back(queryRows.indices);
  auto [begin, end] = code.queryRange(range, schedule.getRows(), queryRows);
  return code.streamAny(begin, end, heads, rows, state,
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
  part = code.mask(part, AttentionTiles::Rows::Keys, range, positions,
                   queryRows, queries, /*invisible=*/0);
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

namespace {
/// The blocks of one of the two kernels.
struct GradPart {
  StringLiteral name;
  TileNeeds needs;
  TileSizes tile;
  std::unique_ptr<TileSchedule> tiling;
  int64_t blocks = 0;

  GradPart(StringLiteral partName, const Sizes &sizes,
           const TileNeeds &tileNeeds, ScheduleAttr schedule)
      : name(partName), needs(tileNeeds),
        tile(TileSizes::from(schedule, (name + "_").str())),
        tiling(createSchedule(sizes, needs, tile)) {}
};
} // namespace

template <typename Kernel>
static void buildPart(DeviceFunction &device, const GradPart &part,
                      Value block) {
  auto code = part.tiling->create(device.builder);
  code->setBlockIndex(block);
  Kernel(*code, *part.tiling, device.arguments).build();
}

/// The queries' blocks leave delta for the keys'.
static void emitTogether(KernelLowering &kernel, const Sizes &sizes,
                         ValueRange operands, const GradPart &queries,
                         const GradPart &keys) {
  int64_t blocks[] = {queries.blocks, keys.blocks};
  DeviceFunction device =
      kernel.createLaunch("", operands, {queries.blocks + keys.blocks, 1, 1},
                          {queries.tiling->getThreads(), 1, 1},
                          std::max(queries.tiling->getSharedBytes(),
                                   keys.tiling->getSharedBytes()));
  shareRegisters(device.function,
                 countBlocksTogether(
                     kernel.getTarget(), sizes,
                     {{queries.needs, queries.tile}, {keys.needs, keys.tile}}));
  ThreadCode code(device.builder);
  BlockPhases phases(code, blocks);
  phases.build(
      [&](Value block) { buildPart<QueryGradKernel>(device, queries, block); });
  phases.build(
      [&](Value block) { buildPart<KeyGradKernel>(device, keys, block); });
}

template <typename Kernel>
static void emitAlone(KernelLowering &kernel, const Sizes &sizes,
                      ValueRange operands, const GradPart &part) {
  DeviceFunction device = kernel.createLaunch(
      part.name, operands, {part.blocks, 1, 1},
      {part.tiling->getThreads(), 1, 1}, part.tiling->getSharedBytes());
  shareRegisters(device.function,
                 countBlocksTogether(kernel.getTarget(), sizes,
                                     {{part.needs, part.tile}}));
  buildPart<Kernel>(device, part, Value());
}

void attention::emitBackward(KernelLowering &kernel, const Sizes &sizes,
                             const Backward &buffers, ScheduleAttr schedule) {
  GradPart queries("query", sizes, getQueryGradNeeds(sizes), schedule);
  GradPart keys("key", sizes, getKeyGradNeeds(sizes), schedule);
  queries.blocks = countQueryTiles(sizes, queries.tiling->getRows());
  keys.blocks = countKeyTiles(sizes, keys.tiling->getRows()) * sizes.kvHeads *
                (sizes.routesKeys ? 1 : sizes.batch);
  Values operands{buffers.query,    buffers.key,        buffers.value,
                  buffers.result,   buffers.resultGrad, buffers.lse,
                  buffers.delta,    buffers.queryGrad,  buffers.keyGrad,
                  buffers.valueGrad};
  llvm::append_range(operands, buffers.route);
  if (queries.tile.warps == keys.tile.warps)
    return emitTogether(kernel, sizes, operands, queries, keys);
  emitAlone<QueryGradKernel>(kernel, sizes, operands, queries);
  emitAlone<KeyGradKernel>(kernel, sizes, operands, keys);
}
