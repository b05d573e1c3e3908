// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nag.embedding_vjp as launches of device functions: sort the positions by
// token, stable, and add up every token's rows in the order of the positions.
// For N positions, V rows of D elements and digits of 8 bits this reads
// N D + V D elements once; the sort costs ceil(log2 V / 8) passes over the N
// positions with 256 comparisons each, in registers and shared memory; finding
// where tokens begin costs V log2 N reads. No atomics: every sum has one thread
// and one order.
#include "TokenSort.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"

using namespace mlir;
using namespace nag;

using Values = KernelCode::Values;

static constexpr int64_t kThreads = 128;

namespace {
struct Table {
  int64_t rows, columns;
  Type gradElement, element;

  /// Elements that one thread adds up.
  int64_t getWidth() const { return columns % 4 == 0 ? 4 : 1; }
  /// Threads of a row's chunk of columns, a power of two.
  int64_t getLanes() const {
    int64_t lanes = llvm::PowerOf2Ceil(llvm::divideCeil(columns, getWidth()));
    return std::clamp<int64_t>(lanes, 32, kThreads);
  }
  int64_t getRowsPerBlock() const { return kThreads / getLanes(); }
  int64_t getChunks() const {
    return llvm::divideCeil(columns, getLanes() * getWidth());
  }
  Dim3 getGrid() const {
    int64_t blocks = llvm::divideCeil(rows, getRowsPerBlock());
    return {blocks * getChunks(), 1, 1};
  }
};

/// Adds up the rows of one token: arguments are the rows' gradients, the sorted
/// positions, where each token's begin, and the table's gradient.
class RowSumKernel : public KernelCode {
public:
  RowSumKernel(DeviceFunction &device, const Table &gradTable)
      : KernelCode(device.builder), table(gradTable),
        arguments(device.arguments) {}

  void build();

private:
  /// Rows that are read before the first of them is added.
  static constexpr int64_t kAhead = 4;

  Values load(Value index, Value element);
  Values addRows(Value begin, Value end, int64_t step, ValueRange sums,
                 Value element);
  Value loadBound(Value row);

  const Table table;
  ArrayRef<Value> arguments;
};
} // namespace

Values RowSumKernel::load(Value index, Value element) {
  int64_t bytes = table.gradElement.getIntOrFloatBitWidth() / 8;
  Value position = loadAt(getBuilder().getI32Type(), arguments[1], index);
  Value at =
      mul(add(mul(extend(position), table.columns), extend(element)), bytes);
  return loadFloats(table.gradElement,
                    offset(pointer(arguments[0], Space::Global), at),
                    table.getWidth());
}

Values RowSumKernel::addRows(Value begin, Value end, int64_t step,
                             ValueRange sums, Value element) {
  return loop(begin, end, step, sums, [&](Value first, ValueRange state) {
    SmallVector<Values> rows;
    for (int64_t i = 0; i < step; ++i)
      rows.push_back(load(add(first, i), element));
    Values results(state);
    for (const Values &row : rows)
      for (auto [result, value] : llvm::zip_equal(results, row))
        result = addf(result, value);
    return results;
  });
}

Value RowSumKernel::loadBound(Value row) {
  return loadAt(getBuilder().getI32Type(), arguments[2], row);
}

void RowSumKernel::build() {
  int64_t width = table.getWidth(), lanes = table.getLanes();
  Value thread = threadIndex(), block = blockIndex();
  Value row = add(mul(div(block, table.getChunks()), table.getRowsPerBlock()),
                  div(thread, lanes));
  Value lane =
      add(mul(rem(block, table.getChunks()), lanes), rem(thread, lanes));
  Value element = mul(lane, width);
  Value active = both(less(row, table.rows), less(element, table.columns));
  ifTrue(active, [&] {
    Value begin = loadBound(row), end = larger(loadBound(add(row, 1)), begin);
    Value rest = bitAnd(sub(end, begin), kAhead - 1);
    Value whole = sub(end, rest);
    Values sums(width, number(0));
    sums = addRows(begin, whole, kAhead, sums, element);
    sums = addRows(whole, end, 1, sums, element);
    int64_t bytes = table.element.getIntOrFloatBitWidth() / 8;
    Value at =
        mul(add(mul(extend(row), table.columns), extend(element)), bytes);
    storeFloats(table.element, sums,
                offset(pointer(arguments[3], Space::Global), at));
  });
}

static LogicalResult emit(KernelLowering &kernel, EmbeddingVJPOp op) {
  auto grad = cast<RankedTensorType>(op.getResultGrad().getType());
  Table table{int64_t(op.getRows()), grad.getShape().back(),
              grad.getElementType(),
              cast<RankedTensorType>(op.getType()).getElementType()};
  for (Type element : {table.gradElement, table.element})
    if (!element.isF32() && !element.isBF16())
      return op.emitOpError("expected elements of type f32 or bf16 for a GPU, "
                            "but got ")
             << element;
  int64_t positions = grad.getNumElements() / table.columns;
  SortedTokens sorted =
      sortTokens(kernel, kernel.getBuffer(op.getTokens(), {positions}),
                 positions, table.rows);
  DeviceFunction device = kernel.createLaunch(
      "sum",
      {kernel.getBuffer(op.getResultGrad()), sorted.positions, sorted.begins,
       kernel.getBuffer(op.getTableGrad())},
      table.getGrid(), {kThreads, 1, 1});
  RowSumKernel(device, table).build();
  return success();
}

FailureOr<unsigned> nag::emitEmbeddingVJP(KernelLowering &kernel,
                                          ArrayRef<Operation *> ops) {
  auto op = dyn_cast<EmbeddingVJPOp>(ops.front());
  if (!op)
    return 0u;
  if (failed(emit(kernel, op)))
    return failure();
  return 1u;
}

FailureOr<SchedulePlan> nag::planEmbeddingVJP(const GPUTarget &,
                                              ArrayRef<Operation *> ops,
                                              ScheduleAttr) {
  SchedulePlan plan;
  plan.numOps = isa<EmbeddingVJPOp>(ops.front()) ? 1 : 0;
  return plan;
}
