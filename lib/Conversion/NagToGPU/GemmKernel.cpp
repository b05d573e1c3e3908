// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The device function of a GEMM: what the blocks of a product do, and the
// pipeline of stages.
#include "BlockOrder.h"
#include "Gemm.h"
#include "Selection.h"

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

namespace {
/// Builds what the blocks of one product do.
class Kernel {
public:
  Kernel(ThreadCode &owner, const Product &gemmProduct,
         const Schedule &gemmSchedule, const LaunchPlace &launchPlace,
         ArrayRef<Value> buffers, const ProductTurn &productTurn)
      : builder(owner.getBuilder()), code(owner), product(gemmProduct),
        problem(product.getFirst()), schedule(gemmSchedule),
        launch(launchPlace), arguments(buffers), turn(productTurn) {}

  void build();

private:
  void findPlace();
  void buildTile();
  Value takeArgument();
  CopySource takeSource(const Operand &operand, int64_t extent);
  void createCopies(const Problem &term);
  void cutSum();
  Value countTiles();
  SmallVector<Value> buildLoop(Multiplier &multiplier, ValueRange sums);
  SmallVector<Value> buildLoopAhead(Multiplier &multiplier, ValueRange sums);
  SmallVector<Value> issueFirst(int64_t ahead);
  SmallVector<Value> issueLater(ValueRange copyState, Value tile, int64_t ahead,
                                Value steps);
  SmallVector<Value> issue(ValueRange copyState);
  void changeTiles(Value tile, Value slot);
  Value advanceSlot(Value slot);
  void commit() { NVVM::CpAsyncCommitGroupOp::create(builder); }
  void store(Multiplier &multiplier, ValueRange accumulators);

