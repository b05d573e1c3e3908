// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Thread code of rows: the elements of tensors at a thread's position.
#include "RowThreads.h"

#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace nag;

/// True for tensors in memory that belong to no row in particular: shared
/// ones, and rows of tables.
static bool isWholeMemory(RowProgram &program, Value source) {
  if (source.getDefiningOp<tensor::ExtractSliceOp>())
    return true;
  return llvm::any_of(program.getArguments(), [&](const RowArgument &argument) {
    return argument.value == source && argument.role == RowRole::Whole;
  });
}

bool RowThreads::isWhole(Value source) {
  return isWholeMemory(program, source);
}

static bool isUniform(Value source) {
  return isa_and_nonnull<linalg::FillOp, tensor::EmptyOp>(
      source.getDefiningOp());
}

//===----------------------------------------------------------------------===//
// How operands are read
//===----------------------------------------------------------------------===//

/// True when a thread can compute, from its elements of a row and those of
/// nearby lanes, the element of `tensor` that belongs to their group of `width`
/// elements.
bool RowThreads::isGroupLocal(Value tensor, int64_t width,
                              const RowLayout &layout) {
  Value source = getRowSource(tensor);
  if (isUniform(source) || isWholeMemory(program, source))
    return true;
  auto op = source.getDefiningOp<linalg::GenericOp>();
  if (!op)
    return false;
  if (getRowPattern(op) == RowPattern::Map)
    return llvm::all_of(op.getDpsInputOperands(), [&](OpOperand *operand) {
      return LinearAccess(op, *operand).isIdentity() &&
             isGroupLocal(operand->get(), width, layout);
    });
  if (getRowPattern(op) != RowPattern::GroupSum)
    return false;
  SmallVector<int64_t> sizes = op.getStaticLoopRanges();
  if (sizes[0] == 1)
    return true; // a scalar by now
  int64_t lanes = width / layout.width;
  return sizes[1] == width && layout.period == 0 && !layout.isPoint &&
         width % layout.width == 0 && llvm::isPowerOf2_64(lanes) &&
         lanes <= std::min(geometry.threadsPerRow, kWarpSize) &&
         getIterationLayout(op).sharesPositions(layout);
}

RowThreads::Access RowThreads::classify(OpOperand &operand,
                                        const RowLayout &layout) {
  auto op = cast<linalg::GenericOp>(operand.getOwner());
  LinearAccess access(op, operand);
  Value source = getRowSource(operand.get());
  if (isUniform(source))
    return Access::InPlace;
  bool isWhole = isWholeMemory(program, source);
  if (access.isIdentity() &&
      (isWhole || getLayout(operand.get()).sharesPositions(layout)))
    return Access::InPlace;
  if (isWhole)
    return Access::Memory;
  if (access.isPerGroup() &&
      isGroupLocal(operand.get(), access.sizes[1], layout))
    return Access::Group;
  if (access.isFlipped() && !layout.isPoint && layout.period == 0 &&
      getLayout(operand.get()).sharesPositions(layout)) {
    int64_t half = access.strides[1], lanes = half / layout.width;
    if (half % layout.width == 0 && llvm::isPowerOf2_64(lanes) &&
        2 * lanes <= std::min(geometry.threadsPerRow, kWarpSize))
      return Access::Flip;
  }
  return Access::Shared;
}

//===----------------------------------------------------------------------===//
// Elements of tensors
//===----------------------------------------------------------------------===//

/// The elements of `tensor` at `position`, a vector.
Value RowThreads::pull(Value tensor, RowPosition &position) {
  Value source = getRowSource(tensor);
  if (Value known = position.values.lookup(source))
    return known;
  Value value = compute(source, position);
  // What is held in shared memory is not to take registers too.
  if (!findHeld(source, position))
    position.values[source] = value;
  return value;
}

