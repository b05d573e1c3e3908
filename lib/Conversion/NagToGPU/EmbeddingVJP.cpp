// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nag.embedding_vjp as a launch of a device function, by its schedule. Without
// `sort`, every row looks for its token among all positions, which is the best
// where both are few, as with tokens that are bytes. Else, in phases: sort the
// positions by token, stable, and add up every token's rows in the order of the
// positions. For N positions, V rows of D elements and digits of 8 bits this
// reads N D + V D elements once; the sort costs ceil(log2 V / 8) passes over
// the N positions with 256 comparisons each, in registers and shared memory;
// finding where a row's token begins and ends costs its warps log32 N reads. No
// atomics: every sum has one thread and one order.
#include "TokenSort.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace nag;

using Values = KernelCode::Values;

static constexpr int64_t kWarpLanes = 32;

namespace {
struct Table {
  int64_t rows, columns;
  Type gradElement, element;
  int64_t positions;
  /// Of a block.
  int64_t threads = 128;

  static Table of(EmbeddingVJPOp op) {
    auto grad = cast<RankedTensorType>(op.getResultGrad().getType());
    int64_t columns = grad.getShape().back();
    return {int64_t(op.getRows()), columns, grad.getElementType(),
            cast<RankedTensorType>(op.getType()).getElementType(),
            columns > 0 ? grad.getNumElements() / columns : 0};
  }

  /// Elements that one thread adds up.
  int64_t getWidth() const { return columns % 4 == 0 ? 4 : 1; }
  /// Threads of a row's chunk of columns, a power of two.
  int64_t getLanes() const {
    int64_t lanes = llvm::PowerOf2Ceil(llvm::divideCeil(columns, getWidth()));
    return std::clamp<int64_t>(lanes, 32, threads);
  }
  int64_t getRowsPerBlock() const { return threads / getLanes(); }
  int64_t getChunks() const {
    return llvm::divideCeil(columns, getLanes() * getWidth());
  }
  Dim3 getGrid() const {
    int64_t blocks = llvm::divideCeil(rows, getRowsPerBlock());
    return {blocks * getChunks(), 1, 1};
  }
};

/// What both ways do: a thread adds up some columns of a row of the table. The
/// first argument is the rows' gradients, the second tokens, the last the
/// table's gradient.
class RowKernel : public KernelCode {
public:
  RowKernel(ImplicitLocOpBuilder &owner, const Table &gradTable,
            ArrayRef<Value> buffers)
      : KernelCode(owner), table(gradTable), arguments(buffers) {}

protected:
  /// Sets `row`, the same for all lanes of a warp, `element` and `active`.
  void findPlace();
  /// A bit for each lane at whose `position` is a token that compares so with
  /// `token`; none behind the last position.
  Value vote(arith::CmpIPredicate predicate, Value position, Value token);
  /// The thread's columns of the gradient at a position.
  Values loadGradient(Value position, Value column);
  void storeSums(ValueRange sums);

  const Table table;
  ArrayRef<Value> arguments;
  Value row, element, active;
};

/// Adds up the rows of one token: between the gradients are the sorted tokens
/// and their positions.
class RowSumKernel : public RowKernel {
public:
  using RowKernel::RowKernel;
  void build();

private:
  /// Rows that are read before the first of them is added.
  static constexpr int64_t kAhead = 4;

  Values addRows(Value begin, Value end, int64_t step, ValueRange sums);
  Values countBelow(ValueRange tokens);
};

/// The same from the tokens as they stand: a warp compares 32 at a time.
class RowSearchKernel : public RowKernel {
public:
  using RowKernel::RowKernel;
  void build();

private:
  Value findMatches(Value first);
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

Value RowKernel::vote(arith::CmpIPredicate predicate, Value position,
                      Value token) {
  ImplicitLocOpBuilder &builder = getBuilder();
  Value other = loadAt(builder.getI32Type(), arguments[1],
                       smaller(position, constant(table.positions - 1)));
  Value holds = builder.createOrFold<arith::CmpIOp>(predicate, other, token);
  return NVVM::VoteSyncOp::create(builder, builder.getI32Type(),
                                  /*mask=*/constant(-1),
                                  both(holds, less(position, table.positions)),
                                  NVVM::VoteSyncKind::ballot);
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
          loadAt(getBuilder().getI32Type(), arguments[2], add(first, i));
      rows.push_back(loadGradient(position, element));
    }
    Values results(state);
    for (const Values &terms : rows)
      for (auto [result, value] : llvm::zip_equal(results, terms))
        result = addf(result, value);
    return results;
  });
}

