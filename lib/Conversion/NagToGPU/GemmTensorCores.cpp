// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// GEMM tiles multiplied on tensor cores: mma.sync m16n8k16 on bf16 and m16n8k8
// on tf32 operands, with f32 sums.
#include "GemmFragments.h"
#include "MatrixCode.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace nag;
using namespace nag::gemm;

/// Rows of A and of B that both units multiply at a time.
static constexpr int64_t kRowsA = 16, kRowsB = 8;

namespace {
class TensorCoreMultiplier : public Multiplier {
public:
  TensorCoreMultiplier(ThreadCode &owner, const Problem &problem,
                       const Schedule &schedule, const BlockPlace &blockPlace,
                       Value sharedA, Value sharedB);

  SmallVector<Value> getZeros() override {
    Value zero = code.zero(code.getBuilder().getF32Type());
    return SmallVector<Value>(warpM / kRowsA * (warpN / kRowsB) * 4, zero);
  }
  SmallVector<Value> multiply(Value slot, ValueRange accumulators) override;
  bool loadsAhead() const override { return true; }
  SmallVector<Value> loadFirst(Value slot) override;
  SmallVector<Value> multiplyLoaded(Value slot, ValueRange accumulators,
                                    SmallVectorImpl<Value> &loaded,
                                    function_ref<Value()> turn) override;
  void store(SumReader sums, Output &output) override;

private:
  /// A step along k of the tiles in a slot.
  struct Step {
    Value slot;
    int64_t number;
  };
  /// `factors` are the registers of loads: of all rows of A, then of the rows
  /// of B, which are columns of the product.
  void multiplyStep(MutableArrayRef<Value> sums, MutableArrayRef<Value> factors,
                    std::optional<Step> next);
  void loadRows(MutableArrayRef<Value> factors, int64_t row, const Step &step);
  void loadColumns(MutableArrayRef<Value> factors, int64_t column,
                   const Step &step);

  void stage(ValueRange accumulators);
  void storeStaged(int64_t row, Output &output);
  void preload(int64_t row, Output &output);
  void placeSpans(Value row, Value column, Output &output);
  void storeSpans(int64_t row, Output &output);
  static int64_t getSpanWidth(int64_t span) {
    return std::min<int64_t>(4, span / 2);
  }
  int64_t getWidth(const Output &output) const {
    return std::min(output.getWidth(), warpN / 8);
  }
  Value getStagePointer(Value row, Value column);

  ThreadCode &code;
  BlockPlace place;
  Unit unit;
  int64_t warpM, warpN, steps;
  FragmentLoader a, b;
  /// Where the tiles start, and, in their room, what the warp's sums go
  /// through.
  Value tilesStart, stageStart;
  /// The lane's place in the stage where parts of rows are stored at once.
  Value spanRow, spanColumn;
  int64_t warpsN;
};
} // namespace

TensorCoreMultiplier::TensorCoreMultiplier(ThreadCode &owner,
                                           const Problem &problem,
                                           const Schedule &schedule,
                                           const BlockPlace &blockPlace,
                                           Value sharedA, Value sharedB)
    : code(owner), place(blockPlace), unit(problem.unit),
      warpM(schedule.getWarpTileM()), warpN(schedule.getWarpTileN()),
      steps(schedule.tileK * problem.a.getElementBytes() / kStepBytes),
      a(code, problem.a, unit, schedule.tileM, schedule.tileK, warpM,
        MatrixOrder::RowsFirst, sharedA, place.warpM, place.lane),
      b(code, problem.b, unit, schedule.tileN, schedule.tileK, warpN,
        MatrixOrder::DepthFirst, sharedB, place.warpN, place.lane),
      tilesStart(sharedA), warpsN(schedule.warpsN) {}

void TensorCoreMultiplier::loadRows(MutableArrayRef<Value> factors, int64_t row,
                                    const Step &step) {
  llvm::copy(a.load(a.getBase(step.slot), row, step.number),
             factors.begin() + row / kLoadRows * kLoadRegisters);
}

void TensorCoreMultiplier::loadColumns(MutableArrayRef<Value> factors,
                                       int64_t column, const Step &step) {
  llvm::copy(b.load(b.getBase(step.slot), column, step.number),
             factors.begin() + (warpM + column) / kLoadRows * kLoadRegisters);
}

SmallVector<Value> TensorCoreMultiplier::loadFirst(Value slot) {
  Step step{slot, 0};
  SmallVector<Value> factors((warpM + warpN) / kLoadRows * kLoadRegisters);
  for (int64_t column = 0; column < warpN; column += kLoadRows)
    loadColumns(factors, column, step);
  for (int64_t row = 0; row < warpM; row += kLoadRows)
    loadRows(factors, row, step);
  return factors;
}