Value RowThreads::compute(Value source, RowPosition &position) {
  int64_t width = position.layout.width, length = getNumElements(source);
  if (auto argument = dyn_cast<BlockArgument>(source)) {
    Value memory = memories.lookup(argument);
    if (isWholeMemory(program, argument))
      return loadVector(memory, constant(0), length,
                        position.layout.period == 0 &&
                            isAligned(memory, width, width),
                        position);
    readsOthers |= position.layout.isPoint;
    Value vector = findHeld(argument, position) ? loadHeld(argument, position)
                                                : loadRow(argument, position);
    return toType(vector, getElementTypeOrSelf(argument.getType()));
  }
  if (auto slice = source.getDefiningOp<tensor::ExtractSliceOp>()) {
    Value memory = memories.lookup(slice.getSource());
    Value number = scalars.lookup(slice.getDynamicOffset(0));
    Value base = arith::MulIOp::create(builder, number, constant(length),
                                       arith::IntegerOverflowFlags::nsw);
    bool aligned =
        position.layout.period == 0 && isAligned(memory, length, width);
    return loadVector(memory, base, length, aligned, position);
  }
  if (auto fill = source.getDefiningOp<linalg::FillOp>())
    return splat(scalars.lookup(fill.getInputs()[0]), width);
  if (isa_and_nonnull<tensor::EmptyOp>(source.getDefiningOp()))
    return zero(VectorType::get({width}, getElementTypeOrSelf(source)));
  if (Value scalar = scalars.lookupOrNull(source))
    return splat(scalar, width);
  auto shared = sharedRows.find(source);
  auto op = source.getDefiningOp<linalg::GenericOp>();
  switch (getRowPattern(op)) {
  case RowPattern::Map: {
    Values results = computeBody(op, position);
    for (auto [tensor, value] : llvm::zip_equal(op.getResults(), results))
      position.values[tensor] = value;
    return position.values.lookup(source);
  }
  case RowPattern::GroupSum:
    if (shared != sharedRows.end())
      return loadGroupSums(shared->second, position);
    return computeGroupSum(op, position);
  case RowPattern::ColumnSum:
    return computeColumnSum(op, position);
  case RowPattern::Reduction:
    break;
  }
  llvm_unreachable("reductions are scalars by now");
}

Value RowThreads::pullOperand(OpOperand &operand, RowPosition &position) {
  auto op = cast<linalg::GenericOp>(operand.getOwner());
  switch (classify(operand, position.layout)) {
  case Access::InPlace:
    return pull(operand.get(), position);
  case Access::Group: {
    int64_t width = op.getStaticLoopRanges()[1];
    Value value = pull(operand.get(), getGroupPosition(position, width));
    Value scalar = vector::ExtractOp::create(builder, value, 0);
    return splat(scalar, position.layout.width);
  }
  case Access::Flip:
    return flip(pull(operand.get(), position), position,
                LinearAccess(op, operand).strides[1]);
  case Access::Memory:
  case Access::Shared:
    return gather(operand, position);
  }
  llvm_unreachable("unknown access");
}

//===----------------------------------------------------------------------===//
// Bodies of generic ops
//===----------------------------------------------------------------------===//

/// The body of `op` on vectors: the elements of a map's results, the terms of a
/// reduction.
RowThreads::Values RowThreads::computeBody(linalg::GenericOp op,
                                           RowPosition &position) {
  int64_t width = position.layout.width;
  SmallVector<int64_t> sizes = op.getStaticLoopRanges();
  Block &body = *op.getBody();
  bool isMap = getRowPattern(op) == RowPattern::Map;
  IRMapping mapping;
  for (OpOperand *operand : op.getDpsInputOperands())
    mapping.map(op.getMatchingBlockArgument(operand),
                pullOperand(*operand, position));
  for (auto [init, argument] :
       llvm::zip_equal(op.getDpsInits(), op.getRegionOutputArgs()))
    if (isMap && !argument.use_empty())
      mapping.map(argument, pull(init, position));
  auto get = [&](Value value) {
    if (Value known = mapping.lookupOrNull(value))
      return known;
    Value vector = splat(scalars.lookup(value), width);
    mapping.map(value, vector);
    return vector;
  };
  SmallVector<Value> results(body.getTerminator()->getOperands());
  SmallPtrSet<Operation *, 4> combiners;
  if (!isMap)
    for (Value &result : results) {
      // accumulator + term
      combiners.insert(result.getDefiningOp());
      result = result.getDefiningOp()->getOperand(1);
    }
  for (Operation &nested : body.without_terminator()) {
    if (combiners.contains(&nested))
      continue;
    if (auto index = dyn_cast<linalg::IndexOp>(nested)) {
      mapping.map(index.getResult(), computeIndices(index, position, sizes));
      continue;
    }
    if (auto number = dyn_cast<arith::ConstantOp>(nested)) {
      auto type = VectorType::get({width}, number.getType());
      mapping.map(
          number.getResult(),
          arith::ConstantOp::create(
              builder, DenseElementsAttr::get(type, number.getValue())));
      continue;
    }
    SmallVector<Value> operands =
        llvm::map_to_vector(nested.getOperands(), get);
    OperationState state(
        nested.getLoc(), nested.getName(), operands,
        VectorType::get({width}, nested.getResult(0).getType()),
        nested.getAttrs());
    mapping.map(nested.getResult(0), builder.create(state)->getResult(0));
  }
  return llvm::map_to_vector(results, get);
}

/// Coordinate of each element along a dimension of the iteration space.
Value RowThreads::computeIndices(linalg::IndexOp op, RowPosition &position,
                                 ArrayRef<int64_t> sizes) {
  int64_t width = position.layout.width, stride = 1;
  for (int64_t size : sizes.drop_front(op.getDim() + 1))
    stride *= size;
  auto type = VectorType::get({width}, builder.getIndexType());
  SmallVector<Attribute> numbers;
  for (int64_t i = 0; i < width; ++i)
    numbers.push_back(builder.getIndexAttr(i));
  Value steps =
      arith::ConstantOp::create(builder, DenseElementsAttr::get(type, numbers));
  Value index =
      arith::AddIOp::create(builder, splat(position.first, width), steps);
  if (sizes.size() == 1)
    return index;
  // Unsigned: places before the row give numbers that nobody uses.
  if (stride > 1)
    index =
        arith::DivUIOp::create(builder, index, splat(constant(stride), width));
  return arith::RemUIOp::create(builder, index,
                                splat(constant(sizes[op.getDim()]), width));
}

