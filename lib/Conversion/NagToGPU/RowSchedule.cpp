// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "RowSchedule.h"
#include "RowSums.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace nag;

//===----------------------------------------------------------------------===//
// Candidates
//===----------------------------------------------------------------------===//

/// What any row takes: addresses, scalars, code in flight.
static constexpr int64_t kBaseRegisters = 64;

/// A thread's registers: what it has of the rows that go in and come out, and
/// sums.
static int64_t countRegisters(const RowGeometry &rows) {
  const RowLayout &widest = rows.getWidest();
  int64_t count = int64_t(rows.getWideRows().size()) + rows.getNumWideResults();
  int64_t chunks = rows.isUnrolled() ? rows.getNumChunks(widest) : 1;
  int64_t held =
      rows.isUnrolled() ? rows.heldBytes / 2 / rows.getBlock()[0] : 0;
  int64_t own = std::max<int64_t>(count * chunks * widest.width - held, 0);
  int64_t sums = llvm::divideCeil(rows.getNumSumElements(), rows.threadsPerRow);
  return kBaseRegisters + own + sums;
}

static constexpr int64_t kMaxRegisters = 255;

/// Registers that a thread may have in a block of so many.
static int64_t getRegisterLimit(const RowGeometry &rows,
                                const GPUTarget &target) {
  return std::min(kMaxRegisters,
                  countThreadRegisters(*target.chip, rows.getBlock()[0]));
}

namespace {
/// Collects schedules of some rows, each once.
class RowCandidates {
public:
  RowCandidates(const RowGeometry &rowGeometry, bool threadsCarryOver,
                const GPUTarget &gpuTarget, int64_t numThreads,
                MLIRContext *mlirContext)
      : rows(rowGeometry), carriesOver(threadsCarryOver), target(gpuTarget),
        blockThreads(numThreads), context(mlirContext) {}

  SmallVector<ScheduleAttr> list();

private:
  void addShort(int64_t threads);
  void addLong();
  void addSegments();
  void addBlocks(int64_t threads, int64_t rowsPerBlock);
  void add(int64_t threads, int64_t rowsPerBlock, int64_t segments,
           int64_t passes);

  const RowGeometry &rows;
  bool carriesOver;
  const GPUTarget &target;
  int64_t blockThreads;
  MLIRContext *context;
  llvm::SetVector<ScheduleAttr> schedules;
};
} // namespace

void RowCandidates::add(int64_t threads, int64_t rowsPerBlock, int64_t segments,
                        int64_t passes) {
  for (int64_t keep : {1, 2, 0}) {
    int64_t values[] = {threads,  rowsPerBlock, rows.getWidest().width,
                        segments, passes,       keep};
    auto schedule = ScheduleAttr::get(context, ScheduleFamily::Rows, values);
    RowGeometry cut = rows;
    // What needs more registers than a thread can have is spilled.
    if (cut.follow(schedule).empty() &&
        (keep != 1 || countRegisters(cut) <= kMaxRegisters))
      schedules.insert(schedule);
  }
}

/// Blocks that go through their rows one after the other are as many as the
/// chip holds at a time, or some times fewer.
void RowCandidates::addBlocks(int64_t threads, int64_t rowsPerBlock) {
  // No more places for rows than a block may have of them.
  if (blockThreads == 0 && rowsPerBlock >= 2 * rows.numRows &&
      threads * rowsPerBlock > kWarpSize)
    return;
  int64_t slots = llvm::divideCeil(rows.numRows, rowsPerBlock);
  if (carriesOver)
    for (int64_t resident : {3, 2, 1, 4, 6, 8, 12, 16})
      add(threads, rowsPerBlock, /*segments=*/1,
          llvm::divideCeil(slots, target.chip->multiprocessors * resident));
  else
    add(threads, rowsPerBlock, /*segments=*/1, /*passes=*/1);
}

/// Rows of up to a warp's lanes each, as many as fill a block.
void RowCandidates::addShort(int64_t threads) {
  if (blockThreads > 0)
    return addBlocks(threads, blockThreads / threads);
  // Threads that exchange elements have shared memory for so many rows.
  int64_t most = rows.exchangesElements() ? 128 : 512;
  for (int64_t block : {128, 64, 32, 256, 512})
    if (block <= most)
      addBlocks(threads, block / threads);
}

