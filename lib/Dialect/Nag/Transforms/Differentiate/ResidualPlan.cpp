// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ResidualPlan.h"

#include "MinCut.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;
using namespace nag;

bool nag::isFreeToRecompute(Operation *op) {
  return op->hasTrait<OpTrait::ConstantLike>() ||
         isa<DirectionOp, LogNormOp, MakeStreamOp, tensor::EmptyOp,
             tensor::ExpandShapeOp, tensor::CollapseShapeOp,
             tensor::ExtractSliceOp, tensor::ExtractOp, tensor::SplatOp,
             linalg::FillOp>(op);
}

namespace {

/// A stack of residuals holds tensors of floats or of 32-bit integers.
bool isSaveable(Type type) {
  if (isa<StreamType>(type))
    return true;
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.hasStaticShape() &&
         (isa<FloatType>(tensor.getElementType()) ||
          tensor.getElementType().isInteger(32));
}

bool isContraction(Operation *op) {
  if (auto cost = dyn_cast<CostOpInterface>(op))
    return cost.isContraction();
  auto structured = dyn_cast<linalg::LinalgOp>(op);
  return structured && structured.getNumReductionLoops() > 0;
}

/// True for ops that write some rows of an operand in its own memory (nag.put):
/// to repeat them, that operand would have to be kept as it was.
bool updatesInPlace(Operation *op) {
  auto rowwise = dyn_cast<RowwiseOpInterface>(op);
  if (!rowwise)
    return false;
  for (unsigned index = 0; index < op->getNumResults(); ++index)
    if (auto base = rowwise.getBaseOperand(index);
        base && rowwise.getSharedOperand(index) == base)
      return true;
  return false;
}

/// True for rows taken of a product's result, which lies in memory whole: the
/// backward pass takes them from there, and the forward pass moves none.
bool isTakenOfProduct(Operation *op) {
  auto take = dyn_cast<TakeOp>(op);
  Operation *product = take ? take.getSource().getDefiningOp() : nullptr;
  return product && isContraction(product) &&
         isa<RowProductOpInterface>(product);
}

class Planner {
public:
  Planner(const JointFunction &jointFunction, RecomputeMode recomputeMode)
      : joint(jointFunction), mode(recomputeMode) {}

  FailureOr<ResidualPlan> plan() {
    classify();
    chooseSaved();
    traceBackward();
    for (Value value : result.saved) {
      if (!isSaveable(value.getType()))
        return emitError(value.getLoc())
               << "expected a tensor to save for the backward pass, but got a "
                  "value of type "
               << value.getType();
      result.savedBytes += getTypeBytes(value.getType());
    }
    return std::move(result);
  }

private:
  bool isBackward(Value value) const { return backward.contains(value); }

  bool isFreeArgument(Value value) const {
    auto argument = dyn_cast<BlockArgument>(value);
    return argument &&
           joint.getRequest().freeArguments[argument.getArgNumber()];
  }

  /// Divides the ops; collects what the backward pass reads of the forward
  /// pass.
  void classify() {
    backward.insert_range(joint.getCotangents());
    for (Operation &op : joint.getBody().without_terminator()) {
      SmallVector<Value> read = getReadValues(&op);
      if (llvm::none_of(read, [&](Value value) { return isBackward(value); }))
        continue;
      result.backwardOps.push_back(&op);
      backward.insert_range(op.getResults());
      needed.insert_range(read);
    }
    needed.insert_range(joint.getGradients());
    needed.remove_if([&](Value value) { return isBackward(value); });
  }

  /// True for a rounding that attention reads in both passes: it lies in memory
  /// already, and a kernel of its own would have to make it again.
  bool isRoundedForAttention(Operation *op) const {
    return isa<arith::TruncFOp>(op) &&
           llvm::any_of(op->getUsers(), [&](Operation *user) {
             return isContraction(user) && !isa<RowProductOpInterface>(user) &&
                    llvm::is_contained(result.backwardOps, user);
           });
  }

  bool mayRecompute(Operation *op) const {
    if (isFreeToRecompute(op) || isTakenOfProduct(op))
      return true;
    if (mode != RecomputeMode::All && isRoundedForAttention(op))
      return false;
    if (isa<func::CallOp>(op))
      return mode == RecomputeMode::All;
    if (!isMemoryEffectFree(op))
      return false;
    if (mode == RecomputeMode::All ||
        !llvm::all_of(op->getResultTypes(), isSaveable))
      return true;
    return mode == RecomputeMode::Cheap && isCheap(op);
  }