/// Once a factor has been used for the last time, the next step's comes in its
/// place: loads pass while the others are multiplied.
void TensorCoreMultiplier::multiplyStep(MutableArrayRef<Value> sums,
                                        MutableArrayRef<Value> factors,
                                        std::optional<Step> next) {
  auto factor = unit == Unit::BF16 ? MatrixFactor::BF16 : MatrixFactor::TF32;
  size_t firstColumn = warpM / kLoadRows * kLoadRegisters;
  // Not where they are loaded: that would wait for them.
  a.change(factors.take_front(firstColumn));
  b.change(factors.drop_front(firstColumn));
  for (int64_t row = 0; row < warpM; row += kRowsA) {
    for (int64_t column = 0; column < warpN; column += kRowsB) {
      multiplyAdd(code.getBuilder(), factor,
                  factors.slice(row / kRowsA * kLoadRegisters, kLoadRegisters),
                  factors.slice(firstColumn + column / kRowsB * 2, 2),
                  sums.take_front(4));
      sums = sums.drop_front(4);
      bool isLastUse =
          row + kRowsA == warpM && column % kLoadRows == kLoadRows - kRowsB;
      if (next && isLastUse)
        loadColumns(factors, column + kRowsB - kLoadRows, *next);
    }
    if (next)
      loadRows(factors, row, *next);
  }
}

SmallVector<Value>
TensorCoreMultiplier::multiplyLoaded(Value slot, ValueRange accumulators,
                                     SmallVectorImpl<Value> &loaded,
                                     function_ref<Value()> turn) {
  SmallVector<Value> sums(accumulators);
  for (int64_t step = 1; step < steps; ++step)
    multiplyStep(sums, loaded, Step{slot, step});
  std::optional<Step> next;
  if (turn)
    next = Step{turn(), 0};
  multiplyStep(sums, loaded, next);
  return sums;
}

SmallVector<Value> TensorCoreMultiplier::multiply(Value slot,
                                                  ValueRange accumulators) {
  SmallVector<Value> loaded = loadFirst(slot);
  return multiplyLoaded(slot, accumulators, loaded, /*turn=*/nullptr);
}

std::unique_ptr<Multiplier> gemm::createTensorCoreMultiplier(
    ThreadCode &code, const Problem &problem, const Schedule &schedule,
    const BlockPlace &place, Value sharedA, Value sharedB) {
  return std::make_unique<TensorCoreMultiplier>(code, problem, schedule, place,
                                                sharedA, sharedB);
}

//===----------------------------------------------------------------------===//
// The sums on their way out
//===----------------------------------------------------------------------===//

/// A warp turns 16 rows of its sums at a time in shared memory, so that lanes
/// hold neighbours and store 16 bytes. Lines are padded such that neither the
/// fragments' pairs nor the lanes' vectors meet in a bank.
static int64_t getStageLine(int64_t warpN) {
  int64_t floats = warpN + warpN / 32 * 4;
  return (floats + 23) / 32 * 32 + 8;
}

int64_t gemm::getStageBytes(const Schedule &schedule) {
  int64_t warps = schedule.warpsM * schedule.warpsN;
  return warps * kRowsA * getStageLine(schedule.getWarpTileN()) * 4;
}

Value TensorCoreMultiplier::getStagePointer(Value row, Value column) {
  Value padded = code.add(column, code.mul(code.div(column, 32), 4));
  Value index = code.add(code.mul(row, getStageLine(warpN)), padded);
  return code.offset(stageStart, code.mul(index, 4));
}

/// Lane l holds columns 2 * (l % 4) and the next of row l / 4, then of the row
/// 8 further.
void TensorCoreMultiplier::stage(ValueRange accumulators) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  auto type = VectorType::get(2, builder.getF32Type());
  Value row = code.div(place.lane, 4);
  Value column = code.mul(code.rem(place.lane, 4), 2);
  Value start = getStagePointer(row, column);
  for (auto [index, half] :
       llvm::enumerate(llvm::seq<int64_t>(0, accumulators.size() / 2))) {
    int64_t block = index / 2 * kRowsB;
    int64_t offset =
        index % 2 * 8 * getStageLine(warpN) + block + block / 32 * 4;
    Value pair = vector::FromElementsOp::create(
        builder, type, accumulators.slice(2 * half, 2));
    code.store(pair, code.offset(start, offset * 4), 8);
  }
}

