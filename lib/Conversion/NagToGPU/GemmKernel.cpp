// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The device function of a GEMM: blocks, the pipeline of stages, and the second
// launch that adds up a split k.
#include "Gemm.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace nag;
using namespace nag::gemm;

/// Tiles of this many rows follow one another before the next column of tiles,
/// so that blocks that run at once share operands in the cache.
static constexpr int64_t kRasterRows = 8;

int64_t gemm::countSteps(const Problem &problem, const Schedule &schedule) {
  int64_t steps =
      llvm::divideCeilSigned(problem.k, schedule.tileK * schedule.splitK);
  // LLVM takes a loop of one step apart and moves multiply-adds to the stores
  // of their sums, with all operands in registers until then.
  return problem.unit == Unit::FMA ? std::max<int64_t>(steps, 2) : steps;
}

int64_t gemm::getSharedBytes(const Problem &problem, const Schedule &schedule) {
  int64_t bytes = schedule.tileM * problem.a.getElementBytes() +
                  schedule.tileN * problem.b.getElementBytes();
  int64_t tiles = schedule.stages * schedule.tileK * bytes;
  return problem.unit == Unit::FMA ? tiles
                                   : std::max(tiles, getStageBytes(schedule));
}

namespace {
/// Builds the body of the device function.
class Kernel {
public:
  Kernel(DeviceFunction &device, const Problem &gemmProblem,
         const Schedule &gemmSchedule, const Epilogue &gemmEpilogue)
      : builder(device.builder), code(builder), problem(gemmProblem),
        schedule(gemmSchedule), epilogue(gemmEpilogue),
        arguments(device.arguments), tiles(countSteps(problem, schedule)) {}

  void build();

private:
  void findPlace();
  void createCopies();
  SmallVector<Value> buildLoop(Multiplier &multiplier);
  SmallVector<Value> issue(ValueRange copyState);
  Value advanceSlot(Value slot);
  void commit() { NVVM::CpAsyncCommitGroupOp::create(builder); }
  void store(Multiplier &multiplier, ValueRange accumulators);

  ImplicitLocOpBuilder &builder;
  ThreadCode code;
  const Problem &problem;
  const Schedule &schedule;
  const Epilogue &epilogue;
  ArrayRef<Value> arguments;
  /// How many tiles along k one block multiplies.
  int64_t tiles;
  BlockPlace place;
  Value split, sharedA, sharedB;
  int64_t slotBytes;
  std::optional<TileCopy> copyA, copyB;
};
} // namespace

void Kernel::findPlace() {
  place.thread = code.threadIndex();
  place.lane = code.rem(place.thread, 32);
  Value warp = code.div(place.thread, 32);
  place.warpM = code.div(warp, schedule.warpsN);
  place.warpN = code.rem(warp, schedule.warpsN);

  int64_t tilesM = llvm::divideCeilSigned(problem.m, schedule.tileM);
  int64_t tilesN = llvm::divideCeilSigned(problem.n, schedule.tileN);
  Value block = code.blockIndex();
  // Whole groups of rows first; what is left over is one group of less rows.
  int64_t groupRows = std::min(kRasterRows, tilesM);
  int64_t restRows = tilesM % groupRows;
  Value group = code.div(block, groupRows * tilesN);
  Value inGroup = code.rem(block, groupRows * tilesN);
  Value row = code.rem(inGroup, groupRows);
  Value column = code.div(inGroup, groupRows);
  if (restRows != 0) {
    Value whole = code.less(group, tilesM / groupRows);
    row = code.select(whole, row, code.rem(inGroup, restRows));
    column = code.select(whole, column, code.div(inGroup, restRows));
  }
  row = code.add(row, code.mul(group, groupRows));
  place.row = code.mul(row, schedule.tileM);
  place.column = code.mul(column, schedule.tileN);
  split = schedule.splitK > 1 ? code.blockIndexY() : code.constant(0);
  place.k = code.mul(split, tiles * schedule.tileK);
}

void Kernel::createCopies() {
  SharedTile tileA =
      getSharedTile(problem.a, schedule.tileM, schedule.tileK, problem.unit);
  SharedTile tileB =
      getSharedTile(problem.b, schedule.tileN, schedule.tileK, problem.unit);
  slotBytes = tileA.getBytes() + tileB.getBytes();
  sharedA = code.dynamicShared();
  sharedB = code.offset(sharedA, tileA.getBytes());
  copyA.emplace(code, problem.a, tileA, problem.m, place.row, problem, schedule,
                place, code.pointer(arguments[0], Space::Global), sharedA);
  copyB.emplace(code, problem.b, tileB, problem.n, place.column, problem,
                schedule, place, code.pointer(arguments[1], Space::Global),
                sharedB);
}

