// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "HostUses.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace nag;

int64_t nag::bytesOf(Value value) { return getTypeBytes(value.getType()); }

std::optional<ViewPart> nag::getViewOf(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op || isa<tensor::ConcatOp, tensor::InsertSliceOp>(op))
    return std::nullopt;
  auto parts = getViewParts(op);
  return parts ? std::optional(parts->front()) : std::nullopt;
}

Value nag::getViewRoot(Value value) {
  while (auto view = getViewOf(value))
    value = view->whole;
  return value;
}

void nag::forEachUse(Value value, function_ref<void(OpOperand &)> visit) {
  SmallVector<Value> worklist{getViewRoot(value)};
  while (!worklist.empty())
    for (OpOperand &use : worklist.pop_back_val().getUses()) {
      Operation *user = use.getOwner();
      if (user->getNumResults() == 1 && getViewOf(user->getResult(0)))
        worklist.push_back(user->getResult(0));
      else
        visit(use);
    }
}

bool nag::isForwardedCarry(OpOperand &use, SymbolTableCollection &symbols) {
  auto repeat = dyn_cast<RepeatOp>(use.getOwner());
  if (!repeat || use.getOperandNumber() >= repeat.getCarry().size())
    return false;
  auto callee = symbols.lookupNearestSymbolFrom<func::FuncOp>(
      repeat, repeat.getCalleeAttr());
  return callee.getResultAttr(use.getOperandNumber(), kForwardsAttrName) !=
         nullptr;
}

bool nag::diesAt(Value value, Operation *user, SymbolTableCollection &symbols) {
  unsigned uses = 0;
  bool dies = true;
  forEachUse(value, [&](OpOperand &use) {
    uses += use.getOwner() == user;
    dies &= !user->isBeforeInBlock(use.getOwner()) &&
            !isForwardedCarry(use, symbols);
  });
  return dies && uses == 1;
}

/// The input that the kernel of `launch` names, by the attribute `name`, for
/// result `index`.
static std::optional<unsigned> getNamedInput(LaunchOp launch, unsigned index,
                                             StringRef name,
                                             SymbolTableCollection &symbols) {
  auto kernel = symbols.lookupNearestSymbolFrom<FunctionOpInterface>(
      launch, launch.getKernelAttr());
  if (!kernel)
    return std::nullopt;
  auto input = kernel.getArgAttrOfType<IntegerAttr>(
      launch.getInputs().size() + index, name);
  if (!input || uint64_t(input.getInt()) >= launch.getInputs().size())
    return std::nullopt;
  return input.getInt();
}

std::optional<unsigned> nag::getSharedInput(LaunchOp launch, unsigned index,
                                            SymbolTableCollection &symbols) {
  auto input = getNamedInput(launch, index, kSharesAttrName, symbols);
  if (!input ||
      bytesOf(launch.getInputs()[*input]) != bytesOf(launch->getResult(index)))
    return std::nullopt;
  return input;
}

std::optional<unsigned> nag::getUpdatedInput(LaunchOp launch, unsigned index,
                                             SymbolTableCollection &symbols) {
  return getNamedInput(launch, index, kUpdatesAttrName, symbols);
}

/// The result of a launch that must and may stand where `value` does.
static Value findUpdate(Value value, SymbolTableCollection &symbols) {
  for (OpOperand &use : value.getUses()) {
    auto launch = dyn_cast<LaunchOp>(use.getOwner());
    if (!launch || !diesAt(value, launch, symbols))
      continue;
    for (OpResult result : launch->getResults()) {
      unsigned index = result.getResultNumber();
      if (getUpdatedInput(launch, index, symbols) == use.getOperandNumber() &&
          getSharedInput(launch, index, symbols) == use.getOperandNumber())
        return result;
    }
  }
  return Value();
}

SmallVector<Value> nag::findUpdates(BlockArgument argument,
                                    SymbolTableCollection &symbols) {
  SmallVector<Value> updates;
  for (Value value = findUpdate(argument, symbols); value;
       value = findUpdate(value, symbols))
    updates.push_back(value);
  return updates;
}
