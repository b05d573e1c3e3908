// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nag.embedding_vjp as launches of device functions. Where positions and rows
// of the table are few, as with tokens that are bytes, one launch: every row
// looks for its token among all positions. Else: sort the positions by token,
// stable, and add up every token's rows in the order of the positions. For N
// positions, V rows of D elements and digits of 8 bits this reads N D + V D
// elements once; the sort costs ceil(log2 V / 8) passes over the N positions
// with 256 comparisons each, in registers and shared memory; finding where
// tokens begin costs V log2 N reads. No atomics: every sum has one thread and
// one order.
#include "TokenSort.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace nag;

using Values = KernelCode::Values;

static constexpr int64_t kThreads = 128;

/// Comparisons of tokens with rows, a lane each, that cost less than a sort.
static constexpr int64_t kMaxComparisons = 1 << 23;
static constexpr int64_t kWarpLanes = 32;

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

/// What both kernels do: a thread adds up some columns of a row of the table.
/// The first argument is the rows' gradients, the last the table's gradient.
class RowKernel : public KernelCode {
public:
  RowKernel(DeviceFunction &device, const Table &gradTable)
      : KernelCode(device.builder), table(gradTable),
        arguments(device.arguments) {}

protected:
  /// Sets `row`, the same for all lanes of a warp, `element` and `active`.
  void findPlace();
  /// The thread's columns of the gradient at a position.
  Values loadGradient(Value position, Value column);
  void storeSums(ValueRange sums);

  const Table table;
  ArrayRef<Value> arguments;
  Value row, element, active;
};

/// Adds up the rows of one token: between the gradients are the sorted
/// positions, and where each token's begin.
class RowSumKernel : public RowKernel {
public:
  using RowKernel::RowKernel;
  void build();

private:
  /// Rows that are read before the first of them is added.
  static constexpr int64_t kAhead = 4;

  Values addRows(Value begin, Value end, int64_t step, ValueRange sums);
  Value loadBound(Value row);
};

/// The same from the tokens as they stand: a warp compares 32 at a time.
class RowSearchKernel : public RowKernel {
public:
  using RowKernel::RowKernel;
  void build(int64_t positions);

private:
  Value findMatches(Value first, int64_t positions);
  Values addMatches(Value first, Value matches, ValueRange sums, Value column);
};
} // namespace

void RowKernel::findPlace() {
  int64_t lanes = table.getLanes();
  Value thread = threadIndex(), block = blockIndex();
  row = add(mul(div(block, table.getChunks()), table.getRowsPerBlock()),
            div(thread, lanes));
  Value lane =
      add(mul(rem(block, table.getChunks()), lanes), rem(thread, lanes));
  element = mul(lane, table.getWidth());
  active = both(less(row, table.rows), less(element, table.columns));
}

Values RowKernel::loadGradient(Value position, Value column) {
  int64_t bytes = table.gradElement.getIntOrFloatBitWidth() / 8;
  Value at =
      mul(add(mul(extend(position), table.columns), extend(column)), bytes);
  return loadFloats(table.gradElement,
                    offset(pointer(arguments.front(), Space::Global), at),
                    table.getWidth());
}

void RowKernel::storeSums(ValueRange sums) {
  int64_t bytes = table.element.getIntOrFloatBitWidth() / 8;
  Value at = mul(add(mul(extend(row), table.columns), extend(element)), bytes);
  storeFloats(table.element, sums,
              offset(pointer(arguments.back(), Space::Global), at));
}

Values RowSumKernel::addRows(Value begin, Value end, int64_t step,
                             ValueRange sums) {
  return loop(begin, end, step, sums, [&](Value first, ValueRange state) {
    SmallVector<Values> rows;
    for (int64_t i = 0; i < step; ++i) {
      Value position =
          loadAt(getBuilder().getI32Type(), arguments[1], add(first, i));
      rows.push_back(loadGradient(position, element));
    }
    Values results(state);
    for (const Values &terms : rows)
      for (auto [result, value] : llvm::zip_equal(results, terms))
        result = addf(result, value);
    return results;
  });
}

Value RowSumKernel::loadBound(Value number) {
  return loadAt(getBuilder().getI32Type(), arguments[2], number);
}

void RowSumKernel::build() {
  findPlace();
  ifTrue(active, [&] {
    Value begin = loadBound(row), end = larger(loadBound(add(row, 1)), begin);
    Value rest = bitAnd(sub(end, begin), kAhead - 1);
    Value whole = sub(end, rest);
    Values sums(table.getWidth(), number(0));
    sums = addRows(begin, whole, kAhead, sums);
    storeSums(addRows(whole, end, 1, sums));
  });
}

/// A bit for each of 32 positions from `first` on that hold the row's token.
Value RowSearchKernel::findMatches(Value first, int64_t positions) {
  ImplicitLocOpBuilder &builder = getBuilder();
  Value position = add(first, rem(threadIndex(), kWarpLanes));
  Value token = loadAt(builder.getI32Type(), arguments[1],
                       smaller(position, constant(positions - 1)));
  Value isSame =
      builder.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::eq, token, row);
  return NVVM::VoteSyncOp::create(
      builder, builder.getI32Type(), /*mask=*/constant(-1),
      both(isSame, less(position, positions)), NVVM::VoteSyncKind::ballot);
}

/// Adds the gradients of the matches, the earliest position first.
Values RowSearchKernel::addMatches(Value first, Value matches, ValueRange sums,
                                   Value column) {
  ImplicitLocOpBuilder &builder = getBuilder();
  Values state{matches};
  llvm::append_range(state, sums);
  SmallVector<Type> types(ValueRange(state).getTypes());
  auto loop = scf::WhileOp::create(
      builder, types, state,
      [&](OpBuilder &, Location, ValueRange values) {
        Value isLeft = builder.createOrFold<arith::CmpIOp>(
            arith::CmpIPredicate::ne, values[0], constant(0));
        scf::ConditionOp::create(builder, isLeft, values);
      },
      [&](OpBuilder &, Location, ValueRange values) {
        Value next = LLVM::CountTrailingZerosOp::create(
            builder, builder.getI32Type(), values[0], /*isZeroPoison=*/true);
        Values results{
            builder.createOrFold<arith::AndIOp>(values[0], add(values[0], -1))};
        for (auto [sum, term] : llvm::zip_equal(
                 values.drop_front(), loadGradient(add(first, next), column)))
          results.push_back(addf(sum, term));
        scf::YieldOp::create(builder, results);
      });
  return llvm::to_vector_of<Value>(loop.getResults().drop_front());
}

/// Warps vote together, so threads without columns come along.
void RowSearchKernel::build(int64_t positions) {
  findPlace();
  Value column = smaller(element, constant(table.columns - table.getWidth()));
  Values zeros(table.getWidth(), number(0));
  Values sums = loop(constant(0), constant(positions), kWarpLanes, zeros,
                     [&](Value first, ValueRange state) {
                       return addMatches(first, findMatches(first, positions),
                                         state, column);
                     });
  ifTrue(active, [&] { storeSums(sums); });
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
  Value tokens = kernel.getBuffer(op.getTokens(), {positions});
  if (positions > 0 && positions * table.rows <= kMaxComparisons) {
    DeviceFunction device =
        kernel.createLaunch("",
                            {kernel.getBuffer(op.getResultGrad()), tokens,
                             kernel.getBuffer(op.getTableGrad())},
                            table.getGrid(), {kThreads, 1, 1});
    RowSearchKernel(device, table).build(positions);
    return success();
  }
  SortedTokens sorted = sortTokens(kernel, tokens, positions, table.rows);
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
