// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "CallVJP.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace nag;

void nag::appendTensors(ImplicitLocOpBuilder &b, Cotangent cotangent, Type type,
                        SmallVectorImpl<Value> &tensors) {
  Value parts[] = {cotangent.value, cotangent.logNorm};
  for (auto [index, partType] : llvm::enumerate(getCotangentTypes(type)))
    tensors.push_back(
        parts[index] ? parts[index]
                     : arith::ConstantOp::create(b, b.getZeroAttr(partType)));
}

Cotangent nag::takeCotangent(Type type, ValueRange &tensors) {
  Cotangent cotangent = {tensors.front(), nullptr};
  tensors = tensors.drop_front();
  if (isa<StreamType>(type)) {
    cotangent.logNorm = tensors.front();
    tensors = tensors.drop_front();
  }
  return cotangent;
}

namespace {

/// Operands of a call, group by group.
struct CallOperands {
  SmallVector<Value> carry, stacked, shared;
};

/// Which slices of its stacks a repeat visits, and in which order.
struct Iteration {
  int64_t first = 0;
  bool reverse = false;
};

Type stackType(Type slice, int64_t count) {
  auto type = cast<RankedTensorType>(slice);
  SmallVector<int64_t> shape = {count};
  llvm::append_range(shape, type.getShape());
  return RankedTensorType::get(shape, type.getElementType());
}

/// A call of `callee` of the same kind as `like`: a plain call or a repeat.
ResultRange emitCall(ImplicitLocOpBuilder &b, Operation *like,
                     func::FuncOp callee, const CallOperands &operands,
                     Iteration iteration) {
  auto repeat = dyn_cast<RepeatOp>(like);
  if (!repeat) {
    SmallVector<Value> all(operands.carry);
    llvm::append_range(all, operands.stacked);
    llvm::append_range(all, operands.shared);
    return func::CallOp::create(b, callee, all).getResults();
  }
  int64_t count = repeat.getCount();
  ArrayRef<Type> results = callee.getResultTypes();
  size_t numCarry = operands.carry.size();
  auto stacks =
      llvm::map_to_vector(results.drop_front(numCarry),
                          [&](Type slice) { return stackType(slice, count); });
  return RepeatOp::create(b, results.take_front(numCarry), stacks,
                          callee.getName(), count, operands.carry,
                          operands.stacked, operands.shared, iteration.first,
                          iteration.reverse)
      ->getResults();
}

/// Where slices `first`..`first`+`count` lie in a stack.
struct SliceBounds {
  SmallVector<OpFoldResult> offsets, sizes, strides;
};

SliceBounds sliceBounds(Builder &b, RankedTensorType stack, int64_t first,
                        int64_t count) {
  SliceBounds bounds;
  for (int64_t size : stack.getShape()) {
    bounds.offsets.push_back(b.getIndexAttr(0));
    bounds.sizes.push_back(b.getIndexAttr(size));
    bounds.strides.push_back(b.getIndexAttr(1));
  }
  bounds.offsets.front() = b.getIndexAttr(first);
  bounds.sizes.front() = b.getIndexAttr(count);
  return bounds;
}

/// Builds the reverse of one call site.
class CallReverser {
public:
  CallReverser(const CallSite &callSite, const CallActivity &callActivity,
               const Derivative &calleeDerivative, OpBuilder &builder)
      : site(callSite), activity(callActivity), derivative(calleeDerivative),
        b(site.op->getLoc(), builder) {
    if (auto repeat = dyn_cast<RepeatOp>(site.op)) {
      count = repeat.getCount();
      iteration = {static_cast<int64_t>(repeat.getFirst()),
                   repeat.getReverse()};
    }
  }

  /// Replaces the call's results by those of the forward function; keeps its
  /// residuals.
  void replaceByForward() {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(site.op);
    const CallShape &shape = site.shape;
    OperandRange all = site.op->getOperands();
    CallOperands operands = {
        llvm::to_vector(all.take_front(shape.numCarry)),
        llvm::to_vector(all.slice(shape.numCarry, shape.numStacked)),
        llvm::to_vector(all.drop_front(shape.firstShared()))};
    ResultRange results =
        emitCall(b, site.op, derivative.forward, operands, iteration);
    unsigned numResults = site.op->getNumResults();
    site.op->replaceAllUsesWith(results.take_front(numResults));
    residuals.assign(results.begin() + numResults, results.end());
  }

  SmallVector<Cotangent> buildBackward(ArrayRef<Cotangent> cotangents) {
    CallOperands operands;
    appendResultCotangents(cotangents, /*carry=*/true, operands.carry);
    forEachActive(/*shared=*/true, [&](unsigned index) {
      appendTensors(b, {}, operandType(index), operands.carry);
    });
    operands.stacked = residuals;
    appendNeeded(/*shared=*/false, operands.stacked);
    appendResultCotangents(cotangents, /*carry=*/false, operands.stacked);
    appendNeeded(/*shared=*/true, operands.shared);
    ValueRange results = emitCall(b, site.op, derivative.backward, operands,
                                  {0, !iteration.reverse});
    return distribute(results);
  }

private:
  Type operandType(unsigned index) const {
    return site.op->getOperand(index).getType();
  }

  void forEachActive(bool shared, llvm::function_ref<void(unsigned)> visit) {
    for (unsigned index : activity.operands.set_bits())
      if (site.shape.isShared(index) == shared)
        visit(index);
  }

  void appendResultCotangents(ArrayRef<Cotangent> cotangents, bool carry,
                              SmallVectorImpl<Value> &tensors) {
    for (unsigned index : activity.results.set_bits())
      if (site.shape.isCarry(index) == carry)
        appendTensors(b, cotangents[index], site.op->getResult(index).getType(),
                      tensors);
  }