/// How many of the sorted tokens are less than each of `tokens`, which all
/// lanes of a warp name: in each round lanes look at 32 places at equal
/// distances, and the next round goes to the distance in which they part.
Values RowSumKernel::countBelow(ValueRange tokens) {
  Value lane = rem(threadIndex(), kWarpLanes);
  Values counts(tokens.size(), constant(0));
  if (table.positions == 0)
    return counts;
  int64_t distance = 1;
  while (distance * kWarpLanes < table.positions)
    distance *= kWarpLanes;
  for (; distance >= 1; distance /= kWarpLanes)
    for (auto [count, token] : llvm::zip_equal(counts, tokens)) {
      Value place = add(count, add(mul(lane, distance), distance - 1));
      Value number = LLVM::CtPopOp::create(
          getBuilder(), vote(arith::CmpIPredicate::slt, place, token));
      count = add(count, mul(number, distance));
    }
  return counts;
}

/// Warps vote together, so threads without columns come along.
void RowSumKernel::build() {
  findPlace();
  Values bounds = countBelow({row, add(row, 1)});
  ifTrue(active, [&] {
    Value begin = bounds[0], end = larger(bounds[1], begin);
    Value rest = bitAnd(sub(end, begin), kAhead - 1);
    Value whole = sub(end, rest);
    Values sums(table.getWidth(), number(0));
    sums = addRows(begin, whole, kAhead, sums);
    storeSums(addRows(whole, end, 1, sums));
  });
}

