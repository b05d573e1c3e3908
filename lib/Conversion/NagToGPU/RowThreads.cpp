// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Thread code of rows: the passes over rows, the ops of a row in order, its
// results.
#include "RowThreads.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace nag;

RowThreads::RowThreads(DeviceFunction &deviceFunction, RowProgram &rowProgram,
                       const RowGeometry &rowGeometry, Value blockNumber)
    : function(deviceFunction), builder(deviceFunction.builder),
      program(rowProgram), geometry(rowGeometry), block(blockNumber) {}

void RowThreads::emit() {
  emitThreadIndices();
  for (const RowArgument &argument : program.getArguments())
    if (argument.role == RowRole::Whole &&
        !isa<RankedTensorType>(argument.value.getType()))
      uniforms[argument.value] =
          loadUniform(memories.lookup(argument.value), constant(0), false);
  if (rowCount) {
    int64_t last = cast<MemRefType>(rowCount.getType()).getNumElements() - 1;
    Value count = loadUniform(rowCount, constant(last), false);
    rowLimit =
        arith::IndexCastOp::create(builder, builder.getIndexType(), count);
  }
  Values sums = createZeroSums();
  Value first = arith::SubIOp::create(builder, slot, blockSlot);
  storeSums(emitCounted(first, sums, [&] {
    shareVectors();
    hoist();
    return geometry.passes == 1 ? emitRow(slot, sums) : emitPasses(first, sums);
  }));
}

void RowThreads::emitThreadIndices() {
  Value id = gpu::ThreadIdOp::create(builder, gpu::Dimension::x);
  lane = arith::RemUIOp::create(builder, id, constant(kWarpSize));
  thread = id;
  blockSlot = constant(0);
  if (geometry.rowsPerBlock > 1) {
    Value threads = constant(geometry.threadsPerRow);
    thread = arith::RemUIOp::create(builder, id, threads);
    blockSlot = arith::DivUIOp::create(builder, id, threads);
  }
  Value rowBlock = block;
  if (geometry.segments > 1) {
    Value blocks = constant(geometry.blocks);
    rowBlock = arith::RemUIOp::create(builder, block, blocks);
    segment = arith::DivUIOp::create(builder, block, blocks);
  }
  slot =
      arith::MulIOp::create(builder, rowBlock, constant(geometry.rowsPerBlock),
                            arith::IntegerOverflowFlags::nsw);
  slot = offset(slot, blockSlot);
}

//===----------------------------------------------------------------------===//
// What all rows share
//===----------------------------------------------------------------------===//

/// Elements of a vector that a block reads once for all of its rows.
static constexpr int64_t kBlockElements = 256;

/// Short vectors that all rows read come to shared memory, once for a block of
/// several rows: else each row's threads would ask for them.
void RowThreads::shareVectors() {
  if (geometry.rowsPerBlock == 1)
    return;
  bool isShared = false;
  Value id = gpu::ThreadIdOp::create(builder, gpu::Dimension::x);
  for (const RowArgument &argument : program.getArguments()) {
    if (!isSharedVector(argument) ||
        getNumElements(argument.value) > kBlockElements)
      continue;
    Value from = memories.lookup(argument.value);
    int64_t length = getNumElements(argument.value);
    Value to = function.addShared(
        cast<MemRefType>(from.getType()).getElementType(), length);
    auto loop = scf::ForOp::create(builder, id, constant(length),
                                   constant(geometry.getBlock()[0]));
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(loop.getBody());
    Value index = loop.getInductionVar();
    memref::StoreOp::create(builder, loadElement(from, index), to, index);
    memories[argument.value] = to;
    isShared = true;
  }
  if (isShared)
    gpu::BarrierOp::create(builder);
}

/// Elements of shared tensors that a thread keeps from row to row.
static constexpr int64_t kHoistedElements = 8;

/// Computes before the first row what does not depend on rows: scalars,
/// reductions of shared vectors, and short shared vectors themselves.
void RowThreads::hoist() {
  for (auto [argument, value] : uniforms)
    scalars.map(argument, value);
  auto isShared = [&](Value value) {
    if (Operation *op = value.getDefiningOp())
      return hoisted.contains(op) || op->getBlock() != &program.getBody();
    return llvm::any_of(program.getArguments(),
                        [&](const RowArgument &a) {
                          return a.value == value && a.role == RowRole::Whole;
                        }) ||
           value.getParentBlock() != &program.getBody();
  };
  SmallVector<linalg::GenericOp> perRow;
  for (Operation &op : program.getBody()) {
    bool isInvariant = true;
    op.walk([&](Operation *nested) {
      isInvariant &= llvm::all_of(nested->getOperands(), isShared);
    });
    auto generic = dyn_cast<linalg::GenericOp>(op);
    // Places in odd rows differ from row to row.
    if (generic && isInvariant)
      isInvariant = getIterationLayout(generic).period == 0;
    if (isInvariant) {
      emitOp(&op);
      hoisted.insert(&op);
    } else if (generic) {
      perRow.push_back(generic);
    }
  }
  for (linalg::GenericOp generic : perRow)
    hoistElements(generic);
}

