// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The forward pass of attention: a running softmax over tiles of keys (Milakov
// and Gimelshein, 2018; Dao et al., 2022), in f32.
#include "AttentionTiles.h"

using namespace mlir;
using namespace nag;
using namespace nag::attention;

/// Far above the score of an invisible key, and far below others.
static constexpr double kLowest = AttentionCode::kInvisible * 1e-6;

namespace {
class ForwardKernel {
public:
  ForwardKernel(AttentionTiles &tiles, const TileSchedule &tileSchedule,
                ArrayRef<Value> launchArguments)
      : code(tiles), sizes(code.getSizes()), schedule(tileSchedule),
        arguments(launchArguments), rows(code.getThreadRows()) {}

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

  void buildTile();
  State start();
  State addTile(State state, Value queries, const ColumnTile &keys);
  void addRow(State &state, int64_t i, Values &scores, Value scale);
  void storeResults(const State &state);

  AttentionTiles &code;
  const Sizes &sizes;
  const TileSchedule &schedule;
  ArrayRef<Value> arguments;
  const int64_t rows;
  Value batch, head;
  RowSet queryRows, keyRows;
  RowRange range;
  Values positions;
};
} // namespace

void ForwardKernel::build() {
  code.setRoute(arguments.drop_front(5));
  QueryTile place = findQueryTile(code, schedule);
  batch = place.batch;
  head = place.head;
  queryRows = code.getQueries(batch);
  keyRows = code.getKeys(batch);
  range.first = place.first;
  code.ifHasRow(queryRows, place.first, [&] { buildTile(); });
}

void ForwardKernel::buildTile() {
  Value kvHead = code.div(head, sizes.getGroup());
  range = code.range(queryRows, range.first, schedule.getRows());
  positions = code.loadPositions(range);
  Value queries = code.copyRows(
      code.head(arguments[0], sizes.heads, queryRows, head), range.first);
  Head heads[] = {code.head(arguments[1], sizes.kvHeads, keyRows, kvHead),
                  code.head(arguments[2], sizes.kvHeads, keyRows, kvHead)};
  Values values;
  if (keyRows.isRouted())
    values.push_back(keyRows.indices);
  auto [begin, end] =
      code.keyRange(range, schedule.getRows(), keyRows, schedule.getColumns());
  Values last =
      code.stream(begin, end, heads, values, start().join(),
                  [&](const ColumnTile &keys, ValueRange state) {
                    return addTile(State(state, rows), queries, keys).join();
                  });
  storeResults(State(last, rows));
}

ForwardKernel::State ForwardKernel::start() {
  State state;
  state.highest.assign(rows, code.number(AttentionCode::kInvisible));
  state.total.assign(rows, code.number(0));
  state.sums = code.zeroSums();
  return state;
}

ForwardKernel::State ForwardKernel::addTile(State state, Value queries,
                                            const ColumnTile &keys) {
  Part scores = code.mask(code.multiply(queries, keys.tiles[0]),
                          AttentionTiles::Rows::Queries, range, positions,
                          keyRows, keys, AttentionCode::kInvisible);
  Value scale = code.number(sizes.getLog2Scale());
  for (auto [i, row] : llvm::enumerate(scores))
    addRow(state, i, row, scale);
  state.sums = code.addWeighted(state.sums, scores, keys.tiles[1]);
  return state;
}

/// Turns a row's scores into unnormalised probabilities: 2^(scale score -
/// scale highest).
void ForwardKernel::addRow(State &state, int64_t i, Values &scores,
                           Value scale) {
  Value highest = scores.front();
  for (Value score : ArrayRef(scores).drop_front())
    highest = code.maximum(highest, score);
  highest = code.reduceRow(
      highest, [&](Value a, Value b) { return code.maximum(a, b); });
  highest = code.maximum(highest, state.highest[i]);
  // Not so low that the rounding of the shift matters where nothing is visible.
  Value shift = code.mulf(code.maximum(highest, code.number(kLowest)),
                          code.number(-sizes.getLog2Scale()));
  Value decay = code.exp2(code.fma(state.highest[i], scale, shift));
  Value total = code.mulf(state.total[i], decay);
  for (Value &score : scores) {
    score = code.exp2(code.fma(score, scale, shift));
    total = code.addf(total, score);
  }
  for (auto [index, sum] : llvm::enumerate(state.sums))
    if (code.getSumRow(index) == i)
      sum = code.mulf(sum, decay);
  state.highest[i] = highest;
  state.total[i] = total;
}

void ForwardKernel::storeResults(const State &state) {
  Value logSums = code.headSums(arguments[4], queryRows, batch, head);
  Values factors;
  for (int64_t i = 0; i < rows; ++i) {
    Value total = code.reduceRow(
        state.total[i], [&](Value a, Value b) { return code.addf(a, b); });
    factors.push_back(code.reciprocal(total));
    Value number = code.add(range.first, code.getRow(i));
    Value stores = code.both(code.less(number, queryRows.count),
                             code.less(code.getColumn(0), 1));
    Value logSum = code.fma(state.highest[i], code.number(sizes.getScale()),
                            code.mulf(code.log2(total), code.number(M_LN2)));
    code.ifTrue(stores, [&] {
      Value at = code.mul(code.extend(number), sizeof(float));
      code.store(logSum, code.offset(logSums, at), sizeof(float));
    });
  }
  code.storeSums(state.sums, factors,
                 code.head(arguments[3], sizes.heads, queryRows, head),
                 range.first);
}

void attention::emitForward(KernelLowering &kernel, const Sizes &sizes,
                            const Forward &buffers, ScheduleAttr schedule) {
  TileNeeds needs = getForwardNeeds(sizes);
  TileSizes tile = TileSizes::from(schedule, "");
  auto tiling = createSchedule(sizes, needs, tile);
  Values operands{buffers.query, buffers.key, buffers.value, buffers.result,
                  buffers.lse};
  llvm::append_range(operands, buffers.route);
  DeviceFunction device = kernel.createLaunch(
      "", operands, {countQueryTiles(sizes, tiling->getRows()), 1, 1},
      {tiling->getThreads(), 1, 1}, tiling->getSharedBytes());
  shareRegisters(device.function, countBlocksTogether(kernel.getTarget(), sizes,
                                                      {{needs, tile}}));
  auto code = tiling->create(device.builder);
  ForwardKernel(*code, *tiling, device.arguments).build();
}