/// A block, or a warp, for each row. Fewer places of chunks are empty with some
/// numbers of warps than with others.
void RowCandidates::addLong() {
  constexpr int64_t maxThreads = 1024, maxChunks = 32;
  llvm::SmallSetVector<int64_t, 16> sizes;
  for (int64_t chunks = 1; chunks <= maxChunks; ++chunks)
    sizes.insert(llvm::alignTo(llvm::divideCeil(rows.getNumVectors(), chunks),
                               kWarpSize));
  sizes.insert(maxThreads / 2);
  sizes.insert(maxThreads);
  for (int64_t threads : sizes)
    if (threads == kWarpSize)
      addShort(threads);
    else if (threads <= maxThreads && blockThreads == 0)
      addBlocks(threads, 1);
  if (blockThreads > 0)
    addBlocks(blockThreads, 1);
}

/// Blocks that share a row.
void RowCandidates::addSegments() {
  for (int64_t threads : {128, 256, 64})
    for (int64_t chunks : {4, 2, 1}) {
      int64_t own = blockThreads > 0 ? blockThreads : threads;
      int64_t segments = llvm::divideCeil(rows.getNumVectors(), own * chunks);
      if (segments > 1)
        add(own, 1, segments, 1);
    }
}

/// Blocks of about 128 threads first.
SmallVector<ScheduleAttr> RowCandidates::list() {
  auto whole = int64_t(llvm::bit_ceil<uint64_t>(rows.getNumVectors()));
  if (whole <= kWarpSize)
    for (int64_t threads = whole; threads >= 1 && threads * 2 >= whole;
         threads /= 2)
      addShort(threads);
  else
    addLong();
  if (whole > kWarpSize && rows.isElementwise())
    addSegments();
  auto distance = [](ScheduleAttr schedule) {
    double block = double(schedule.get("threads") * schedule.get("rows"));
    return std::abs(std::log2(block / 128));
  };
  SmallVector<std::pair<double, size_t>> order;
  for (auto [index, schedule] : llvm::enumerate(schedules))
    order.emplace_back(distance(schedule), index);
  llvm::sort(order);
  return llvm::map_to_vector(
      order, [&](const auto &entry) { return schedules[entry.second]; });
}

/// True when a thread keeps something from row to row: sums over rows, or
/// vectors that rows share.
static bool carriesOver(RowProgram &program) {
  return llvm::any_of(program.getArguments(), isSharedVector) ||
         llvm::any_of(program.getOutputs(),
                      [](const RowOutput &output) { return output.isSum(); });
}

/// True when rows are read once, by blocks that fit.
static bool keepsRows(ScheduleAttr schedule, const RowGeometry &rows,
                      RowProgram &program, const GPUTarget &target) {
  return schedule.get("keep") != 0 &&
         RowGeometry(rows).follow(schedule).empty() &&
         std::isfinite(estimateRows(schedule, rows, program, target).cycles);
}

bool nag::fitsRegisters(ScheduleAttr schedule, RowGeometry rows,
                        const GPUTarget &target) {
  rows.follow(schedule);
  return countRegisters(rows) <= getRegisterLimit(rows, target);
}

/// Rows that can be kept are not read again; then, registers that can be had
/// are not spilled; then, what is made of rows is made once.
SmallVector<ScheduleAttr> nag::listRowSchedules(const RowGeometry &rows,
                                                RowProgram &program,
                                                const GPUTarget &target,
                                                int64_t blockThreads) {
  MLIRContext *context = program.getBody().getArgument(0).getContext();
  SmallVector<ScheduleAttr> schedules =
      RowCandidates(rows, carriesOver(program), target, blockThreads, context)
          .list();
  if (llvm::any_of(schedules, [&](ScheduleAttr schedule) {
        return keepsRows(schedule, rows, program, target);
      }))
    llvm::erase_if(schedules, [](ScheduleAttr schedule) {
      return schedule.get("keep") == 0;
    });
  keepThose(schedules, [&](ScheduleAttr schedule) {
    return fitsRegisters(schedule, rows, target);
  });
  keepThose(schedules,
            [](ScheduleAttr schedule) { return schedule.get("keep") != 2; });
  return schedules;
}

//===----------------------------------------------------------------------===//
// Work
//===----------------------------------------------------------------------===//