/// A bit for each of 32 positions from `first` on that hold the row's token.
Value RowSearchKernel::findMatches(Value first) {
  return vote(arith::CmpIPredicate::eq,
              add(first, rem(threadIndex(), kWarpLanes)), row);
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
void RowSearchKernel::build() {
  findPlace();
  Value column = smaller(element, constant(table.columns - table.getWidth()));
  Values zeros(table.getWidth(), number(0));
  Values sums =
      loop(constant(0), constant(table.positions), kWarpLanes, zeros,
           [&](Value first, ValueRange state) {
             return addMatches(first, findMatches(first), state, column);
           });
  ifTrue(active, [&] { storeSums(sums); });
}

//===----------------------------------------------------------------------===//
// Schedules
//===----------------------------------------------------------------------===//

namespace {
class EmbeddingModel : public LaunchModel {
public:
  EmbeddingModel(const GPUTarget &target, ArrayRef<Operation *> ops,
                 const Table &gradTable)
      : LaunchModel(target, ScheduleFamily::EmbeddingVJP), table(gradTable) {
    setOps(ops);
  }

  SmallVector<ScheduleAttr> listCandidates() const override {
    SmallVector<ScheduleAttr> list;
    for (int64_t sort : {0, 1})
      for (int64_t threads : {128, 256, 64, 512}) {
        int64_t values[] = {threads, sort};
        list.push_back(ScheduleAttr::get(getContext(), getFamily(), values));
      }
    return list;
  }
  std::string findFault(ScheduleAttr schedule) const override {
    if (schedule.get("sort") == 0 && table.positions == 0)
      return "1 in 'sort' where there are no tokens";
    if (schedule.get("sort") == 1 && schedule.get("threads") != kSortChunk)
      return std::to_string(kSortChunk) + " in 'threads' with 'sort'";
    return "";
  }
  SmallVector<LaunchWork> describe(ScheduleAttr schedule) const override;

private:
  /// Positions of a row's token, where all are as frequent.
  double countMatches() const {
    return double(table.positions) / double(std::max<int64_t>(table.rows, 1));
  }
  LaunchWork describeRows(int64_t threads) const;
  void addSort(SmallVectorImpl<LaunchWork> &launches) const;

  const Table table;
};
} // namespace

/// A thread's registers, and cycles from a request to the first-level cache to
/// its answer.
static constexpr int64_t kRegisters = 40;
static constexpr double kCacheLatency = 60;

/// The sums of all rows of the table.
LaunchWork EmbeddingModel::describeRows(int64_t threads) const {
  Table cut = table;
  cut.threads = threads;
  auto bytes = [](Type type) { return type.getIntOrFloatBitWidth() / 8.0; };
  double width = double(cut.getLanes() * cut.getWidth());
  LaunchWork work;
  work.needs = {threads, 0, kRegisters};
  BlockWork &blocks = work.parts.emplace_back();
  blocks.blocks = double(cut.getGrid()[0]);
  blocks.globalBytes = double(cut.getRowsPerBlock()) * width *
                       bytes(table.gradElement) * countMatches();
  blocks.leaveBytes =
      double(cut.getRowsPerBlock()) * width * bytes(table.element);
  blocks.startCycles = kMemoryLatency;
  work.memoryBytes = double(table.columns) *
                     (double(table.positions) * bytes(table.gradElement) +
                      double(table.rows) * bytes(table.element));
  return work;
}

/// For each digit its counts, with their sums by the last block, and the moves:
/// all wait for the phase before.
void EmbeddingModel::addSort(SmallVectorImpl<LaunchWork> &launches) const {
  double chunks = std::ceil(double(table.positions) / kSortChunk);
  auto add = [&]() -> LaunchWork & {
    LaunchWork &work = launches.emplace_back();
    work.needs = {kSortChunk, TokenSort::getSharedBytes(), kRegisters};
    work.isPhase = launches.size() > 1;
    BlockWork &part = work.parts.emplace_back();
    part.blocks = chunks;
    part.steps = kSortChunk;
    part.waitCycles = kCacheLatency;
    part.instructions = 4.0 * double(kSortChunk) / kWarpLanes;
    return work;
  };
  int64_t bits = std::max<int64_t>(llvm::Log2_64_Ceil(table.rows), 1);
  for (int64_t bit = 0; bit < bits; bit += kSortDigitBits) {
    add().tailCycles += 2 * kMemoryLatency * chunks;
    add();
  }
}

SmallVector<LaunchWork> EmbeddingModel::describe(ScheduleAttr schedule) const {
  constexpr double ahead = 4;
  SmallVector<LaunchWork> launches;
  LaunchWork rows = describeRows(schedule.get("threads"));
  BlockWork &blocks = rows.parts.front();
  if (schedule.get("sort") == 1) {
    addSort(launches);
    rows.isPhase = true;
    rows.needs.sharedBytes = TokenSort::getSharedBytes();
    double rounds = std::ceil(std::log2(double(table.positions) + 1) /
                              std::log2(kWarpLanes));
    blocks.waitCycles =
        kMemoryLatency * (rounds + 2 * std::ceil(countMatches() / ahead));
  } else {
    double steps = std::ceil(double(table.positions) / kWarpLanes);
    blocks.waitCycles = steps * kCacheLatency + countMatches() * kMemoryLatency;
    double warps = double(schedule.get("threads")) / kWarpLanes;
    blocks.instructions = steps * 12 * warps;
    // The first-level cache has the tokens: its memory is the shared memory's.
    blocks.sharedBytes = steps * kWarpLanes * sizeof(int32_t) * warps;
  }
  launches.push_back(rows);
  return launches;
}

static LogicalResult verify(EmbeddingVJPOp op, const Table &table) {
  for (Type element : {table.gradElement, table.element})
    if (!element.isF32() && !element.isBF16())
      return op.emitOpError("expected elements of type f32 or bf16 for a GPU, "
                            "but got ")
             << element;
  return success();
}

FailureOr<LaunchPlan> nag::planEmbeddingVJP(const GPUTarget &target,
                                            ArrayRef<Operation *> ops) {
  auto op = dyn_cast<EmbeddingVJPOp>(ops.front());
  if (!op)
    return LaunchPlan();
  Table table = Table::of(op);
  if (failed(verify(op, table)))
    return failure();
  return LaunchPlan{
      1, std::make_unique<EmbeddingModel>(target, ops.take_front(1), table)};
}

//===----------------------------------------------------------------------===//
// The launch
//===----------------------------------------------------------------------===//

static void emitSorted(KernelLowering &kernel, const Table &table, Value grad,
                       Value tokens, Value tableGrad) {
  TokenSort sort(kernel, tokens, table.positions, table.rows);
  SmallVector<int64_t> blocks = sort.getPhases();
  blocks.push_back(table.getGrid()[0]);
  SmallVector<Value> operands(sort.getBuffers());
  operands.append({grad, tableGrad});
  DeviceFunction device =
      kernel.createLaunch("", operands, {llvm::sum_of(blocks), 1, 1},
                          {table.threads, 1, 1}, TokenSort::getSharedBytes());
  ThreadCode code(device.builder);
  BlockPhases phases(code, blocks);
  ArrayRef<Value> arguments(device.arguments);
  TokenSort::Sorted sorted =
      sort.build(phases, device.builder, arguments.drop_back(2));
  Value own[] = {arguments.drop_back().back(), sorted.tokens, sorted.positions,
                 arguments.back()};
  RowSumKernel sums(device.builder, table, own);
  phases.build([&](Value block) {
    sums.setBlockIndex(block);
    sums.build();
  });
}

static void emit(KernelLowering &kernel, EmbeddingVJPOp op,
                 ScheduleAttr schedule) {
  Table table = Table::of(op);
  table.threads = schedule.get("threads");
  Value tokens = kernel.getBuffer(op.getTokens(), {table.positions});
  Value grad = kernel.getBuffer(op.getResultGrad());
  Value tableGrad = kernel.getBuffer(op.getTableGrad());
  if (schedule.get("sort") == 1)
    return emitSorted(kernel, table, grad, tokens, tableGrad);
  DeviceFunction device = kernel.createLaunch(
      "", {grad, tokens, tableGrad}, table.getGrid(), {table.threads, 1, 1});
  RowSearchKernel(device.builder, table, device.arguments).build();
}

FailureOr<unsigned> nag::emitEmbeddingVJP(KernelLowering &kernel,
                                          ArrayRef<Operation *> ops) {
  return emitPlanned(kernel, planEmbeddingVJP(kernel.getTarget(), ops),
                     [&](ScheduleAttr schedule) {
                       emit(kernel, cast<EmbeddingVJPOp>(ops.front()),
                            schedule);
                     });
}
