// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Thread code of rows: what threads read of one another's elements, through
// shared memory.
#include "RowThreads.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace nag;

/// The NVVM address space of shared memory.

//===----------------------------------------------------------------------===//
// Before elements are pulled
//===----------------------------------------------------------------------===//

/// Puts into shared memory what pulling `tensor` at positions of `layout` will
/// read there.
void RowThreads::prepare(Value tensor, const RowLayout &layout) {
  Value source = getRowSource(tensor);
  auto op = source.getDefiningOp<linalg::GenericOp>();
  if (!op || scalars.contains(source))
    return;
  switch (getRowPattern(op)) {
  case RowPattern::Map:
    return prepareOperands(op, layout);
  case RowPattern::GroupSum:
    return shareGroupSums(op);
  case RowPattern::ColumnSum:
    return shareColumnTerms(op);
  case RowPattern::Reduction:
    return;
  }
}

void RowThreads::prepareOperands(linalg::GenericOp op,
                                 const RowLayout &layout) {
  for (OpOperand *operand : op.getDpsInputOperands())
    switch (classify(*operand, layout)) {
    case Access::InPlace:
    case Access::Flip:
      prepare(operand->get(), layout);
      break;
    case Access::Group:
      prepareGroup(operand->get(), layout);
      break;
    case Access::Shared:
      share(operand->get());
      break;
    case Access::Memory:
      break;
    }
}

/// The same for a tensor of one element per group.
void RowThreads::prepareGroup(Value tensor, const RowLayout &layout) {
  Value source = getRowSource(tensor);
  auto op = source.getDefiningOp<linalg::GenericOp>();
  if (!op || scalars.contains(source))
    return;
  if (getRowPattern(op) == RowPattern::GroupSum)
    return prepareOperands(op, layout);
  for (OpOperand *operand : op.getDpsInputOperands())
    prepareGroup(operand->get(), layout);
}

/// Puts a tensor into shared memory.
void RowThreads::share(Value tensor) {
  Value source = getRowSource(tensor);
  if (sharedRows.contains(source))
    return;
  RowLayout layout = getLayout(source);
  prepare(source, layout);
  if (sharedRows.contains(source))
    return;
  SharedRow shared = createShared(getNumElements(source));
  forEachPosition(layout, {}, [&](RowPosition &position, ValueRange) {
    storeShared(pull(source, position), shared, position);
    return Values();
  });
  synchronize();
  sharedRows[source] = shared;
}

//===----------------------------------------------------------------------===//
// Sums of groups and columns
//===----------------------------------------------------------------------===//

/// The terms of a sum of groups or columns, one per iteration.
SharedRow RowThreads::shareTerms(linalg::GenericOp op) {
  RowLayout layout = getIterationLayout(op);
  prepareOperands(op, layout);
  SharedRow terms = createShared(layout.length);
  forEachPosition(layout, {}, [&](RowPosition &position, ValueRange) {
    storeShared(computeBody(op, position).front(), terms, position);
    return Values();
  });
  synchronize();
  return terms;
}

/// Groups of any width: the threads of a row take its groups by turns.
void RowThreads::shareGroupSums(linalg::GenericOp op) {
  Value source = op.getResult(0);
  if (sharedRows.contains(source))
    return;
  SharedRow terms = shareTerms(op);
  SmallVector<int64_t> sizes = op.getStaticLoopRanges();
  SharedRow sums = createShared(sizes[0]);
  Value threads = constant(geometry.threadsPerRow);
  auto groups =
      scf::ForOp::create(builder, thread, constant(sizes[0]), threads);
  {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(groups.getBody());
    Value group = groups.getInductionVar();
    Value begin = arith::MulIOp::create(builder, group, constant(sizes[1]));
    Value sum = sumShared(terms, begin, sizes[1], /*stride=*/1);
    memref::StoreOp::create(builder, sum, sums.memory,
                            getSharedIndex(sums, group));
  }
  synchronize();
  sharedRows[source] = sums;
}

void RowThreads::shareColumnTerms(linalg::GenericOp op) {
  Value source = op.getResult(0);
  if (!columnTerms.contains(source))
    columnTerms[source] = shareTerms(op);
}

/// The sum of `count` shared elements from `begin` on, in order.
Value RowThreads::sumShared(const SharedRow &shared, Value begin, int64_t count,
                            int64_t stride) {
  Value zeroSum = zero(builder.getF32Type());
  auto loop = scf::ForOp::create(builder, constant(0), constant(count),
                                 constant(1), zeroSum);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(loop.getBody());
  Value step =
      arith::MulIOp::create(builder, loop.getInductionVar(), constant(stride));
  Value element = memref::LoadOp::create(
      builder, shared.memory, getSharedIndex(shared, offset(begin, step)));
  scf::YieldOp::create(
      builder, arith::AddFOp::create(builder, loop.getRegionIterArg(0), element)
                   .getResult());
  return loop.getResult(0);
}

Value RowThreads::computeColumnSum(linalg::GenericOp op,
                                   RowPosition &position) {
  const SharedRow &terms = columnTerms.find(op.getResult(0))->second;
  SmallVector<int64_t> sizes = op.getStaticLoopRanges();
  int64_t width = position.layout.width;
  Value result = zero(VectorType::get({width}, builder.getF32Type()));
  for (int64_t i = 0; i < width; ++i) {
    // Any column will do for places outside.
    Value column = arith::RemUIOp::create(builder, offset(position.first, i),
                                          constant(sizes[1]));
    Value sum = sumShared(terms, column, sizes[0], sizes[1]);
    result = vector::InsertOp::create(builder, sum, result, i);
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Shared memory
//===----------------------------------------------------------------------===//

SharedRow RowThreads::createShared(int64_t length) {
  Value memory =
      function.addShared(builder.getF32Type(), geometry.rowsPerBlock * length);
  usesShared = true;
  return {memory, length};
}

/// The place of element `index` of the thread's row.
Value RowThreads::getSharedIndex(const SharedRow &shared, Value index) {
  if (geometry.rowsPerBlock == 1)
    return index;
  Value base =
      arith::MulIOp::create(builder, blockSlot, constant(shared.length));
  return offset(base, index);
}

/// Puts the part of a vector that lies in the row into shared memory. Threads
/// without a row do so too: what others read is always written.
void RowThreads::storeShared(Value vector, const SharedRow &shared,
                             RowPosition &position) {
  Value active = std::exchange(isActive, Value());
  bool aligned =
      position.layout.period == 0 && shared.length % position.layout.width == 0;
  storeVector(toType(vector, builder.getF32Type()), shared.memory,
              getSharedIndex(shared, constant(0)), shared.length, aligned,
              position);
  isActive = active;
}

/// `width` elements from `index` on, a multiple of `width`.
Value RowThreads::loadShared(const SharedRow &shared, Value index,
                             int64_t width) {
  auto type = VectorType::get({width}, builder.getF32Type());
  return vector::LoadOp::create(builder, type, shared.memory,
                                getSharedIndex(shared, index));
}

/// Waits for all threads of the row.
void RowThreads::synchronize() {
  if (geometry.threadsPerRow > kWarpSize) {
    gpu::BarrierOp::create(builder);
    return;
  }
  Value all = arith::ConstantIntOp::create(builder, builder.getI32Type(), -1);
  NVVM::SyncWarpOp::create(builder, all);
}
