// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -nag-hoist-roundings: layer functions take weights, and what is carried from
// layer to layer, rounded to bf16.
#include "Roundings.h"
#include "nag/Dialect/Nag/Transforms/Precision.h"
#include "nag/Dialect/Nag/Transforms/RoutingPasses.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace nag {
#define GEN_PASS_DEF_NAGHOISTROUNDINGS
#include "nag/Dialect/Nag/Transforms/Precision.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

/// True when all that `argument` is read for is its rounding to bf16.
static bool isOnlyRounded(BlockArgument argument) {
  return !argument.use_empty() && llvm::all_of(argument.getUsers(), isRounding);
}

/// The calls of `function`; nothing where it is used otherwise or may be called
/// from elsewhere.
static std::optional<SmallVector<Operation *>> findCalls(func::FuncOp function,
                                                         ModuleOp module) {
  auto uses = SymbolTable::getSymbolUses(function, module);
  if (!function.isPrivate() || function.isExternal() || !uses)
    return std::nullopt;
  SmallVector<Operation *> calls;
  for (const SymbolTable::SymbolUse &use : *uses) {
    if (!isa<func::CallOp, RepeatOp>(use.getUser()))
      return std::nullopt;
    calls.push_back(use.getUser());
  }
  return calls;
}

/// What a call carries on has to keep its type.
static bool isCarried(Operation *call, unsigned index) {
  auto repeat = dyn_cast<RepeatOp>(call);
  return repeat && index < repeat.getCarry().size();
}

static bool isParameter(Value value) {
  auto argument = dyn_cast<BlockArgument>(value);
  auto function =
      argument ? dyn_cast<func::FuncOp>(argument.getOwner()->getParentOp())
               : func::FuncOp();
  return function &&
         function.getArgAttr(argument.getArgNumber(), kParamAttrName);
}

/// Rounds `value`; of some layers' slice of a parameter, the whole parameter,
/// of which there may be a copy (-nag-keep-roundings).
static Value createRounding(OpBuilder &builder, Location loc, Value value) {
  auto slice = value.getDefiningOp<tensor::ExtractSliceOp>();
  Value whole =
      slice && isParameter(slice.getSource()) ? slice.getSource() : value;
  Value rounded = arith::TruncFOp::create(
      builder, loc, getRoundedType(whole.getType()), whole);
  if (whole == value)
    return rounded;
  return tensor::ExtractSliceOp::create(
      builder, loc, getRoundedType(value.getType()), rounded,
      slice.getMixedOffsets(), slice.getMixedSizes(), slice.getMixedStrides());
}

static void roundInCallers(BlockArgument argument,
                           ArrayRef<Operation *> calls) {
  argument.setType(getRoundedType(argument.getType()));
  for (Operation *user : llvm::make_early_inc_range(argument.getUsers())) {
    user->getResult(0).replaceAllUsesWith(argument);
    user->erase();
  }
  for (Operation *call : calls) {
    OpOperand &operand = call->getOpOperand(argument.getArgNumber());
    OpBuilder builder(call);
    operand.set(createRounding(builder, call->getLoc(), operand.get()));
  }
}

/// Returns true when an argument of `function` has changed.
static bool hoistFrom(func::FuncOp function, ModuleOp module) {
  std::optional<SmallVector<Operation *>> calls = findCalls(function, module);
  if (!calls)
    return false;
  bool changed = false;
  for (BlockArgument argument : function.getArguments()) {
    bool carried = llvm::any_of(*calls, [&](Operation *call) {
      return isCarried(call, argument.getArgNumber());
    });
    if (carried || !isOnlyRounded(argument))
      continue;
    roundInCallers(argument, *calls);
    changed = true;
  }
  if (changed)
    function.setFunctionType(FunctionType::get(
        function.getContext(), function.front().getArgumentTypes(),
        function.getResultTypes()));
  return changed;
}

//===----------------------------------------------------------------------===//
// What is carried from layer to layer
//===----------------------------------------------------------------------===//