void RowThreads::hoistElements(linalg::GenericOp op) {
  RowLayout layout = getIterationLayout(op);
  if (layout.period > 0 || !geometry.isUnrolled() ||
      geometry.getNumChunks(layout) * layout.width > kHoistedElements)
    return;
  for (OpOperand *operand : op.getDpsInputOperands()) {
    Value source = getRowSource(operand->get());
    auto generic = source.getDefiningOp<linalg::GenericOp>();
    bool isShared = generic ? hoisted.contains(generic)
                            : memories.contains(source) && isWhole(source);
    if (!isShared || classify(*operand, layout) != Access::InPlace)
      continue;
    prepare(source, layout);
    forEachPosition(layout, {}, [&](RowPosition &position, ValueRange) {
      pull(source, position);
      return Values();
    });
  }
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

/// Blocks go through the rows in steps, as far as there are any: every thread
/// of a block makes as many.
RowThreads::Values RowThreads::emitPasses(Value first, ValueRange sums) {
  Value end = rowLimit ? rowLimit : constant(geometry.numRows);
  auto loop = scf::ForOp::create(builder, first, end,
                                 constant(geometry.getNumSlots()), sums);
  {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(loop.getBody());
    Values added = emitRow(offset(loop.getInductionVar(), blockSlot),
                           loop.getRegionIterArgs());
    // The next row reuses the shared memory.
    if (usesShared)
      synchronize();
    if (!added.empty())
      scf::YieldOp::create(builder, added);
  }
  return llvm::to_vector_of<Value>(loop.getResults());
}

/// What `body` builds for a block whose rows begin at `first`; where none of
/// them counts, `sums`.
RowThreads::Values RowThreads::emitCounted(Value first, ValueRange sums,
                                           function_ref<Values()> body) {
  if (!rowLimit)
    return body();
  auto branch =
      scf::IfOp::create(builder, sums.getTypes(), isBelow(first, rowLimit),
                        /*withElseRegion=*/!sums.empty());
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(branch.thenBlock());
  Values added = body();
  if (sums.empty())
    return {};
  scf::YieldOp::create(builder, added);
  builder.setInsertionPointToStart(branch.elseBlock());
  scf::YieldOp::create(builder, sums);
  return llvm::to_vector_of<Value>(branch.getResults());
}

/// All of the program for one row. Returns the sums with the row's terms. A
/// block without any row does not come here.
RowThreads::Values RowThreads::emitRow(Value rowIndex, ValueRange sums) {
  row = rowIndex;
  isActive = {};
  int64_t together = geometry.rowsPerBlock;
  if (together > 1 && rowLimit)
    isActive = isBelow(row, rowLimit);
  else if (together > 1 && geometry.numRows % together != 0)
    isActive = isBelow(row, constant(geometry.numRows));
  scalars.map(program.getRowIndex(), row);
  for (const RowArgument &argument : program.getArguments()) {
    if (argument.role == RowRole::Lane)
      scalars.map(argument.value, loadUniform(memories.lookup(argument.value),
                                              row, /*perRow=*/true));
    else if (argument.role == RowRole::Row)
      getShift(geometry.getLayout(getNumElements(argument.value)));
  }
  loadRows();
  for (Operation &op : program.getBody())
    if (!hoisted.contains(&op))
      emitOp(&op);
  return emitResults(sums);
}

/// Loads the rows that stay on the chip, before anything waits for other
/// threads.
void RowThreads::loadRows() {
  for (const RowArgument &argument : program.getArguments()) {
    if (argument.role != RowRole::Row)
      continue;
    RowLayout layout = geometry.getLayout(getNumElements(argument.value));
    getRowBase(layout.stride);
    bool isReadWhole =
        llvm::any_of(argument.value.getUsers(), [](Operation *user) {
          return !isa<tensor::ExtractOp, tensor::ExtractSliceOp>(user);
        });
    bool isHeld = llvm::any_of(geometry.held, [&](const auto &entry) {
      return entry.argument == argument.value;
    });
    if (!isHeld && !(geometry.isUnrolled() && isReadWhole))
      continue;
    forEachPosition(layout, {}, [&](RowPosition &position, ValueRange) {
      if (findHeld(argument.value, position))
        hold(argument.value, loadRow(argument.value, position), position);
      else
        pull(argument.value, position);
      return Values();
    });
  }
}

/// Scalars are computed at once, elements when they are asked for.
void RowThreads::emitOp(Operation *op) {
  if (isa<tensor::EmptyOp, tensor::CollapseShapeOp, tensor::ExpandShapeOp,
          tensor::ExtractSliceOp, linalg::FillOp>(op))
    return;
  if (auto generic = dyn_cast<linalg::GenericOp>(op)) {
    RowPattern pattern = getRowPattern(generic);
    bool isOneGroup = pattern == RowPattern::GroupSum &&
                      getNumElements(generic.getResult(0)) == 1;
    if (pattern == RowPattern::Reduction || isOneGroup)
      emitReduction(generic);
    return;
  }
  if (auto extract = dyn_cast<tensor::ExtractOp>(op)) {
    Value scalar = scalars.lookupOrNull(getRowSource(extract.getTensor()));
    scalars.map(extract.getResult(), scalar ? scalar : emitPoint(extract));
    return;
  }
  Operation *clone = builder.clone(*op, scalars);
  // A scalar is rounded before elements use it: fused into their additions, the
  // mean of equal elements would differ from them.
  if (auto product = dyn_cast<arith::MulFOp>(clone))
    product.setFastmath(arith::FastMathFlags::none);
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

RowThreads::Values RowThreads::emitResults(ValueRange sums) {
  SmallVector<unsigned> rows;
  Values added(sums);
  Value *sum = added.begin();
  // A row may be put where it was taken, or where another was: its threads have
  // read that by then.
  auto hasPlace = [&](unsigned index) { return bool(program.getPlace(index)); };
  if (geometry.threadsPerRow > 1 &&
      (readsOthers ||
       llvm::any_of(llvm::seq<unsigned>(0, program.getOutputs().size()),
                    hasPlace)))
    synchronize();
  for (auto [index, output] : llvm::enumerate(program.getOutputs())) {
    Value result = program.getResults()[index];
    bool isTensor = isa<RankedTensorType>(result.getType());
    if (output.role == RowRole::Row) {
      prepare(result, getLayout(result));
      rows.push_back(index);
    } else if (output.isSum() && isTensor) {
      RowLayout layout = getSumLayout(result);
      prepare(result, layout);
      for (int64_t chunk = 0; chunk < geometry.getNumChunks(layout);
           ++chunk, ++sum)
        *sum = addToSum(*sum, pull(result, getPosition(layout, chunk)));
    } else if (output.isSum()) {
      *sum = addToSum(*sum, scalars.lookup(result));
      ++sum;
    } else {
      Value place = program.getPlace(index);
      storeLane(scalars.lookup(result), destinations[index],
                place ? scalars.lookup(place) : row);
    }
  }
  storeRows(rows);
  return added;
}

Value RowThreads::addToSum(Value sum, Value term) {
  term = toType(term, getElementTypeOrSelf(sum.getType()));
  Value added = arith::AddFOp::create(builder, sum, term);
  if (isActive)
    added = arith::SelectOp::create(builder, isActive, added, sum);
  return added;
}

/// A scalar of the row, from its first thread, to element `place`.
void RowThreads::storeLane(Value value, Value memory, Value place) {
  Value isFirst = arith::CmpIOp::create(builder, arith::CmpIPredicate::eq,
                                        thread, constant(0));
  auto branch = scf::IfOp::create(builder, both(isFirst, isActive), false);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(branch.thenBlock());
  Type element = cast<MemRefType>(memory.getType()).getElementType();
  memref::StoreOp::create(builder, toType(value, element), memory, place);
}

/// Results of one layout go out together: a row that one of them overwrites has
/// been read by all by then.
void RowThreads::storeRows(ArrayRef<unsigned> results) {
  SmallVector<unsigned> left(results), later;
  while (!left.empty()) {
    RowLayout layout = getLayout(program.getResults()[left.front()]);
    SmallVector<unsigned> together;
    later.clear();
    for (unsigned index : left) {
      RowLayout own = getLayout(program.getResults()[index]);
      bool fits = own.sharesPositions(layout) && own.length == layout.length;
      (fits ? together : later).push_back(index);
    }
    forEachPosition(layout, {}, [&](RowPosition &position, ValueRange) {
      Values vectors;
      for (unsigned index : together)
        vectors.push_back(pull(program.getResults()[index], position));
      for (auto [index, vector] : llvm::zip_equal(together, vectors)) {
        Value memory = destinations[index];
        Type element = cast<MemRefType>(memory.getType()).getElementType();
        Value place = program.getPlace(index);
        if (!place) {
          storeVector(toType(vector, element), memory,
                      getRowBase(layout.length), layout.length,
                      /*aligned=*/true, position);
          continue;
        }
        // Elsewhere rows of odd length begin at other addresses.
        Value base = arith::MulIOp::create(builder, scalars.lookup(place),
                                           constant(layout.length),
                                           arith::IntegerOverflowFlags::nsw);
        storeVector(toType(vector, element), memory, base, layout.length,
                    /*aligned=*/layout.period == 0, position);
      }
      return Values();
    });
    std::swap(left, later);
  }
}

//===----------------------------------------------------------------------===//
// Sums over rows
//===----------------------------------------------------------------------===//

/// A thread's elements of a sum are the same for all rows.
RowLayout RowThreads::getSumLayout(Value tensor) {
  RowLayout layout = getLayout(tensor);
  layout.period = 0;
  return layout;
}

/// One vector per chunk of a sum of rows, one scalar for one of scalars.
RowThreads::Values RowThreads::createZeroSums() {
  Values sums;
  for (auto [output, result] :
       llvm::zip_equal(program.getOutputs(), program.getResults())) {
    if (!output.isSum())
      continue;
    Type element = builder.getF32Type();
    if (!isa<RankedTensorType>(result.getType())) {
      sums.push_back(zero(element));
      continue;
    }
    RowLayout layout = getSumLayout(result);
    sums.append(geometry.getNumChunks(layout),
                zero(VectorType::get({layout.width}, element)));
  }
  return sums;
}

void RowThreads::storeSums(ValueRange sums) {
  if (sums.empty())
    return;
  geometry.sumsInBlock ? storeBlockSums(sums) : storeSlotSums(sums);
}

/// The sums of the block's slots, added up in their order, to the block's row
/// of the destinations, [blocks, c] or [blocks].
void RowThreads::storeBlockSums(ValueRange sums) {
  isActive = {};
  SmallVector<SharedRow> slotSums;
  for (auto [output, result] :
       llvm::zip_equal(program.getOutputs(), program.getResults())) {
    if (!output.isSum())
      continue;
    SharedRow &shared =
        slotSums.emplace_back(createShared(output.type.getNumElements()));
    if (!isa<RankedTensorType>(result.getType())) {
      storeLane(sums.front(), shared.memory, blockSlot);
      sums = sums.drop_front();
      continue;
    }
    RowLayout layout = getSumLayout(result);
    for (int64_t chunk = 0; chunk < geometry.getNumChunks(layout); ++chunk) {
      RowPosition position = createPosition(layout, constant(chunk));
      position.isBounded = !geometry.isFull(layout, chunk);
      storeShared(sums.front(), shared, position);
      sums = sums.drop_front();
    }
  }
  gpu::BarrierOp::create(builder);
  Value id = gpu::ThreadIdOp::create(builder, gpu::Dimension::x);
  const SharedRow *shared = slotSums.begin();
  for (auto [output, memory] :
       llvm::zip_equal(program.getOutputs(), destinations)) {
    if (!output.isSum())
      continue;
    auto loop = scf::ForOp::create(builder, id, constant(shared->length),
                                   constant(geometry.getBlock()[0]));
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(loop.getBody());
    Value column = loop.getInductionVar(), sum;
    for (int64_t number = 0; number < geometry.rowsPerBlock; ++number) {
      Value term = memref::LoadOp::create(
          builder, shared->memory, offset(column, number * shared->length));
      sum = sum ? arith::AddFOp::create(builder, sum, term).getResult() : term;
    }
    Value start =
        arith::MulIOp::create(builder, block, constant(shared->length),
                              arith::IntegerOverflowFlags::nsw);
    Type element = cast<MemRefType>(memory.getType()).getElementType();
    memref::StoreOp::create(builder, toType(sum, element), memory,
                            offset(start, column));
    ++shared;
  }
}

/// Each slot's sums to its row of the destinations, [slots, c] or [slots].
void RowThreads::storeSlotSums(ValueRange sums) {
  row = slot;
  isActive = {};
  if (geometry.getNumBusySlots() < geometry.getNumSlots())
    isActive = isBelow(slot, constant(geometry.getNumBusySlots()));
  rowBases.clear();
  for (auto [output, result, memory] : llvm::zip_equal(
           program.getOutputs(), program.getResults(), destinations)) {
    if (!output.isSum())
      continue;
    if (!isa<RankedTensorType>(result.getType())) {
      storeLane(sums.front(), memory, row);
      sums = sums.drop_front();
      continue;
    }
    RowLayout layout = getSumLayout(result);
    bool aligned = isAligned(memory, layout.length, layout.width);
    for (int64_t chunk = 0; chunk < geometry.getNumChunks(layout); ++chunk) {
      RowPosition position = createPosition(layout, constant(chunk));
      position.isBounded = !geometry.isFull(layout, chunk);
      Type element = cast<MemRefType>(memory.getType()).getElementType();
      storeVector(toType(sums.front(), element), memory,
                  getRowBase(layout.length), layout.length, aligned, position);
      sums = sums.drop_front();
    }
  }
}
