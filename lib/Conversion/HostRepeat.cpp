// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nag.repeat of a host function as a loop around a call.
#include "HostFunction.h"

using namespace mlir;
using namespace nag;

static int64_t sliceBytes(Value stack) {
  auto type = cast<RankedTensorType>(stack.getType());
  return getTypeBytes(type) / type.getDimSize(0);
}

/// Starts the loop: from here on the builder stands in its body.
RepeatLoop HostFunctionLowering::beginLoop(RepeatOp op, func::FuncOp callee) {
  unsigned numCarry = op.getCarry().size();
  auto slots = op->getAttrOfType<ArrayAttr>(kCarrySlotsAttrName);
  RepeatLoop loop;
  SmallVector<Value> starts{constant(0)};
  loop.carries.resize(numCarry);
  for (unsigned carry = 0; carry < numCarry; ++carry) {
    if (callee.getResultAttr(carry, kForwardsAttrName) ||
        isUpdated(callee, carry) || findStackOf(callee, carry, numCarry))
      continue;
    Value first = getSlotPointer(slots[2 * carry]);
    Value second = getSlotPointer(slots[2 * carry + 1]);
    llvm::append_values(starts, getPointer(op.getCarry()[carry]), first,
                        second);
    loop.carries[carry].resize(3);
  }
  SmallVector<Type> types{builder.getI64Type()};
  types.append(starts.size() - 1, pointerType);
  Block *before = builder.getInsertionBlock();
  loop.body =
      builder.createBlock(&target.getBody(), target.getBody().end(), types,
                          SmallVector<Location>(types.size(), op.getLoc()));
  builder.setInsertionPointToEnd(before);
  LLVM::BrOp::create(builder, starts, loop.body);
  builder.setInsertionPointToStart(loop.body);
  ArrayRef<BlockArgument> blockArguments = loop.body->getArguments();
  loop.index = loop.counter = blockArguments.consume_front();
  for (SmallVector<Value, 3> &carry : loop.carries)
    for (Value &pointer : carry)
      pointer = blockArguments.consume_front();
  if (op.getReverse())
    loop.index =
        LLVM::SubOp::create(builder, constant(op.getCount() - 1), loop.index);
  return loop;
}

/// Ends the body: what this iteration wrote is what the next reads.
void HostFunctionLowering::endLoop(RepeatOp op, const RepeatLoop &loop) {
  Value next = LLVM::AddOp::create(builder, loop.counter, constant(1));
  SmallVector<Value> values{next};
  for (const SmallVector<Value, 3> &carry : loop.carries)
    if (!carry.empty())
      llvm::append_values(values, carry[1], carry[2], carry[1]);
  Value more = LLVM::ICmpOp::create(builder, LLVM::ICmpPredicate::ult, next,
                                    constant(op.getCount()));
  Block *body = builder.getInsertionBlock();
  Block *exit = builder.createBlock(&target.getBody(), target.getBody().end());
  builder.setInsertionPointToEnd(body);
  LLVM::CondBrOp::create(builder, more, loop.body, values, exit, ValueRange());
  builder.setInsertionPointToStart(exit);
}

/// Where an iteration writes carry `carry`, whose values `stack` holds: the
/// next one's slice, and at last the result.
Value HostFunctionLowering::getNextSlice(RepeatOp op, const RepeatLoop &loop,
                                         Value stack, unsigned carry) {
  Value result = getPointer(op->getResult(carry));
  if (op.getCount() == 1)
    return result;
  int64_t bytes = sliceBytes(stack);
  Value next = advance(advance(getPointer(stack), loop.counter, bytes), bytes);
  auto slots = op->getAttrOfType<ArrayAttr>(kSlotsAttrName);
  auto last = cast<SlotAttr>(slots[carry]);
  auto first = cast<SlotAttr>(slots[cast<OpResult>(stack).getResultNumber()]);
  if (last.getBase() == first.getBase() &&
      last.getIndex() == first.getIndex() &&
      last.getOffset() == first.getOffset() + getTypeBytes(stack.getType()))
    return next;
  Value isLast =
      LLVM::ICmpOp::create(builder, LLVM::ICmpPredicate::eq, loop.counter,
                           constant(op.getCount() - 1));
  return LLVM::SelectOp::create(builder, isLast, result, next);
}

void HostFunctionLowering::lowerRepeat(RepeatOp op) {
  auto callee = symbols.lookup<func::FuncOp>(op.getCallee());
  unsigned numCarry = op.getCarry().size();
  // Pointers that do not change are computed in front of the loop.
  for (Value value : llvm::concat<Value>(op->getOperands(), op->getResults()))
    getPointer(value);
  Value pointerArray =
      allocatePointerArray(callee.getNumArguments() + callee.getNumResults());
  RepeatLoop loop = beginLoop(op, callee);
  Value stackIndex =
      op.getFirst() == 0
          ? loop.index
          : LLVM::AddOp::create(builder, loop.index, constant(op.getFirst()));
  auto stackedSlice = [&](Value stack, Value index) {
    return advance(getPointer(stack), index, sliceBytes(stack));
  };
  SmallVector<Value> buffers;
  for (unsigned carry = 0; carry < numCarry; ++carry) {
    if (auto stack = findStackOf(callee, carry, numCarry))
      buffers.push_back(stackedSlice(op->getResult(*stack), loop.index));
    else if (loop.carries[carry].empty())
      buffers.push_back(getPointer(op.getCarry()[carry]));
    else
      buffers.push_back(loop.carries[carry][0]);
  }
  for (Value stack : op.getStacked())
    buffers.push_back(stackedSlice(stack, stackIndex));
  for (Value value : op.getShared())
    buffers.push_back(getPointer(value));
  appendResultBuffers(callee, buffers, [&](unsigned index) -> Value {
    if (index >= numCarry)
      return stackedSlice(op->getResult(index), loop.index);
    auto stack = findStackOf(callee, index, numCarry);
    return stack ? getNextSlice(op, loop, op->getResult(*stack), index)
                 : loop.carries[index][1];
  });
  callHost(callee, buffers, op->getAttr(kCalleeSlotAttrName), pointerArray);
  endLoop(op, loop);
}