//===----------------------------------------------------------------------===//
// Elements elsewhere
//===----------------------------------------------------------------------===//

/// The vector that lies `half` elements up or down the row: that of the lane
/// whose number differs in one bit.
Value RowThreads::flip(Value vector, RowPosition &position, int64_t half) {
  Value result = zero(vector.getType());
  int64_t width = position.layout.width;
  for (int64_t i = 0; i < width; ++i) {
    Value element = vector::ExtractOp::create(builder, vector, i);
    Type type = element.getType();
    element = toType(element, getComputeType(type));
    element = gpu::ShuffleOp::create(builder, element, half / width, kWarpSize,
                                     gpu::ShuffleMode::XOR)
                  .getShuffleResult();
    result =
        vector::InsertOp::create(builder, toType(element, type), result, i);
  }
  return result;
}

/// An operand that is not read in place, from memory or from what threads
/// share.
Value RowThreads::gather(OpOperand &operand, RowPosition &position) {
  auto op = cast<linalg::GenericOp>(operand.getOwner());
  LinearAccess access(op, operand);
  Value source = getRowSource(operand.get());
  int64_t width = position.layout.width, last = access.sizes.size() - 1;
  auto place = [&](Value iteration) {
    Value index = constant(access.constant);
    for (auto [size, stride, coefficient] :
         llvm::zip_equal(access.sizes, access.strides, access.coefficients)) {
      if (coefficient == 0 || size == 1)
        continue;
      Value number = iteration;
      if (stride > 1)
        number = arith::DivUIOp::create(builder, number, constant(stride));
      if (stride * size < position.layout.length || position.isBounded)
        number = arith::RemUIOp::create(builder, number, constant(size));
      index = offset(
          index, arith::MulIOp::create(builder, number, constant(coefficient)));
    }
    return index;
  };
  // A vector of consecutive iterations stays within the last dimension.
  auto shared = sharedRows.find(source);
  bool isRun = position.layout.period == 0 && access.sizes[last] % width == 0 &&
               access.constant % width == 0;
  for (int64_t coefficient : ArrayRef(access.coefficients).drop_back())
    isRun &= coefficient % width == 0 || access.coefficients[last] == 0;
  if (shared != sharedRows.end() && geometry.rowsPerBlock > 1)
    isRun &= shared->second.length % width == 0;
  auto load = [&](Value iteration, int64_t count) -> Value {
    if (shared != sharedRows.end())
      return loadShared(shared->second, place(iteration), count);
    RowPosition there;
    there.layout.width = count;
    there.layout.isPoint = true;
    there.first = place(iteration);
    return compute(source, there);
  };
  if (isRun && access.coefficients[last] == 1)
    return load(position.first, width);
  if (isRun && access.coefficients[last] == 0) {
    Value scalar =
        vector::ExtractOp::create(builder, load(position.first, 1), 0);
    return splat(scalar, width);
  }
  Value result;
  for (int64_t i = 0; i < width; ++i) {
    Value one = vector::ExtractOp::create(
        builder, load(offset(position.first, i), 1), 0);
    if (!result)
      result = zero(VectorType::get({width}, one.getType()));
    result = vector::InsertOp::create(builder, one, result, i);
  }
  return result;
}

/// Sums of groups that threads share. Of a few, vectors need not be aligned.
Value RowThreads::loadGroupSums(const SharedRow &shared,
                                RowPosition &position) {
  int64_t width = position.layout.width;
  auto place = [&](int64_t index) -> Value {
    return arith::RemUIOp::create(builder, offset(position.first, index),
                                  constant(shared.length));
  };
  if (position.layout.period == 0 && shared.length % width == 0)
    return loadShared(shared, place(0), width);
  Value result = zero(VectorType::get({width}, builder.getF32Type()));
  for (int64_t index = 0; index < width; ++index) {
    Value one = vector::ExtractOp::create(
        builder, loadShared(shared, place(index), 1), 0);
    result = vector::InsertOp::create(builder, one, result, index);
  }
  return result;
}

/// One element of a row, the same for all its threads.
Value RowThreads::emitPoint(tensor::ExtractOp op) {
  RowPosition point;
  point.layout.isPoint = true;
  point.first = scalars.lookup(op.getIndices()[0]);
  prepare(op.getTensor(), point.layout);
  return vector::ExtractOp::create(builder, pull(op.getTensor(), point), 0);
}