  ImplicitLocOpBuilder &builder;
  ThreadCode &code;
  const Product &product;
  /// The first term; the others differ in operands and k.
  const Problem &problem;
  const Schedule &schedule;
  const LaunchPlace &launch;
  ArrayRef<Value> arguments;
  const ProductTurn turn;
  /// How many tiles along k of the term at hand one block multiplies, and at
  /// most.
  int64_t tiles = 0, mostTiles = 0;
  BlockPlace place;
  Value sharedA, sharedB;
  /// How many rows or terms count, where that is known at run time only.
  Value count;
  /// How many parts of a split sum there are, and, of terms that are counted at
  /// run time, the tiles along k of one.
  Value numParts, partTiles;
  int64_t slotBytes = 0;
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
  // Whole groups of rows first; what is left over is one group of less rows.
  int64_t groupRows = std::min(kRasterRows, tilesM);
  int64_t restRows = tilesM % groupRows;
  Value group = code.div(launch.tile, groupRows * tilesN);
  Value inGroup = code.rem(launch.tile, groupRows * tilesN);
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
}

Value Kernel::takeArgument() {
  Value argument = arguments.front();
  arguments = arguments.drop_front();
  return argument;
}

CopySource Kernel::takeSource(const Operand &operand, int64_t extent) {
  CopySource source;
  source.start = code.pointer(takeArgument(), Space::Global);
  if (operand.indices)
    source.indices = code.pointer(takeArgument(), Space::Global);
  for (Value input : getPrologueInputs(operand))
    source.addInput(code, takeArgument(), input);
  source.extent = extent;
  if (problem.countsK)
    source.depthLimit = count;
  return source;
}

void Kernel::createCopies(const Problem &term) {
  tiles = countSteps(term, schedule);
  mostTiles =
      problem.countsK ? llvm::divideCeilSigned(term.k, schedule.tileK) : tiles;
  Value part = launch.part;
  Value firstTile = problem.countsK
                        ? arith::MulIOp::create(builder, part, partTiles)
                        : code.mul(part, tiles);
  place.k = code.mul(firstTile, schedule.tileK);
  SharedTile tileA =
      getSharedTile(term.a, schedule.tileM, schedule.tileK, term.unit);
  SharedTile tileB =
      getSharedTile(term.b, schedule.tileN, schedule.tileK, term.unit);
  slotBytes = tileA.getBytes() + tileB.getBytes();
  sharedA = code.dynamicShared();
  sharedB = code.offset(sharedA, tileA.getBytes());
  CopySource a = takeSource(term.a, term.m);
  if (problem.countsRows())
    a.rowLimit = count;
  copyA.emplace(code, term.a, tileA, a, place.row, term, schedule, place,
                sharedA);
  copyB.emplace(code, term.b, tileB, takeSource(term.b, term.n), place.column,
                term, schedule, place, sharedB);
}

/// Terms that are counted at run time are cut evenly, into fewer parts where
/// these would be short.
void Kernel::cutSum() {
  numParts = code.constant(schedule.splitK);
  if (!problem.countsK)
    return;
  Value all =
      arith::CeilDivUIOp::create(builder, count, code.constant(schedule.tileK));
  Value parts = code.div(count, getLeastTerms(schedule));
  parts = arith::MaxUIOp::create(builder, parts, code.constant(1));
  numParts = arith::MinUIOp::create(builder, parts, numParts);
  partTiles = arith::CeilDivUIOp::create(builder, all, numParts);
}

/// How many tiles along k the block multiplies: as far as they hold terms that
/// count.
Value Kernel::countTiles() {
  if (!problem.countsK)
    return code.constant(tiles);
  auto atMost = [&](Value a, Value b) -> Value {
    return arith::MinUIOp::create(builder, a, b);
  };
  Value left = arith::SubIOp::create(builder, count, atMost(place.k, count));
  return atMost(code.div(code.add(left, schedule.tileK - 1), schedule.tileK),
                partTiles);
}

/// The state of copies: both sources, the first k, and the slot to fill.
SmallVector<Value> Kernel::issue(ValueRange state) {
  copyA->issue(state[0], state[2], state[3]);
  copyB->issue(state[1], state[2], state[3]);
  return {code.offset(state[0], copyA->getStepBytes()),
          code.offset(state[1], copyB->getStepBytes()),
          code.add(state[2], schedule.tileK), advanceSlot(state[3])};
}

/// Runs the operands' prologues on the tile number `tile` along k.
void Kernel::changeTiles(Value tile, Value slot) {
  Value k = code.add(place.k, code.mul(tile, schedule.tileK));
  copyA->change(k, slot);
  copyB->change(k, slot);
}

Value Kernel::advanceSlot(Value slot) {
  if (schedule.stages == 1)
    return slot;
  Value next = code.add(slot, slotBytes);
  Value inside = code.less(next, slotBytes * schedule.stages);
  return code.select(inside, next, code.constant64(0));
}

/// Issues the copies of the first tiles, a group for each.
SmallVector<Value> Kernel::issueFirst(int64_t ahead) {
  SmallVector<Value> state = {copyA->getFirst(), copyB->getFirst(), place.k,
                              code.constant64(0)};
  for (int64_t stage = 0; stage < ahead; ++stage) {
    if (stage < mostTiles)
      state = issue(state);
    commit();
  }
  return state;
}

/// Issues the copies of the tile that is so many ahead of `tile`, where there
/// is one of the `steps` tiles, and in any case commits a group.
SmallVector<Value> Kernel::issueLater(ValueRange state, Value tile,
                                      int64_t ahead, Value steps) {
  SmallVector<Value> next(state);
  if (mostTiles > ahead) {
    Value left = problem.countsK ? code.less(code.add(tile, ahead), steps)
                                 : code.less(tile, tiles - ahead);
    code.ifTrue(left, [&] { issue(state); });
    next = {code.offset(state[0], copyA->getStepBytes()),
            code.offset(state[1], copyB->getStepBytes()),
            code.add(state[2], schedule.tileK), advanceSlot(state[3])};
  }
  commit();
  return next;
}

/// Before tile t is multiplied, the copies of the tiles up to t + stages - 1
/// have been issued; those up to t have arrived.
SmallVector<Value> Kernel::buildLoop(Multiplier &multiplier, ValueRange sums) {
  int64_t ahead = schedule.stages - 1;
  SmallVector<Value> state = issueFirst(ahead);
  state.push_back(code.constant64(0));
  llvm::append_range(state, sums);
  Value steps = countTiles();
  auto loop = scf::ForOp::create(builder, code.constant(0), steps,
                                 code.constant(1), state);
  // Tiles behind the last that counts were asked for.
  if (problem.countsK)
    NVVM::CpAsyncWaitGroupOp::create(builder, 0);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(loop.getBody());
  NVVM::CpAsyncWaitGroupOp::create(builder, ahead - 1);
  ValueRange inputs = loop.getRegionIterArgs();
  changeTiles(loop.getInductionVar(), inputs[4]);
  code.barrier();
  SmallVector<Value> next =
      issueLater(inputs.take_front(4), loop.getInductionVar(), ahead, steps);
  Value slot = inputs[4];
  next.push_back(advanceSlot(slot));
  next.append(multiplier.multiply(slot, inputs.drop_front(5)));
  scf::YieldOp::create(builder, next);
  return llvm::to_vector_of<Value>(loop.getResults().drop_front(5));
}

/// While tile t is multiplied, the first factors of tile t + 1 are loaded: all
/// other factors of tile t have been by then, and the copies of tile t + stages
/// take its slot. The last tile is multiplied behind the loop.
SmallVector<Value> Kernel::buildLoopAhead(Multiplier &multiplier,
                                          ValueRange sums) {
  SmallVector<Value> state = issueFirst(schedule.stages);
  Value slot = code.constant64(0), steps = countTiles();
  // Of no terms at all the first tile has zeros.
  if (problem.countsK)
    steps = arith::MaxSIOp::create(builder, steps, code.constant(1));
  NVVM::CpAsyncWaitGroupOp::create(builder, schedule.stages - 1);
  changeTiles(code.constant(0), slot);
  code.barrier();
  SmallVector<Value> loaded = multiplier.loadFirst(slot);
  state.push_back(slot);
  llvm::append_range(state, loaded);
  llvm::append_range(state, sums);
  auto loop = scf::ForOp::create(builder, code.constant(0), code.add(steps, -1),
                                 code.constant(1), state);
  auto multiply = [&](ValueRange values, function_ref<Value()> turn) {
    loaded = values.slice(5, loaded.size());
    return multiplier.multiplyLoaded(values[4], values.take_back(sums.size()),
                                     loaded, turn);
  };
  {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(loop.getBody());
    ValueRange inputs = loop.getRegionIterArgs();
    SmallVector<Value> next;
    Value nextSlot = advanceSlot(inputs[4]);
    SmallVector<Value> added = multiply(inputs, [&] {
      NVVM::CpAsyncWaitGroupOp::create(builder, schedule.stages - 2);
      changeTiles(code.add(loop.getInductionVar(), 1), nextSlot);
      code.barrier();
      next = issueLater(inputs.take_front(4), loop.getInductionVar(),
                        schedule.stages, steps);
      return nextSlot;
    });
    next.push_back(nextSlot);
    llvm::append_range(next, loaded);
    llvm::append_range(next, added);
    scf::YieldOp::create(builder, next);
  }
  SmallVector<Value> result = multiply(loop.getResults(), nullptr);
  // Tiles behind the last that counts were asked for.
  if (problem.countsK)
    NVVM::CpAsyncWaitGroupOp::create(builder, 0);
  return result;
}

void Kernel::store(Multiplier &multiplier, ValueRange accumulators) {
  auto storeSums = [&](SumReader sums) {
    if (turn.awaitedBlocks > 0)
      awaitStored(code, turn.awaitedBlocks,
                  gemm::countTiles(product, schedule));
    Output output =
        createOutput(code, problem, schedule, product.epilogue, arguments);
    output.setRowLimit(problem.countsRows() ? count : Value());
    multiplier.store(sums, output);
    if (turn.isAwaited)
      countStored(code);
    if (product.route)
      buildRouteTail(code, product, schedule, place,
                     arguments.take_back(countRouteBuffers(product.route)));
  };
  if (schedule.splitK == 1)
    return storeSums([&](int64_t first, int64_t number) {
      return llvm::to_vector_of<Value>(accumulators.slice(first, number));
    });
  endSharedSum(
      code, code.dynamicShared(), code.add(launch.tile, launch.firstTile),
      launch.tiles, numParts,
      [&] { storePart(code, schedule, launch, place.thread, accumulators); },
      [&] {
        storeSums([&](int64_t first, int64_t number) {
          return addUpParts(code, schedule, launch, place.thread, numParts,
                            accumulators, first, number);
        });
      });
}

void Kernel::build() {
  findPlace();
  if (problem.offsets)
    count = loadCount(code, problem, takeArgument());
  cutSum();
  if (problem.countsK && schedule.splitK > 1)
    return code.ifTrue(code.less(launch.part, numParts), [&] { buildTile(); });
  if (!problem.countsRows())
    return buildTile();
  place.rowLimit = count;
  code.ifTrue(code.less(place.row, count), [&] { buildTile(); });
  // A tile whose rows do not count is done, once for all parts.
  if (turn.isAwaited)
    code.ifTrue(code.both(code.less(code.add(count, -1), place.row),
                          code.less(launch.part, 1)),
                [&] { countStored(code); });
}

void Kernel::buildTile() {
  auto create = problem.unit == Unit::FMA ? createFMAMultiplier
                                          : createTensorCoreMultiplier;
  std::unique_ptr<Multiplier> multiplier;
  SmallVector<Value> sums;
  for (auto [index, term] : llvm::enumerate(product.terms)) {
    // The last tiles of the term before may still be read.
    if (index > 0)
      code.barrier();
    createCopies(term);
    multiplier = create(code, term, schedule, place, sharedA, sharedB);
    if (index == 0)
      sums = multiplier->getZeros();
    bool ahead = multiplier->loadsAhead() && schedule.stages > 1;
    sums = ahead ? buildLoopAhead(*multiplier, sums)
                 : buildLoop(*multiplier, sums);
  }
  store(*multiplier, sums);
}

void gemm::buildProduct(ThreadCode &code, const Product &product,
                        const Schedule &schedule, const LaunchPlace &place,
                        ArrayRef<Value> buffers, const ProductTurn &turn) {
  Kernel(code, product, schedule, place, buffers, turn).build();
}
