// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -nag-fuse: forms nag.kernel regions.
#include "FusionPlan.h"
#include "KernelBuilder.h"
#include "nag/Dialect/Nag/Transforms/HostOps.h"
#include "nag/Dialect/Nag/Transforms/Passes.h"
#include "nag/Dialect/Nag/Transforms/Prologues.h"
#include "nag/Dialect/Nag/Transforms/RoutedRows.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

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

/// Fails where `op` cannot be in the kernel of what makes the stream that it
/// reads.
static LogicalResult verifyStream(Operation &op, Value stream) {
  if (isa<DirectionOp, LogNormOp, RowwiseOpInterface>(op) &&
      isa_and_nonnull<MakeStreamOp, RowwiseOpInterface>(stream.getDefiningOp()))
    return success();
  return op.emitOpError("expected kernels to be formed after "
                        "-nag-split-streams, but got an operand of type ")
         << stream.getType();
}

/// Gives each stream operand of `op` a nag.make_stream of its own.
static LogicalResult isolateStreamOperands(Operation &op) {
  OpBuilder builder(&op);
  for (OpOperand &operand : op.getOpOperands()) {
    if (!isa<StreamType>(operand.get().getType()))
      continue;
    if (failed(verifyStream(op, operand.get())))
      return failure();
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
    if (failed(verifyStream(op, op.getOperand(0))))
      return failure();
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

/// Gives each reader of a widened tensor a widening of its own, so that the
/// tensor itself is what lies in memory.
static void isolateWidenings(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(block)) {
    if (!isa<arith::ExtFOp>(op) ||
        !isa<RankedTensorType>(op.getResult(0).getType()))
      continue;
    OpBuilder builder(&op);
    for (OpOperand &use : llvm::make_early_inc_range(op.getUses()))
      if (isa<RowwiseOpInterface>(use.getOwner()) && !op.hasOneUse())
        use.set(builder.clone(op)->getResult(0));
  }
}

/// Gives each nag.route that reads a scalar op as its dial one of its own.
static void isolateDials(Block &block) {
  for (auto route : llvm::make_early_inc_range(block.getOps<RouteOp>())) {
    Operation *dial =
        route.getDial() ? route.getDial().getDefiningOp() : nullptr;
    if (!dial || dial->hasOneUse() ||
        !OpTrait::hasElementwiseMappableTraits(dial))
      continue;
    OpBuilder builder(route);
    route.getDialMutable().assign(builder.clone(*dial)->getResult(0));
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

/// `value` of all rows instead of the rows taken, where the block computes that
/// anyway: casts of both.
static Value findCastOfAll(Operation *cast, TakeOp take) {
  for (Operation *user : take.getSource().getUsers())
    if (user->getName() == cast->getName() &&
        user->getBlock() == take->getBlock() &&
        getElementTypeOrSelf(user->getResult(0)) ==
            getElementTypeOrSelf(cast->getResult(0)))
      return user->getResult(0);
  return Value();
}

/// The rows that `op` takes as `operand`: of what, and by which nag.take.
static std::pair<Value, TakeOp> findTaken(Operation &op, Value operand) {
  if (TakeOp take = findTake(operand))
    return {take.getSource(), take};
  Operation *cast = operand.getDefiningOp();
  if (!isa<RowProductOpInterface>(op) ||
      !isa_and_nonnull<arith::TruncFOp, arith::ExtFOp>(cast))
    return {};
  TakeOp take = findTake(cast->getOperand(0));
  Value source = take ? findCastOfAll(cast, take) : Value();
  bool isBefore = source && source.getDefiningOp()->isBeforeInBlock(&op);
  return isBefore ? std::pair(source, take) : std::pair(Value(), TakeOp());
}

/// Gives each op a nag.take of its own for rows that it reads, which then is no
/// more than the index by which it finds them.
static void isolateTakes(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(block)) {
    if (!isa<RowProductOpInterface, RowwiseOpInterface, MakeStreamOp>(op))
      continue;
    for (OpOperand &operand : op.getOpOperands()) {
      auto [source, take] = findTaken(op, operand.get());
      if (!source)
        continue;
      OpBuilder builder(&op);
      auto own = TakeOp::create(builder, take.getLoc(), source,
                                take.getIndices(), take.getOffsets());
      operand.set(own.getRows());
    }
  }
}

namespace {
struct FusePass : nag::impl::NagFuseBase<FusePass> {
  using NagFuseBase::NagFuseBase;

  void runOnOperation() override {
    for (Block &block : getOperation().getBody()) {
      dropRests(block);
      if (failed(isolateStreams(block)))
        return signalPassFailure();
      isolateFills(block);
      isolateWidenings(block);
      uniqueStreamParts(block);
      if (gatherRows) {
        isolateTakes(block);
        isolateDials(block);
      }
      PrologueMap loads;
      if (prologues)
        loads = isolatePrologues(block, {tileColumns, remarks});
      eraseDeadOps(block);
      formKernels(block, std::move(loads));
    }
  }

  void formKernels(Block &block, PrologueMap loads) {
    KernelGraph graph(block, gatherRows, std::move(loads));
    // Where products keep their results, they run chunk by chunk, and sums over
    // other rows have other chunks.
    bool joinSums = joinProducts && multiTensor && !keepProducts;
    FusionOptions options{joinProducts, joinSums,    keepProducts, gatherRows,
                          epilogues,    multiTensor, remarks,      tileColumns,
                          laneColumns,  launchBytes, chipBytes,    sharedBytes};
    fuseKernels(graph, options);
    DenseMap<Value, Value> replaced;
    OpBuilder builder(block.getTerminator());
    for (unsigned id : graph.getSchedule()) {
      const KernelGroup &group = graph.getGroup(id);
      if (group.isHost || isRepeatedInKernel(group.ops.front())) {
        for (Operation *op : group.ops)
          op->moveBefore(block.getTerminator());
        continue;
      }
      buildKernel(builder, group, keepProducts, replaced);
      for (Operation *op : llvm::reverse(group.ops))
        op->erase();
    }
    eraseDeadOps(block);
  }
};
} // namespace
