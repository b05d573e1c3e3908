// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// GEMM tiles multiplied with fused multiply-adds in f32: a warp is 4 x 8
// threads, a thread adds up 4 or 8 rows times 4 or 8 columns, four k at a time.
#include "Gemm.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace nag;
using namespace nag::gemm;

/// k per step: what one vector holds.
static constexpr int64_t kStep = 4;
/// Sums that are asked for at once as they are stored: where they have parts,
/// several of each are on their way.
static constexpr int64_t kSumsAtOnce = 16;

namespace {
/// What one thread reads of an operand: `count` of the rows (of A, or the
/// columns, which are rows of B) of its warp's tile, which `lanes` threads
/// share.
class ThreadOperand {
public:
  ThreadOperand(ThreadCode &owner, const Operand &operand, int64_t rows,
                int64_t depth, int64_t warpRows, int64_t warpLanes,
                Value sharedStart, Value warp, Value lane);

  int64_t getCount() const { return count; }
  /// [row][k] of the step at `k`, in f32.
  SmallVector<SmallVector<Value>> read(Value slot, int64_t k);
  /// The thread's first row in the block's tile.
  Value getFirstRow() const { return firstRow; }
  /// Row `index` of the thread counted from its first.
  int64_t getRow(int64_t index) const {
    if (kContiguous)
      return lanes * index;
    return index / kStep * lanes * kStep + index % kStep;
  }
  /// How many of its rows lie next to one another.
  int64_t getRun() const { return kContiguous ? 1 : kStep; }

private:
  SmallVector<Value> load(Value base, int64_t line, int64_t byte);

  ThreadCode &code;
  SharedTile tile;
  bool kContiguous;
  Type elementType;
  int64_t elementBytes, count, lanes;
  Value shared, firstRow, threadOffset;
};
} // namespace

ThreadOperand::ThreadOperand(ThreadCode &owner, const Operand &operand,
                             int64_t rows, int64_t depth, int64_t warpRows,
                             int64_t warpLanes, Value sharedStart, Value warp,
                             Value lane)
    : code(owner), tile(getSharedTile(operand, rows, depth, Unit::FMA)),
      kContiguous(operand.kContiguous), elementType(operand.getElementType()),
      elementBytes(operand.getElementBytes()), count(warpRows / warpLanes),
      lanes(warpLanes), shared(sharedStart) {
  Value warpRow = code.mul(warp, warpRows);
  firstRow = code.add(warpRow, kContiguous ? lane : code.mul(lane, kStep));
  Value zero = code.constant(0);
  threadOffset =
      kContiguous
          ? tile.getThreadOffset(code, firstRow, zero)
          : tile.getThreadOffset(code, zero, code.mul(firstRow, elementBytes));
}

/// Four elements in f32.
SmallVector<Value> ThreadOperand::load(Value base, int64_t line, int64_t byte) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  Value pointer = tile.getPointer(code, base, threadOffset, line, byte);
  auto type = VectorType::get(kStep, elementType);
  Value vector = code.load(type, pointer, kStep * elementBytes);
  if (!elementType.isF32())
    vector = arith::ExtFOp::create(
        builder, VectorType::get(kStep, builder.getF32Type()), vector);
  return vector::ToElementsOp::create(builder, vector).getResults();
}

SmallVector<SmallVector<Value>> ThreadOperand::read(Value slot, int64_t k) {
  Value base = code.offset(shared, slot);
  SmallVector<SmallVector<Value>> values(count);
  if (kContiguous) {
    for (int64_t row = 0; row < count; ++row)
      values[row] = load(base, getRow(row), k * elementBytes);
    return values;
  }
  for (int64_t step = 0; step < kStep; ++step)
    for (int64_t row = 0; row < count; row += kStep)
      for (auto [index, value] :
           llvm::enumerate(load(base, k + step, getRow(row) * elementBytes)))
        values[row + index].push_back(value);
  return values;
}

/// Whether the part of `warpTile` from `first` on, of a tile of `tile` rows or
/// columns, has some of the `extent` ones that there are, of which `limit`
/// count; null where all parts of all tiles do.
static Value hasLines(ThreadCode &code, Value first, int64_t extent,
                      int64_t tile, int64_t warpTile, Value limit) {
  if (limit)
    return tile > warpTile ? code.less(first, limit) : Value();
  bool allDo = (extent + tile - 1) / tile * tile - extent < warpTile;
  return allDo ? Value() : code.less(first, extent);
}