/// Gives `repeat` one more carried value, the rounding of carried value
/// `index`, behind the others.
static void carryRounding(RepeatOp repeat, unsigned index, Type type) {
  ImplicitLocOpBuilder builder(repeat.getLoc(), repeat);
  SmallVector<Value> carry(repeat.getCarry());
  carry.push_back(arith::TruncFOp::create(builder, type, carry[index]));
  SmallVector<Type> types(repeat.getCarryResults().getTypes());
  types.push_back(type);
  auto carrying = RepeatOp::create(
      builder, types, repeat.getStackedResults().getTypes(),
      repeat.getCalleeAttr(), repeat.getCountAttr(), carry, repeat.getStacked(),
      repeat.getShared(), repeat.getFirstAttr(), repeat.getReverseAttr());
  carrying->setDiscardableAttrs(repeat->getDiscardableAttrDictionary());
  // Whoever rounds the last value has it rounded already.
  Value last = repeat.getCarryResults()[index];
  replaceRoundings(last, carrying.getCarryResults().back());
  repeat.getCarryResults().replaceAllUsesWith(
      carrying.getCarryResults().drop_back());
  repeat.getStackedResults().replaceAllUsesWith(carrying.getStackedResults());
  repeat.erase();
}

/// Lets `function`, which rounds a carried argument, be given its rounding, and
/// return that of the result, where it is made. Returns true if it did.
static bool carryFrom(func::FuncOp function, ModuleOp module) {
  std::optional<SmallVector<Operation *>> calls = findCalls(function, module);
  if (!calls || calls->empty() ||
      !llvm::all_of(*calls, llvm::IsaPred<RepeatOp>))
    return false;
  unsigned count = cast<RepeatOp>(calls->front()).getCarry().size();
  for (unsigned index = 0; index < count; ++index) {
    BlockArgument argument = function.getArgument(index);
    auto rounding = llvm::find_if(argument.getUsers(), isRounding);
    if (rounding == argument.getUsers().end())
      continue;
    Type type = rounding->getResult(0).getType();
    if (failed(function.insertArgument(count, type, {}, argument.getLoc())) ||
        failed(function.insertResult(count, type, {})))
      return false;
    Operation *end = function.front().getTerminator();
    OpBuilder builder(end);
    Value rounded = arith::TruncFOp::create(builder, end->getLoc(), type,
                                            end->getOperand(index));
    end->insertOperands(count, rounded);
    // Of routed rows only those executed are rounded, while it can be seen
    // whose rounding the others are.
    reuseRows(function.front());
    replaceRoundings(argument, function.getArgument(count));
    for (Operation *call : *calls)
      carryRounding(cast<RepeatOp>(call), index, type);
    return true;
  }
  return false;
}

/// What `repeat` carries that is the rounding of what it carries as number
/// `index`, by the end of its layers' function; null for nothing.
static Value findCarriedRounding(RepeatOp repeat, Operation *end,
                                 unsigned index) {
  for (auto [other, carried] : llvm::enumerate(repeat.getCarryResults())) {
    Operation *made = end->getOperand(other).getDefiningOp();
    if (made && isRounding(made) &&
        made->getOperand(0) == end->getOperand(index))
      return carried;
  }
  return {};
}

/// Nobody behind `repeat` rounds what it has rounded already.
static void useCarriedRoundings(RepeatOp repeat, func::FuncOp layer) {
  Operation *end = layer.front().getTerminator();
  for (auto [index, last] : llvm::enumerate(repeat.getCarryResults()))
    if (Value rounded = findCarriedRounding(repeat, end, index))
      replaceRoundings(last, rounded);
}

namespace {
struct HoistRoundings : nag::impl::NagHoistRoundingsBase<HoistRoundings> {
  void runOnOperation() override {
    // A caller may be called itself.
    bool changed = true;
    while (changed) {
      changed = false;
      for (auto function : getOperation().getOps<func::FuncOp>())
        changed |= hoistFrom(function, getOperation()) ||
                   carryFrom(function, getOperation());
    }
    getOperation().walk([&](RepeatOp repeat) {
      auto layer = SymbolTable::lookupNearestSymbolFrom<func::FuncOp>(
          repeat, repeat.getCalleeAttr());
      if (!layer.isExternal())
        useCarriedRoundings(repeat, layer);
    });
  }
};
} // namespace