static double getBytes(Type tensor) {
  auto type = cast<RankedTensorType>(tensor);
  return double(type.getNumElements()) * type.getElementTypeBitWidth() / 8;
}

/// Cycles of a block's start, of a step of a reduction over lanes, and of one
/// over warps; instructions of a thread for a row besides its elements'.
static constexpr double kStartCycles = 300, kLaneCycles = 30, kWarpCycles = 100;
static constexpr double kRowInstructions = 40, kLaneInstructions = 3;
/// Cycles of a warp's instruction that waits for the one before, barriers among
/// them.
static constexpr double kIssueCycles = 6;
/// Instructions of an op on one element: some products and sums are one, and
/// some are computed once for several ops; functions are several.
static constexpr double kPlainInstructions = 0.35, kFunctionInstructions = 12;

namespace {
/// What a row program does for a row.
struct RowCounts {
  /// Of the rows and lanes that go in and out, of vectors that all rows share.
  double rowBytes = 0, sharedBytes = 0;
  /// Of each op: its elements in a row, and its instructions for one.
  struct Op {
    double elements, instructions;
  };
  SmallVector<Op> ops;
  /// Of ops on what is the same for the whole row.
  double rowInstructions = 0;
  /// Sums over a row, and how many of them wait for one another at most.
  int reductions = 0, levels = 0;

  explicit RowCounts(RowProgram &program);
};
} // namespace

static double countInstructions(Operation *op) {
  StringRef dialect = op->getName().getDialectNamespace();
  return dialect == "math"    ? kFunctionInstructions
         : dialect == "arith" ? kPlainInstructions
                              : 0;
}

static RowCounts::Op countInstructions(linalg::GenericOp op) {
  RowCounts::Op count{1, 0};
  for (Operation &inner : *op.getBody())
    count.instructions += countInstructions(&inner);
  for (int64_t size : op.getStaticLoopRanges())
    count.elements *= double(size);
  return count;
}

/// One more than the levels of what an op reads where it reduces.
static int findLevel(Operation *op, llvm::DenseMap<Operation *, int> &levels) {
  int level = 0;
  op->walk([&](Operation *nested) {
    for (Value operand : nested->getOperands())
      if (Operation *source = operand.getDefiningOp())
        level = std::max(level, levels.lookup(source));
  });
  auto generic = dyn_cast<linalg::GenericOp>(op);
  bool reduces = generic && getRowPattern(generic) != RowPattern::Map;
  return levels[op] = level + (reduces ? 1 : 0);
}

/// True for a table of which every row of the program reads some rows.
static bool isReadByRows(Value tensor) {
  return isa<RankedTensorType>(tensor.getType()) &&
         llvm::all_of(tensor.getUsers(), llvm::IsaPred<tensor::ExtractSliceOp>);
}

RowCounts::RowCounts(RowProgram &program) {
  double rows = double(program.getNumRows());
  for (const RowArgument &argument : program.getArguments()) {
    double bytes = getBytes(argument.tensor.getType());
    if (argument.role == RowRole::Row || argument.role == RowRole::Lane)
      rowBytes += bytes / rows;
    else if (isReadByRows(argument.value))
      for (Operation *slice : argument.value.getUsers())
        rowBytes += getBytes(slice->getResult(0).getType());
    else if (isa<RankedTensorType>(argument.value.getType()))
      sharedBytes += bytes;
  }
  for (const RowOutput &output : program.getOutputs())
    if (!output.isSum())
      rowBytes += getBytes(output.type) / rows;
  llvm::DenseMap<Operation *, int> known;
  for (Operation &op : program.getBody()) {
    levels = std::max(levels, findLevel(&op, known));
    auto generic = dyn_cast<linalg::GenericOp>(op);
    if (!generic) {
      rowInstructions += countInstructions(&op);
      continue;
    }
    ops.push_back(countInstructions(generic));
    if (getRowPattern(generic) != RowPattern::Map)
      reductions += int(generic->getNumResults());
  }
}

/// A warp's instructions for the elements that its threads have of a row: of
/// ops on a few elements every thread has one, as of those on a scalar.
static double countElementInstructions(const RowGeometry &rows,
                                       const RowCounts &counts) {
  double threads = double(rows.threadsPerRow);
  double width = double(rows.getWidest().width);
  double sum = counts.rowInstructions;
  for (const RowCounts::Op &op : counts.ops) {
    double step = op.elements < threads * width ? 1 : width;
    sum += op.instructions * step * std::ceil(op.elements / threads / step);
  }
  return sum;
}