/// Whether the warp at `place` has sums that are stored; null where all have.
static Value hasSums(ThreadCode &code, const Problem &problem,
                     const Schedule &schedule, const BlockPlace &place) {
  int64_t warpRows = schedule.getWarpTileM();
  int64_t warpColumns = schedule.getWarpTileN();
  Value row = code.add(place.row, code.mul(place.warpM, warpRows));
  Value column = code.add(place.column, code.mul(place.warpN, warpColumns));
  Value rows =
      hasLines(code, row, problem.m, schedule.tileM, warpRows, place.rowLimit);
  Value columns =
      hasLines(code, column, problem.n, schedule.tileN, warpColumns, Value());
  return rows && columns ? code.both(rows, columns) : rows ? rows : columns;
}

namespace {
class FMAMultiplier : public Multiplier {
public:
  FMAMultiplier(ThreadCode &owner, const Problem &problem,
                const Schedule &schedule, const BlockPlace &blockPlace,
                Value sharedA, Value sharedB)
      : code(owner), depth(schedule.tileK), place(blockPlace),
        a(code, problem.a, schedule.tileM, depth, schedule.getWarpTileM(), 4,
          sharedA, place.warpM, code.div(place.lane, 8)),
        b(code, problem.b, schedule.tileN, depth, schedule.getWarpTileN(), 8,
          sharedB, place.warpN, code.rem(place.lane, 8)),
        counts(hasSums(code, problem, schedule, place)) {}

  SmallVector<Value> getZeros() override {
    Value zero = code.zero(code.getBuilder().getF32Type());
    return SmallVector<Value>(a.getCount() * b.getCount(), zero);
  }

  /// A warp behind the last row or column only copies tiles for others.
  SmallVector<Value> multiply(Value slot, ValueRange accumulators) override {
    if (!counts)
      return multiplyAll(slot, accumulators);
    return code.ifElse(
        counts, accumulators.getTypes(),
        [&] { return multiplyAll(slot, accumulators); },
        [&] { return SmallVector<Value>(accumulators); });
  }

  void store(SumReader sums, Output &output) override {
    output.moveTo(code.add(place.row, a.getFirstRow()),
                  code.add(place.column, b.getFirstRow()));
    int64_t columns = b.getCount();
    int64_t rowsAtOnce = std::max<int64_t>(kSumsAtOnce / columns, 1);
    for (int64_t first = 0; first < a.getCount(); first += rowsAtOnce) {
      int64_t rows = std::min(rowsAtOnce, a.getCount() - first);
      SmallVector<Value> own = sums(first * columns, rows * columns);
      for (int64_t row = 0; row < rows; ++row)
        storeRow(first + row, ValueRange(own).slice(row * columns, columns),
                 output);
    }
  }

private:
  using Values = ArrayRef<SmallVector<Value>>;

  SmallVector<Value> multiplyAll(Value slot, ValueRange accumulators) {
    SmallVector<Value> sums(accumulators);
    for (int64_t k = 0; k < depth; k += kStep)
      multiplyStep(a.read(slot, k), b.read(slot, k), sums);
    return sums;
  }

  void storeRow(int64_t row, ValueRange sums, Output &output) {
    if (output.getSpan() != 0)
      return storeSpans(row, sums, output);
    for (int64_t column = 0; column < b.getCount(); column += b.getRun())
      output.store(a.getRow(row), b.getRow(column),
                   sums.slice(column, b.getRun()));
  }

  /// Eight lanes hold the columns of a row.
  void storeSpans(int64_t row, ValueRange rowSums, Output &output) {
    int64_t span = output.getSpan(), count = b.getCount();
    for (int64_t part = 0; part < output.countSpans(8 * count); ++part) {
      SmallVector<int64_t> columns;
      SmallVector<Value> sums;
      for (int64_t index = 0; index < count; ++index)
        if (b.getRow(index) / span == part) {
          columns.push_back(b.getRow(index));
          sums.push_back(rowSums[index]);
        }
      output.storeSpan(a.getRow(row), columns, sums, /*lanes=*/8);
    }
  }

  void multiplyStep(Values rows, Values columns, MutableArrayRef<Value> sums) {
    ImplicitLocOpBuilder &builder = code.getBuilder();
    for (int64_t k = 0; k < kStep; ++k)
      for (auto [row, aValues] : llvm::enumerate(rows))
        for (auto [column, bValues] : llvm::enumerate(columns)) {
          Value &sum = sums[row * columns.size() + column];
          sum = LLVM::FMAOp::create(builder, aValues[k], bValues[k], sum);
        }
  }

  ThreadCode &code;
  int64_t depth;
  BlockPlace place;
  ThreadOperand a, b;
  /// Whether the warp has anything to multiply; null where all have.
  Value counts;
};
} // namespace

std::unique_ptr<Multiplier>
gemm::createFMAMultiplier(ThreadCode &code, const Problem &problem,
                          const Schedule &schedule, const BlockPlace &place,
                          Value sharedA, Value sharedB) {
  return std::make_unique<FMAMultiplier>(code, problem, schedule, place,
                                         sharedA, sharedB);
}