/// What storeStaged will read.
void TensorCoreMultiplier::preload(int64_t row, Output &output) {
  int64_t width = getWidth(output), unitsPerRow = warpN / width;
  for (int64_t first = 0; first < kRowsA * unitsPerRow; first += 32)
    output.preload(row + first / unitsPerRow, first % unitsPerRow * width,
                   width);
}

void TensorCoreMultiplier::storeStaged(int64_t row, Output &output) {
  int64_t width = getWidth(output);
  int64_t unitsPerRow = warpN / width;
  ImplicitLocOpBuilder &builder = code.getBuilder();
  auto type = VectorType::get(width, builder.getF32Type());
  Value threadRow = code.div(place.lane, unitsPerRow);
  Value threadColumn = code.mul(code.rem(place.lane, unitsPerRow), width);
  Value start = getStagePointer(threadRow, threadColumn);
  for (int64_t first = 0; first < kRowsA * unitsPerRow; first += 32) {
    int64_t unitRow = first / unitsPerRow;
    int64_t column = first % unitsPerRow * width;
    int64_t offset = unitRow * getStageLine(warpN) + column + column / 32 * 4;
    Value vector = code.load(type, code.offset(start, offset * 4),
                             std::min<int64_t>(16, 4 * width));
    ValueRange sums =
        vector::ToElementsOp::create(builder, vector).getResults();
    output.store(row + unitRow, column, sums);
  }
}

/// Lanes hold four columns of each half of a part of a row, which tells where
/// they stand in a row.
void TensorCoreMultiplier::placeSpans(Value row, Value column, Output &output) {
  int64_t span = output.getSpan(), lanes = span / 2 / getSpanWidth(span);
  int64_t lanesPerRow = warpN / span * lanes;
  spanRow = code.div(place.lane, lanesPerRow);
  Value lane = code.rem(place.lane, lanesPerRow);
  spanColumn = code.add(code.mul(code.div(lane, lanes), span),
                        code.mul(code.rem(lane, lanes), getSpanWidth(span)));
  output.moveTo(code.add(row, spanRow), code.add(column, spanColumn));
}

void TensorCoreMultiplier::storeSpans(int64_t row, Output &output) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  int64_t span = output.getSpan(), width = getSpanWidth(span);
  int64_t lanes = span / 2 / width, rowsAtOnce = 32 / (warpN / span * lanes);
  auto type = VectorType::get(width, builder.getF32Type());
  Value start = getStagePointer(spanRow, spanColumn);
  for (int64_t first = 0; first < kRowsA; first += rowsAtOnce) {
    SmallVector<int64_t> columns;
    SmallVector<Value> sums;
    for (int64_t half : {int64_t(0), span / 2}) {
      int64_t offset = first * getStageLine(warpN) + half + half / 32 * 4;
      Value vector = code.load(type, code.offset(start, offset * 4), 4 * width);
      llvm::append_range(
          sums, vector::ToElementsOp::create(builder, vector).getResults());
      llvm::append_range(columns, llvm::seq(half, half + width));
    }
    output.storeSpan(row + first, columns, sums, lanes);
  }
}

void TensorCoreMultiplier::store(SumReader sums, Output &output) {
  int64_t width = getWidth(output), unitsPerRow = warpN / width;
  Value warp = code.add(code.mul(place.warpM, warpsN), place.warpN);
  Value row = code.add(place.row, code.mul(place.warpM, warpM));
  Value column = code.add(place.column, code.mul(place.warpN, warpN));
  if (output.getSpan() != 0)
    placeSpans(row, column, output);
  else
    output.moveTo(
        code.add(row, code.div(place.lane, unitsPerRow)),
        code.add(column, code.mul(code.rem(place.lane, unitsPerRow), width)));
  // The tiles make room.
  code.barrier();
  stageStart =
      code.offset(tilesStart, code.mul(warp, kRowsA * getStageLine(warpN) * 4));
  int64_t blockSums = warpN / kRowsB * 4;
  for (int64_t block = 0; block < warpM / kRowsA; ++block) {
    if (block > 0)
      code.warpBarrier();
    stage(sums(block * blockSums, blockSums));
    if (output.getSpan() != 0) {
      code.warpBarrier();
      storeSpans(block * kRowsA, output);
      continue;
    }
    // What waits for memory does so while others are stored, and when sums have
    // left registers for it.
    if (block == 0)
      preload(0, output);
    code.warpBarrier();
    if ((block + 1) * kRowsA < warpM)
      preload((block + 1) * kRowsA, output);
    storeStaged(block * kRowsA, output);
  }
}
