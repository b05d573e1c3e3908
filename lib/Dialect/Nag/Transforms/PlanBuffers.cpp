// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -nag-plan-buffers: a static memory plan of the host program.
#include "HostUses.h"
#include "PlacementPlanner.h"
#include "nag/Dialect/Nag/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/Format.h"

namespace nag {
#define GEN_PASS_DEF_NAGPLANBUFFERS
#include "nag/Dialect/Nag/Transforms/Passes.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

namespace {

/// The calls between the host functions of a program.
struct CallGraph {
  explicit CallGraph(ModuleOp program) {
    for (auto function : program.getOps<func::FuncOp>())
      function.walk([&](Operation *op) {
        if (auto repeat = dyn_cast<RepeatOp>(op))
          addCall(program, function, repeat, repeat.getCallee());
        else if (auto call = dyn_cast<func::CallOp>(op))
          addCall(program, function, call, call.getCallee());
      });
  }

  void addCall(ModuleOp program, func::FuncOp caller, Operation *call,
               StringRef name) {
    auto callee = program.lookupSymbol<func::FuncOp>(name);
    callees[caller].push_back({call, callee});
    callers[callee].push_back(call);
  }

  using Call = std::pair<Operation *, func::FuncOp>;
  DenseMap<func::FuncOp, SmallVector<Call>> callees;
  DenseMap<func::FuncOp, SmallVector<Operation *>> callers;
};

struct PlanBuffersPass : nag::impl::NagPlanBuffersBase<PlanBuffersPass> {
  using Base::Base;

  void runOnOperation() override {
    if (skew < 0) {
      getOperation().emitError(
          "expected 'skew' to be 0 bytes or more, but got ")
          << int64_t(skew);
      return signalPassFailure();
    }
    CallGraph graph(getOperation());
    SmallVector<func::FuncOp> order;
    DenseMap<func::FuncOp, bool> isDone;
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (failed(verifyHost(function)) ||
          failed(sortCalleesFirst(function, graph, order, isDone)))
        return signalPassFailure();
    for (func::FuncOp function : order) {
      markForwards(function, graph.callers.lookup(function));
      markUpdates(function, graph.callers.lookup(function));
    }
    for (func::FuncOp function : order)
      plan(function, graph.callees.lookup(function));
  }

private:
  LogicalResult verifyHost(func::FuncOp function);
  LogicalResult sortCalleesFirst(func::FuncOp function, const CallGraph &graph,
                                 SmallVectorImpl<func::FuncOp> &order,
                                 DenseMap<func::FuncOp, bool> &isDone);
  void markForwards(func::FuncOp function, ArrayRef<Operation *> callers);
  void markUpdates(func::FuncOp function, ArrayRef<Operation *> callers);
  void plan(func::FuncOp function, ArrayRef<CallGraph::Call> calls);
};

/// Buffers that calls need for their callees' workspaces.
using CalleeBuffers = SmallVector<std::pair<Operation *, unsigned>>;
} // namespace

LogicalResult PlanBuffersPass::verifyHost(func::FuncOp function) {
  if (failed(verifyHostSignature(function)))
    return failure();
  if (!llvm::hasSingleElement(function.getBody()))
    return function.emitOpError("expected one block, but got ")
           << function.getBody().getBlocks().size();
  Block &block = function.getBody().front();
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block))) {
    if (isOpTriviallyDead(&op)) {
      op.erase();
      continue;
    }
    bool onTensors =
        llvm::all_of(op.getResultTypes(), llvm::IsaPred<RankedTensorType>);
    if (!isHostOp(&op) || isa<KernelOp>(op) || !onTensors)
      return op.emitOpError("expected only launches, calls, contiguous views "
                            "and constants on tensors outside of kernels");
  }
  return success();
}

LogicalResult
PlanBuffersPass::sortCalleesFirst(func::FuncOp function, const CallGraph &graph,
                                  SmallVectorImpl<func::FuncOp> &order,
                                  DenseMap<func::FuncOp, bool> &isDone) {
  auto [entry, isNew] = isDone.insert({function, false});
  if (!isNew)
    return entry->second ? success()
                         : function.emitOpError(
                               "expected no recursion, but it calls itself");
  for (auto [call, callee] : graph.callees.lookup(function))
    if (failed(sortCalleesFirst(callee, graph, order, isDone)))
      return failure();
  isDone[function] = true;
  order.push_back(function);
  return success();
}

/// The carry that result `index` hands back unchanged and that every caller can
/// find without a copy: a carry result, or the first stack of that carry in a
/// forward loop.
static bool canForward(ArrayRef<Operation *> callers, unsigned index,
                       unsigned carry, bool isFirstStack) {
  return !callers.empty() && llvm::all_of(callers, [&](Operation *caller) {
    auto repeat = dyn_cast<RepeatOp>(caller);
    if (!repeat || carry >= repeat.getCarry().size())
      return false;
    bool isCarry = index < repeat.getCarry().size();
    return isCarry ? index == carry : isFirstStack && !repeat.getReverse();
  });
}

void PlanBuffersPass::markForwards(func::FuncOp function,
                                   ArrayRef<Operation *> callers) {
  if (!function.isPrivate())
    return;
  llvm::SmallDenseSet<unsigned> forwarded;
  Operation *ret = function.getBody().front().getTerminator();
  for (auto [index, value] : llvm::enumerate(ret->getOperands())) {
    auto argument = dyn_cast<BlockArgument>(value);
    if (!argument)
      continue;
    unsigned carry = argument.getArgNumber();
    bool isFirst = !forwarded.contains(carry);
    if (!canForward(callers, index, carry, isFirst))
      continue;
    forwarded.insert(carry);
    function.setResultAttr(
        index, kForwardsAttrName,
        IntegerAttr::get(IntegerType::get(&getContext(), 64), carry));
  }
}

