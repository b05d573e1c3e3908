// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Thread code of rows: which elements a thread works on.
#include "RowThreads.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace nag;

//===----------------------------------------------------------------------===//
// Layouts
//===----------------------------------------------------------------------===//

RowLayout RowThreads::getLayout(Value tensor) {
  int64_t length = getNumElements(tensor);
  Value source = getRowSource(tensor);
  if (auto op = source.getDefiningOp<linalg::GenericOp>())
    if (getRowPattern(op) == RowPattern::Map)
      return getIterationLayout(op).withLength(length);
  return geometry.getLayout(getNumElements(source)).withLength(length);
}

/// The layout of the first operand that is read in place.
RowLayout RowThreads::getIterationLayout(linalg::GenericOp op) {
  int64_t length = 1;
  for (int64_t size : op.getStaticLoopRanges())
    length *= size;
  for (OpOperand *operand : op.getDpsInputOperands()) {
    Value source = getRowSource(operand->get());
    if (LinearAccess(op, *operand).isIdentity() &&
        !isa_and_nonnull<tensor::ExtractSliceOp, linalg::FillOp,
                         tensor::EmptyOp>(source.getDefiningOp()))
      return getLayout(operand->get()).withLength(length);
  }
  return geometry.getLayout(length);
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

Value RowThreads::getRowBase(int64_t stride) {
  Value &base = rowBases[stride];
  if (!base)
    base = arith::MulIOp::create(builder, row, constant(stride),
                                 arith::IntegerOverflowFlags::nsw);
  return base;
}

Value RowThreads::getShift(const RowLayout &layout) {
  if (layout.period == 0)
    return {};
  Value &shift = shifts[{layout.stride, layout.period}];
  if (!shift)
    shift = arith::RemUIOp::create(builder, getRowBase(layout.stride),
                                   constant(layout.period));
  return shift;
}

//===----------------------------------------------------------------------===//
// Positions
//===----------------------------------------------------------------------===//

/// The place in chunk number `chunk`, an index.
RowPosition RowThreads::createPosition(const RowLayout &layout, Value chunk) {
  RowPosition position;
  position.layout = layout;
  int64_t chunks = geometry.getNumChunks(layout);
  int64_t step = geometry.threadsPerRow * layout.width;
  position.first =
      arith::MulIOp::create(builder, thread, constant(layout.width),
                            arith::IntegerOverflowFlags::nsw);
  if (geometry.segments > 1)
    position.first =
        offset(position.first,
               arith::MulIOp::create(builder, segment, constant(chunks * step),
                                     arith::IntegerOverflowFlags::nsw));
  APInt number;
  if (matchPattern(chunk, m_ConstantInt(&number))) {
    position.chunk = number.getSExtValue();
    position.first = offset(position.first, position.chunk * step);
  } else {
    Value distance = arith::MulIOp::create(builder, chunk, constant(step),
                                           arith::IntegerOverflowFlags::nsw);
    position.first = offset(position.first, distance);
  }
  position.place = position.first;
  if (Value shift = getShift(layout))
    position.first = arith::SubIOp::create(builder, position.first, shift,
                                           arith::IntegerOverflowFlags::nsw);
  position.isBounded = !geometry.isFull(layout, chunks - 1);
  return position;
}

RowPosition &RowThreads::getPosition(const RowLayout &layout, int64_t chunk) {
  auto &entry = positions[{layout.width, layout.period,
                           layout.period > 0 ? layout.stride : 0, chunk}];
  if (!entry)
    entry =
        std::make_unique<RowPosition>(createPosition(layout, constant(chunk)));
  entry->layout = layout;
  entry->isBounded = !geometry.isFull(layout, chunk);
  return *entry;
}

RowPosition &RowThreads::getGroupPosition(RowPosition &position,
                                          int64_t width) {
  auto &entry = position.groups[width];
  if (entry)
    return *entry;
  entry = std::make_unique<RowPosition>();
  entry->layout.length = position.layout.length / width;
  entry->layout.width = 1;
  entry->layout.isPoint = true;
  entry->first =
      arith::DivUIOp::create(builder, position.first, constant(width));
  entry->isBounded = position.isBounded;
  entry->parent = &position;
  entry->groupWidth = width;
  return *entry;
}

RowThreads::Values RowThreads::forEachPosition(
    const RowLayout &layout, ValueRange inits,
    function_ref<Values(RowPosition &, ValueRange)> body) {
  int64_t chunks = geometry.getNumChunks(layout);
  if (geometry.isUnrolled() || chunks == 1) {
    Values carried(inits);
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
      carried = body(getPosition(layout, chunk), carried);
    return carried;
  }
  auto loop = scf::ForOp::create(builder, constant(0), constant(chunks),
                                 constant(1), inits);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(loop.getBody());
  RowPosition position = createPosition(layout, loop.getInductionVar());
  Values carried = body(position, loop.getRegionIterArgs());
  if (!inits.empty())
    scf::YieldOp::create(builder, carried);
  return llvm::to_vector_of<Value>(loop.getResults());
}

//===----------------------------------------------------------------------===//
// Masks
//===----------------------------------------------------------------------===//

/// Which elements of a position lie in a row of `length`, a vector.
Value RowThreads::getMask(RowPosition &position, int64_t length) {
  int64_t width = position.layout.width;
  if (!position.isBounded)
    return {};
  if (position.layout.period == 0 && length % width == 0)
    return splat(getWholeMask(position, length), width);
  auto type = VectorType::get({width}, builder.getI32Type());
  Value first =
      arith::IndexCastOp::create(builder, builder.getI32Type(), position.first);
  auto numbers = llvm::to_vector(llvm::seq<int32_t>(0, width));
  Value steps = arith::ConstantOp::create(
      builder, DenseElementsAttr::get(type, ArrayRef<int32_t>(numbers)));
  Value elements = arith::AddIOp::create(builder, splat(first, width), steps);
  Value end = arith::ConstantOp::create(
      builder, DenseElementsAttr::get(type, static_cast<int32_t>(length)));
  // Places before the row are large as unsigned numbers.
  return arith::CmpIOp::create(builder, arith::CmpIPredicate::ult, elements,
                               end);
}

/// Whether all elements of a position lie in a row of `length`; null for yes.
Value RowThreads::getWholeMask(RowPosition &position, int64_t length) {
  if (!position.isBounded)
    return {};
  int64_t last = length - position.layout.width;
  Value end = isBelow(position.first, constant(last + 1));
  if (position.layout.period == 0)
    return end;
  Value begin = arith::CmpIOp::create(builder, arith::CmpIPredicate::sge,
                                      position.first, constant(0));
  return both(begin, end);
}