  void appendNeeded(bool shared, SmallVectorImpl<Value> &values) {
    for (unsigned index : derivative.neededArguments.set_bits()) {
      if (site.shape.isShared(index) != shared)
        continue;
      Value operand = site.op->getOperand(index);
      values.push_back(shared ? operand : usedSlices(operand));
    }
  }

  bool usesWholeStack(RankedTensorType stack) const {
    return !count || (iteration.first == 0 && stack.getDimSize(0) == count);
  }

  /// The slices of a stack that the repeat visits.
  Value usedSlices(Value operand) {
    auto type = dyn_cast<RankedTensorType>(operand.getType());
    if (!type || usesWholeStack(type))
      return operand;
    SliceBounds bounds = sliceBounds(b, type, iteration.first, count);
    return tensor::ExtractSliceOp::create(b, operand, bounds.offsets,
                                          bounds.sizes, bounds.strides);
  }

  /// The cotangent of a whole stack from that of the visited slices.
  Value wholeStack(Value slices, Type type) {
    auto stack = dyn_cast<RankedTensorType>(type);
    if (!stack || usesWholeStack(stack))
      return slices;
    SliceBounds bounds = sliceBounds(b, stack, iteration.first, count);
    Value zeros = arith::ConstantOp::create(b, b.getZeroAttr(stack));
    return tensor::InsertSliceOp::create(b, slices, zeros, bounds.offsets,
                                         bounds.sizes, bounds.strides);
  }

  /// The backward function's results, given to the operands they belong to.
  SmallVector<Cotangent> distribute(ValueRange results) {
    SmallVector<Cotangent> cotangents(site.op->getNumOperands());
    auto take = [&](unsigned index) {
      cotangents[index] = takeCotangent(operandType(index), results);
    };
    forEachActive(/*shared=*/false, [&](unsigned index) {
      if (site.shape.isCarry(index))
        take(index);
    });
    forEachActive(/*shared=*/true, take);
    forEachActive(/*shared=*/false, [&](unsigned index) {
      if (site.shape.isCarry(index))
        return;
      take(index);
      Value &value = cotangents[index].value;
      value = wholeStack(value, operandType(index));
    });
    return cotangents;
  }

  const CallSite &site;
  const CallActivity &activity;
  const Derivative &derivative;
  ImplicitLocOpBuilder b;
  /// Of a repeat; 0 for a plain call.
  int64_t count = 0;
  Iteration iteration;
  SmallVector<Value> residuals;
};

} // namespace

SmallVector<Cotangent> nag::buildCallVJP(const CallSite &site,
                                         const CallActivity &activity,
                                         const Derivative &derivative,
                                         OpBuilder &builder,
                                         ArrayRef<Cotangent> resultCotangents) {
  CallReverser reverser(site, activity, derivative, builder);
  reverser.replaceByForward();
  return reverser.buildBackward(resultCotangents);
}

//===----------------------------------------------------------------------===//
// Cotangents of stacks that several calls share
//===----------------------------------------------------------------------===//

/// The insertions of slices into zeros that make `value`, the last one first;
/// none when it is made in another way.
static SmallVector<tensor::InsertSliceOp> findInsertions(Value value) {
  SmallVector<tensor::InsertSliceOp> insertions;
  while (auto insert = value.getDefiningOp<tensor::InsertSliceOp>()) {
    insertions.push_back(insert);
    value = insert.getDest();
  }
  if (!matchPattern(value, m_AnyZeroFloat()))
    insertions.clear();
  return insertions;
}

/// The insertions ordered by where they begin along the first dimension; none
/// when two of them meet or one is cut along another dimension.
static SmallVector<tensor::InsertSliceOp>
sortApart(SmallVector<tensor::InsertSliceOp> insertions) {
  auto begin = [](tensor::InsertSliceOp op) { return op.getStaticOffset(0); };
  llvm::sort(insertions, [&](auto a, auto b) { return begin(a) < begin(b); });
  int64_t end = 0;
  for (tensor::InsertSliceOp insert : insertions) {
    ArrayRef<int64_t> slice = insert.getSourceType().getShape();
    ArrayRef<int64_t> stack = insert.getResultType().getShape();
    if (insert.isDynamicOffset(0) || !insert.hasUnitStride() ||
        slice.size() != stack.size() || begin(insert) < end ||
        slice.drop_front() != stack.drop_front())
      return {};
    end = begin(insert) + slice.front();
  }
  return insertions;
}

Value nag::joinStacks(OpBuilder &builder, Location loc, Value sum, Value term) {
  SmallVector<tensor::InsertSliceOp> left = findInsertions(sum);
  SmallVector<tensor::InsertSliceOp> right = findInsertions(term);
  if (left.empty() || right.size() != 1)
    return Value();
  tensor::InsertSliceOp last = right.front();
  llvm::append_range(left, right);
  SmallVector<tensor::InsertSliceOp> all = sortApart(std::move(left));
  if (all.empty())
    return Value();
  int64_t slices = 0;
  SmallVector<Value> parts;
  for (tensor::InsertSliceOp insert : all) {
    parts.push_back(insert.getSource());
    slices += insert.getSourceType().getDimSize(0);
  }
  if (slices == last.getResultType().getDimSize(0))
    return tensor::ConcatOp::create(builder, loc, /*dim=*/0, parts);
  return tensor::InsertSliceOp::create(
      builder, loc, last.getSource(), sum, last.getMixedOffsets(),
      last.getMixedSizes(), last.getMixedStrides());
}