/// The state of copies: both sources, the first k, and the slot to fill.
SmallVector<Value> Kernel::issue(ValueRange state) {
  copyA->issue(state[0], state[2], state[3]);
  copyB->issue(state[1], state[2], state[3]);
  return {code.offset(state[0], copyA->getStepBytes()),
          code.offset(state[1], copyB->getStepBytes()),
          code.add(state[2], schedule.tileK), advanceSlot(state[3])};
}

Value Kernel::advanceSlot(Value slot) {
  if (schedule.stages == 1)
    return slot;
  Value next = code.add(slot, slotBytes);
  Value inside = code.less(next, slotBytes * schedule.stages);
  return code.select(inside, next, code.constant64(0));
}

/// Before tile t is multiplied, the copies of the tiles up to t + stages - 1
/// have been issued; those up to t have arrived.
SmallVector<Value> Kernel::buildLoop(Multiplier &multiplier) {
  SmallVector<Value> state = {copyA->getFirst(), copyB->getFirst(), place.k,
                              code.constant64(0)};
  int64_t ahead = schedule.stages - 1;
  for (int64_t stage = 0; stage < ahead; ++stage) {
    if (stage < tiles)
      state = issue(state);
    commit();
  }
  state.push_back(code.constant64(0));
  state.append(multiplier.getZeros());
  auto loop = scf::ForOp::create(builder, code.constant(0),
                                 code.constant(tiles), code.constant(1), state);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(loop.getBody());
  NVVM::CpAsyncWaitGroupOp::create(builder, ahead - 1);
  code.barrier();
  ValueRange inputs = loop.getRegionIterArgs();
  SmallVector<Value> next(inputs.take_front(4));
  if (tiles > ahead) {
    Value left = code.less(loop.getInductionVar(), tiles - ahead);
    code.ifTrue(left, [&] { issue(inputs.take_front(4)); });
    next = {code.offset(inputs[0], copyA->getStepBytes()),
            code.offset(inputs[1], copyB->getStepBytes()),
            code.add(inputs[2], schedule.tileK), advanceSlot(inputs[3])};
  }
  commit();
  Value slot = inputs[4];
  next.push_back(advanceSlot(slot));
  next.append(multiplier.multiply(slot, inputs.drop_front(5)));
  scf::YieldOp::create(builder, next);
  return llvm::to_vector_of<Value>(loop.getResults().drop_front(5));
}

void Kernel::store(Multiplier &multiplier, ValueRange accumulators) {
  ArrayRef<Value> buffers = arguments.drop_front(2);
  if (schedule.splitK == 1) {
    Output output = createOutput(code, problem, schedule, epilogue, buffers);
    return multiplier.store(accumulators, output);
  }
  Output parts(code, problem, schedule, buffers.front());
  parts.skip(code.mul(code.extend(split), problem.m * problem.n * 4));
  multiplier.store(accumulators, parts);
}

void Kernel::build() {
  findPlace();
  createCopies();
  auto create = problem.unit == Unit::FMA ? createFMAMultiplier
                                          : createTensorCoreMultiplier;
  auto multiplier = create(code, problem, schedule, place, sharedA, sharedB);
  SmallVector<Value> accumulators = buildLoop(*multiplier);
  store(*multiplier, accumulators);
}

void gemm::emit(KernelLowering &kernel, const Problem &problem,
                const Schedule &schedule, const Epilogue &epilogue) {
  ImplicitLocOpBuilder &host = kernel.getHostBuilder();
  SmallVector<Value> buffers = {kernel.getBuffer(problem.a.tensor),
                                kernel.getBuffer(problem.b.tensor)};
  if (schedule.splitK > 1)
    buffers.push_back(kernel.allocateScratch(MemRefType::get(
        {schedule.splitK, problem.m, problem.n}, host.getF32Type())));
  else
    buffers.append(getBuffers(kernel, epilogue));
  Dim3 grid = {llvm::divideCeilSigned(problem.m, schedule.tileM) *
                   llvm::divideCeilSigned(problem.n, schedule.tileN),
               schedule.splitK, 1};
  DeviceFunction device =
      kernel.createLaunch("", buffers, grid, {schedule.getThreads(), 1, 1},
                          getSharedBytes(problem, schedule));
  device.function->setAttr(kScheduleAttrName,
                           toAttr(schedule, host.getContext()));
  Kernel(device, problem, schedule, epilogue).build();
  if (schedule.splitK > 1)
    emitSplitSum(kernel, problem, schedule, epilogue, buffers.back());
}