/// Marks the carries that a layer updates in place, where all that call it are
/// loops over layers.
void PlanBuffersPass::markUpdates(func::FuncOp function,
                                  ArrayRef<Operation *> callers) {
  if (!function.isPrivate() || callers.empty())
    return;
  unsigned numCarry = function.getNumArguments();
  for (Operation *caller : callers) {
    auto repeat = dyn_cast<RepeatOp>(caller);
    numCarry =
        std::min<unsigned>(numCarry, repeat ? repeat.getCarry().size() : 0);
  }
  SymbolTableCollection symbols;
  Operation *ret = function.getBody().front().getTerminator();
  for (unsigned carry = 0; carry < numCarry; ++carry) {
    SmallVector<Value> updates =
        findUpdates(function.getArgument(carry), symbols);
    if (updates.empty())
      continue;
    auto mark = UnitAttr::get(&getContext());
    function.setArgAttr(carry, kOverwrittenAttrName, mark);
    if (ret->getOperand(carry) == updates.back())
      function.setResultAttr(carry, kUpdatesAttrName, mark);
  }
}

/// Notes for each buffer the span of ops that touch it.
static void computeLifetimes(func::FuncOp function, PlacementPlanner &planner,
                             const CalleeBuffers &calleeBuffers) {
  DenseMap<Operation *, int64_t> positions;
  for (auto [position, op] : llvm::enumerate(function.getBody().front()))
    positions[&op] = position;
  auto extend = [&](Value value, Operation *op) {
    if (auto place = planner.resolve(value))
      planner.getBuffers()[place->buffer].extend(positions.lookup(op));
  };
  for (Operation &op : function.getBody().front()) {
    for (Value operand : op.getOperands())
      extend(operand, &op);
    for (Value result : op.getResults())
      extend(result, &op);
    if (auto repeat = dyn_cast<RepeatOp>(op))
      for (Place place : planner.getCarryPlaces(repeat))
        planner.getBuffers()[place.buffer].extend(positions.lookup(&op));
  }
  for (auto [call, buffer] : calleeBuffers)
    planner.getBuffers()[buffer].extend(positions.lookup(call));
}

static SlotAttr getSlot(MLIRContext *context, ArrayRef<Buffer> buffers,
                        Place place) {
  const Buffer &buffer = buffers[place.buffer];
  if (buffer.inWorkspace())
    return SlotAttr::get(context, SlotBase::Workspace, -1,
                         buffer.offset + place.offset);
  return SlotAttr::get(context, SlotBase::Argument, buffer.argument,
                       place.offset);
}

/// Writes the plan down as attributes.
static void annotate(func::FuncOp function, PlacementPlanner &planner,
                     const CalleeBuffers &calleeBuffers) {
  MLIRContext *context = function.getContext();
  ArrayRef<Buffer> buffers = planner.getBuffers();
  for (Operation &op : function.getBody().front()) {
    bool isView =
        getViewParts(&op) && !isa<tensor::ConcatOp, tensor::InsertSliceOp>(op);
    if (isView || op.getNumResults() == 0 || isa<arith::ConstantOp>(op))
      continue;
    SmallVector<Attribute> slots;
    for (Value result : op.getResults())
      slots.push_back(getSlot(context, buffers, *planner.resolve(result)));
    op.setAttr(kSlotsAttrName, ArrayAttr::get(context, slots));
    if (auto repeat = dyn_cast<RepeatOp>(op)) {
      SmallVector<Attribute> carries;
      for (Place place : planner.getCarryPlaces(repeat))
        carries.push_back(getSlot(context, buffers, place));
      op.setAttr(kCarrySlotsAttrName, ArrayAttr::get(context, carries));
    }
  }
  for (auto [call, buffer] : calleeBuffers)
    call->setAttr(kCalleeSlotAttrName, getSlot(context, buffers, {buffer, 0}));
}

void PlanBuffersPass::plan(func::FuncOp function,
                           ArrayRef<CallGraph::Call> calls) {
  SymbolTableCollection symbols;
  PlacementPlanner planner(function, symbols, carryRows);
  planner.run();
  CalleeBuffers calleeBuffers;
  for (auto [call, callee] : calls) {
    Buffer buffer;
    buffer.bytes =
        callee->getAttrOfType<IntegerAttr>(kWorkspaceAttrName).getInt();
    calleeBuffers.push_back({call, planner.getBuffers().size()});
    planner.getBuffers().push_back(buffer);
  }
  computeLifetimes(function, planner, calleeBuffers);
  int64_t bytes = packBuffers(planner.getBuffers(), skew);
  annotate(function, planner, calleeBuffers);
  function->setAttr(kWorkspaceAttrName,
                    Builder(&getContext()).getI64IntegerAttr(bytes));
  if (!report)
    return;
  PlanReport costs = getReport(planner.getBuffers(), bytes);
  function.emitRemark() << "workspace " << bytes << " bytes; without reuse "
                        << costs.totalBytes << "; largest live set "
                        << costs.liveBytes << "; " << planner.getNumCopies()
                        << " copies of " << planner.getCopiedBytes()
                        << " bytes";
}
