// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -nag-fuse: forms nag.kernel regions.
#include "KernelGraph.h"
#include "nag/Dialect/Nag/Transforms/HostOps.h"
#include "nag/Dialect/Nag/Transforms/Passes.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/RegionUtils.h"

namespace nag {
#define GEN_PASS_DEF_NAGFUSE
#include "nag/Dialect/Nag/Transforms/Passes.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

/// The direction and the log-norm of `stream`, read from its nag.make_stream
/// where it has one.
static std::pair<Value, Value> unpackStream(OpBuilder &builder, Value stream) {
  if (auto pair = stream.getDefiningOp<MakeStreamOp>())
    return {pair.getDirection(), pair.getLogNorm()};
  return {DirectionOp::create(builder, stream.getLoc(), stream),
          LogNormOp::create(builder, stream.getLoc(), stream)};
}

/// Gives each stream operand of `op` a nag.make_stream of its own.
static LogicalResult isolateStreamOperands(Operation &op) {
  OpBuilder builder(&op);
  for (OpOperand &operand : op.getOpOperands()) {
    auto type = dyn_cast<StreamType>(operand.get().getType());
    if (!type)
      continue;
    if (!isa<RowwiseOpInterface>(op) || isa<BlockArgument>(operand.get()))
      return op.emitOpError("expected kernels to be formed after "
                            "-nag-split-streams, but got an operand of type ")
             << type;
    auto [direction, logNorm] = unpackStream(builder, operand.get());
    operand.set(MakeStreamOp::create(builder, op.getLoc(), direction, logNorm));
  }
  return success();
}

/// Makes every stream live between one row-wise op and its packing ops only.
static LogicalResult isolateStreams(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(block)) {
    if (isa<MakeStreamOp>(op))
      continue;
    if (!isa<DirectionOp, LogNormOp>(op)) {
      if (failed(isolateStreamOperands(op)))
        return failure();
      continue;
    }
    if (auto pair = op.getOperand(0).getDefiningOp<MakeStreamOp>()) {
      op.getResult(0).replaceAllUsesWith(
          isa<DirectionOp>(op) ? pair.getDirection() : pair.getLogNorm());
      op.erase();
    }
  }
  return success();
}

/// Fills the destination of each linalg op by a fill of its own, which then
/// runs in the same kernel.
static void isolateFills(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(block)) {
    if (isa<RowwiseOpInterface>(op) || isHostOp(&op))
      continue;
    OpBuilder builder(&op);
    for (OpOperand &operand : op.getOpOperands()) {
      Operation *fill = operand.get().getDefiningOp();
      if (isa_and_nonnull<linalg::FillOp, tensor::SplatOp>(fill))
        operand.set(builder.clone(*fill)->getResult(0));
    }
  }
}

/// One nag.direction and one nag.log_norm per stream, right behind it, so that
/// all users read the same two tensors.
static void uniquePart(Operation *producer, ArrayRef<Operation *> parts) {
  if (parts.empty())
    return;
  parts.front()->moveAfter(producer);
  for (Operation *part : parts.drop_front()) {
    part->replaceAllUsesWith(parts.front());
    part->erase();
  }
}

static void uniqueStreamParts(Block &block) {
  for (Operation &op : block) {
    if (op.getNumResults() == 0 || isa<MakeStreamOp>(op))
      continue;
    for (Value result : op.getResults()) {
      SmallVector<Operation *> directions, logNorms;
      for (Operation *user : result.getUsers())
        if (isa<DirectionOp>(user))
          directions.push_back(user);
        else if (isa<LogNormOp>(user))
          logNorms.push_back(user);
      uniquePart(&op, directions);
      uniquePart(&op, logNorms);
    }
  }
}

static void eraseDeadOps(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
    if (isOpTriviallyDead(&op))
      op.erase();
}

/// Bytes of memory traffic saved when the two run as one kernel: rows that one
/// writes and the other reads, and rows that both read.
static int64_t getSavedBytes(const KernelGroup &a, const KernelGroup &b) {
  auto isRow = [](RowRole role) {
    return role == RowRole::Row || role == RowRole::Lane;
  };
  int64_t bytes = 0;
  for (auto &[value, role] : b.reads)
    if (isRow(role) && (a.writes.count(value) || a.reads.count(value)))
      bytes += getTypeBytes(value.getType());
  for (auto &[value, role] : a.reads)
    if (isRow(role) && b.writes.count(value))
      bytes += getTypeBytes(value.getType());
  return bytes;
}

/// Merges group `id` with its neighbours, the most profitable first. Returns
/// the number of merges.
static int64_t mergeNeighbours(KernelGraph &graph, unsigned id) {
  int64_t merges = 0;
  while (true) {
    std::optional<unsigned> best;
    int64_t bestBytes = 0;
    for (unsigned other : graph.getNeighbours(id)) {
      int64_t bytes = getSavedBytes(graph.getGroup(other), graph.getGroup(id));
      if (bytes > bestBytes && graph.canMerge(id, other)) {
        best = other;
        bestBytes = bytes;
      }
    }
    if (!best)
      return merges;
    graph.merge(id, *best);
    ++merges;
  }
}