  /// Neither a contraction, nor made from nothing, nor a reduction: saving its
  /// small result costs less than reading its large operands again.
  bool isCheap(Operation *op) const {
    // What mixes rows, such as a selection of them, costs more than a row.
    if (isContraction(op) || updatesInPlace(op) ||
        isa<RowSpaceOpInterface>(op) || op->getNumOperands() == 0)
      return false;
    int64_t read = 0, written = 0;
    for (Value operand : op->getOperands())
      read += isFreeArgument(operand) ? 0 : getTypeBytes(operand.getType());
    for (Type type : op->getResultTypes())
      written += getTypeBytes(type);
    constexpr int64_t kReduction = 4;
    return written * kReduction >= read;
  }

  /// A value is an edge from its "in" node to its "out" node, as wide as its
  /// bytes; cutting the edge means saving the value.
  void chooseSaved() {
    FlowNetwork network;
    unsigned source = network.addNode(), sink = network.addNode();
    auto addValue = [&](Value value) {
      unsigned in = network.addNode(), out = network.addNode();
      Operation *op = value.getDefiningOp();
      bool saveable =
          isSaveable(value.getType()) && !(op && isTakenOfProduct(op));
      network.addEdge(in, out,
                      saveable ? getTypeBytes(value.getType())
                               : FlowNetwork::kUnlimited);
      nodes[value] = {in, out};
      if (needed.contains(value))
        network.addEdge(out, sink, FlowNetwork::kUnlimited);
      return in;
    };
    for (Value argument : joint.getArguments())
      if (!isFreeArgument(argument))
        network.addEdge(source, addValue(argument), FlowNetwork::kUnlimited);
    for (Operation &op : joint.getBody().without_terminator())
      for (Value value : op.getResults())
        if (!isBackward(value))
          connect(network, source, addValue(value), &op);
    llvm::BitVector sinkSide = network.cutNearSink(source, sink);
    for (auto [value, node] : nodes)
      if (!sinkSide[node.in] && sinkSide[node.out])
        result.saved.insert(value);
  }

  /// From where the result of `op` at node `in` can come in the backward pass.
  void connect(FlowNetwork &network, unsigned source, unsigned in,
               Operation *op) {
    if (!mayRecompute(op)) {
      network.addEdge(source, in, FlowNetwork::kUnlimited);
      return;
    }
    for (Value value : getReadValues(op))
      if (auto node = nodes.find(value); node != nodes.end())
        network.addEdge(node->second.out, in, FlowNetwork::kUnlimited);
  }

  /// Follows what the backward pass reads up to saved values and free
  /// arguments.
  void traceBackward() {
    result.neededArguments.resize(joint.getArguments().size());
    llvm::SetVector<Operation *> recomputed;
    llvm::SetVector<Value> pending(needed);
    llvm::SetVector<Value> reached;
    while (!pending.empty()) {
      Value value = pending.pop_back_val();
      if (!reached.insert(value))
        continue;
      if (isFreeArgument(value))
        result.neededArguments.set(cast<BlockArgument>(value).getArgNumber());
      if (result.saved.contains(value) || isa<BlockArgument>(value))
        continue;
      recomputed.insert(value.getDefiningOp());
      pending.insert_range(getReadValues(value.getDefiningOp()));
    }
    result.saved.remove_if(
        [&](Value value) { return !reached.contains(value); });
    result.recomputed = recomputed.takeVector();
    llvm::sort(result.recomputed, [](Operation *a, Operation *b) {
      return a->isBeforeInBlock(b);
    });
  }

  struct Node {
    unsigned in, out;
  };

  const JointFunction &joint;
  RecomputeMode mode;
  ResidualPlan result;
  llvm::DenseSet<Value> backward;
  llvm::SetVector<Value> needed;
  /// In the order of the function, so that the plan does not depend on
  /// addresses.
  llvm::MapVector<Value, Node> nodes;
};

} // namespace

FailureOr<ResidualPlan> nag::planResiduals(const JointFunction &joint,
                                           RecomputeMode mode) {
  return Planner(joint, mode).plan();
}

void nag::explainPlan(const JointFunction &joint, const ResidualPlan &plan) {
  for (Value value : plan.saved)
    emitRemark(value.getLoc())
        << "saves " << getTypeBytes(value.getType()) << " bytes of "
        << value.getType() << " for the backward pass of '@"
        << joint.getRequest().getFunction().getName() << "'";
  for (Operation *op : plan.recomputed)
    if (!isFreeToRecompute(op))
      op->emitRemark() << "is computed again in the backward pass of '@"
                       << joint.getRequest().getFunction().getName() << "'";
}