/// What a block does for its rows of one pass.
static BlockWork describePass(const RowGeometry &rows,
                              const RowCounts &counts) {
  const RowLayout &widest = rows.getWidest();
  double chunks = double(rows.getNumChunks(widest));
  double warps = double(rows.getBlock()[0]) / kWarpSize;
  double lanes = std::log2(double(std::min(rows.threadsPerRow, kWarpSize)));
  double rowWarps = double(llvm::divideCeil(rows.threadsPerRow, kWarpSize));
  // For every level of sums, and for results, rows that are not kept are read,
  // and what registers do not keep is computed.
  double uses = counts.levels + 1;
  double reads = rows.home == RowGeometry::Home::Memory ? uses : 1;
  double rounds = rows.isUnrolled() ? 1 : uses;
  BlockWork work;
  work.globalBytes = double(rows.rowsPerBlock) / double(rows.segments) * reads *
                     counts.rowBytes;
  if (rows.rowsPerBlock == 1)
    work.globalBytes += counts.sharedBytes;
  else
    work.leaveBytes = counts.sharedBytes; // Read once, by the block.
  double perReduction = lanes * kLaneInstructions;
  if (rowWarps > 1)
    perReduction += rowWarps;
  double perWarp = kRowInstructions +
                   rounds * countElementInstructions(rows, counts) +
                   counts.reductions * perReduction;
  work.instructions = warps * perWarp;
  double reduction = lanes * kLaneCycles;
  if (rowWarps > 1)
    reduction += kWarpCycles + 2 * rowWarps;
  work.waitCycles = kMemoryLatency * (rows.isUnrolled() ? 1 : reads * chunks) +
                    counts.levels * reduction + perWarp * kIssueCycles;
  return work;
}

/// Partial sums are written, and read again by the last block, or where there
/// are many by a launch of their own.
static void describeSums(const RowGeometry &rows, LaunchWork &launch) {
  constexpr double fenceCycles = 2000;
  double partials = double(rows.getNumPartialSums());
  double elements = double(rows.getNumSumElements());
  if (partials <= 1 || elements == 0)
    return;
  launch.memoryBytes += 2 * sizeof(float) * partials * elements;
  double columns = std::min(32.0, elements);
  double slices = std::max(1.0, double(rows.getBlock()[0]) / columns);
  double rounds = std::ceil(elements / columns) *
                  std::ceil(partials / slices / double(kTermsAhead));
  launch.tailCycles += fenceCycles + rounds * kMemoryLatency;
}

void nag::describeRows(const RowGeometry &rows, RowProgram &program,
                       const GPUTarget &target, LaunchWork &launch) {
  RowCounts counts(program);
  launch.needs.threads = rows.getBlock()[0];
  launch.needs.sharedBytes = std::max(launch.needs.sharedBytes, rows.heldBytes);
  int64_t wanted = countRegisters(rows), limit = getRegisterLimit(rows, target);
  launch.needs.registers =
      std::max(launch.needs.registers, std::min(wanted, limit));
  BlockWork &blocks = launch.parts.emplace_back(describePass(rows, counts));
  // Spilled values go out and come back.
  if (wanted > limit)
    blocks.globalBytes +=
        double(wanted - limit) * 2 * sizeof(float) * double(rows.getBlock()[0]);
  blocks.blocks = double(rows.getGrid()[0]);
  blocks.steps = double(rows.passes);
  blocks.startCycles =
      kStartCycles + (counts.sharedBytes > 0 ? kMemoryLatency : 0);
  blocks.leaveBytes += double(rows.getNumSumElements()) * sizeof(float) *
                       double(rows.sumsInBlock ? 1 : rows.rowsPerBlock);
  launch.memoryBytes +=
      counts.rowBytes * double(rows.numRows) + counts.sharedBytes;
  describeSums(rows, launch);
}

LaunchEstimate nag::estimateRows(ScheduleAttr schedule, RowGeometry rows,
                                 RowProgram &program, const GPUTarget &target) {
  rows.follow(schedule);
  LaunchWork work;
  describeRows(rows, program, target, work);
  return estimateCycles(*target.chip, work);
}