/// True for ops that every kernel that needs them repeats: empty tensors and
/// scalars.
static bool isRepeatedInKernel(Operation *op) {
  if (isa<tensor::EmptyOp>(op))
    return true;
  return !llvm::any_of(op->getResultTypes(),
                       llvm::IsaPred<TensorType, StreamType>);
}

namespace {
/// Wraps the ops of one group in a nag.kernel at the builder's place.
class KernelBuilder {
public:
  KernelBuilder(const KernelGroup &kernelGroup) : group(kernelGroup) {
    members.insert(group.ops.begin(), group.ops.end());
  }

  void build(OpBuilder &builder) {
    collectInputs();
    SmallVector<Value> outputs = getOutputs();
    SmallVector<Location> locs;
    for (Operation *op : group.ops)
      locs.push_back(op->getLoc());
    Location loc = builder.getFusedLoc(locs);
    auto kernel = KernelOp::create(builder, loc, TypeRange(ValueRange(outputs)),
                                   getName(), inputs.getArrayRef());
    fillBody(kernel, outputs);
  }

private:
  /// Values that come from outside: tensors become inputs, scalars and empty
  /// tensors are computed again inside.
  void collectInputs() {
    SmallVector<Operation *> worklist(llvm::reverse(group.ops));
    while (!worklist.empty()) {
      Operation *op = worklist.pop_back_val();
      SetVector<Value> values(op->operand_begin(), op->operand_end());
      getUsedValuesDefinedAbove(op->getRegions(), values);
      for (Value value : values) {
        Operation *producer = value.getDefiningOp();
        if (producer && members.contains(producer))
          continue;
        if (producer && isRepeatedInKernel(producer)) {
          if (repeated.insert(producer))
            worklist.push_back(producer);
        } else {
          inputs.insert(value);
        }
      }
    }
  }

  SmallVector<Value> getOutputs() const {
    SmallVector<Value> outputs;
    for (Operation *op : group.ops)
      for (OpResult result : op->getResults())
        if (llvm::any_of(result.getUsers(), [&](Operation *user) {
              return !isInsideMember(user);
            }))
          outputs.push_back(result);
    return outputs;
  }

  bool isInsideMember(Operation *user) const {
    for (; user; user = user->getParentOp())
      if (members.contains(user))
        return true;
    return false;
  }

  /// The row-wise ops' names, the middle ones left out where there are many.
  std::string getName() const {
    SmallVector<StringRef> names;
    for (Operation *op : group.ops)
      if (!isa<MakeStreamOp, DirectionOp, LogNormOp>(op))
        names.push_back(op->getName().stripDialect());
    if (names.size() > 4)
      names.erase(names.begin() + 2, names.end() - 2);
    return llvm::join(names, "_");
  }

  void fillBody(KernelOp kernel, ArrayRef<Value> outputs) {
    Block *body = new Block;
    kernel.getBody().push_back(body);
    IRMapping mapping;
    for (Value input : inputs)
      mapping.map(input, body->addArgument(input.getType(), input.getLoc()));
    OpBuilder builder = OpBuilder::atBlockEnd(body);
    for (Operation *op : llvm::reverse(repeated))
      builder.clone(*op, mapping);
    for (Operation *op : group.ops)
      builder.clone(*op, mapping);
    SmallVector<Value> yields;
    for (Value output : outputs)
      yields.push_back(mapping.lookup(output));
    YieldOp::create(builder, kernel.getLoc(), yields);
    for (auto [index, output] : llvm::enumerate(outputs))
      Value(output).replaceUsesWithIf(
          kernel.getResult(index),
          [&](OpOperand &use) { return !isInsideMember(use.getOwner()); });
  }

  const KernelGroup &group;
  SmallPtrSet<Operation *, 8> members;
  SetVector<Operation *> repeated;
  SetVector<Value> inputs;
};

struct FusePass : nag::impl::NagFuseBase<FusePass> {
  void runOnOperation() override {
    for (Block &block : getOperation().getBody()) {
      if (failed(isolateStreams(block)))
        return signalPassFailure();
      isolateFills(block);
      uniqueStreamParts(block);
      eraseDeadOps(block);
      formKernels(block);
    }
  }

  void formKernels(Block &block) {
    KernelGraph graph(block);
    for (unsigned id : graph.getGroups())
      fusedOps += mergeNeighbours(graph, id);
    OpBuilder builder(block.getTerminator());
    for (unsigned id : graph.getSchedule()) {
      const KernelGroup &group = graph.getGroup(id);
      if (group.isHost || isRepeatedInKernel(group.ops.front())) {
        for (Operation *op : group.ops)
          op->moveBefore(block.getTerminator());
        continue;
      }
      KernelBuilder(group).build(builder);
      for (Operation *op : llvm::reverse(group.ops))
        op->erase();
      ++kernels;
    }
    eraseDeadOps(block);
  }
};
} // namespace
