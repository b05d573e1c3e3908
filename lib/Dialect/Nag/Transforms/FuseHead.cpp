// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -nag-fuse-head: the head's product and the loss become one op.
#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace nag {
#define GEN_PASS_DEF_NAGFUSEHEAD
#include "nag/Dialect/Nag/Transforms/Passes.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

/// Joins `loss` and what makes its logits, where nothing else reads them.
static void fuseLoss(TokenLossOp loss, PatternRewriter &rewriter) {
  if (!loss.getLse().use_empty() || !loss.getLogits().hasOneUse())
    return;
  auto temper = loss.getLogits().getDefiningOp<TemperOp>();
  Value products = temper ? temper.getInput() : loss.getLogits();
  // What follows bf16 products computes in f32 whatever their type.
  auto widened = products.getDefiningOp<arith::ExtFOp>();
  auto linear = skipWidening(products).getDefiningOp<LinearOp>();
  if (!linear || !products.hasOneUse() || linear.getTransposeWeight() ||
      linear.getInput().getType().getRank() < 2)
    return;
  // No rows make no chunk of them.
  if (linear.getInput().getType().getNumElements() == 0)
    return;
  FloatAttr factor =
      temper ? temper.getFactorAttr() : rewriter.getF64FloatAttr(1);
  Value losses = HeadLossOp::create(
      rewriter, rewriter.getFusedLoc({linear.getLoc(), loss.getLoc()}),
      linear.getInput(), linear.getWeight(), loss.getTargets(),
      temper ? temper.getLogScale() : Value(), loss.getVocabAttr(), factor,
      loss.getIgnoreIndexAttr());
  rewriter.replaceAllUsesWith(loss.getLosses(), losses);
  rewriter.eraseOp(loss);
  if (temper)
    rewriter.eraseOp(temper);
  if (widened)
    rewriter.eraseOp(widened);
  rewriter.eraseOp(linear);
}

/// True for one value, or two roundings of one value.
static bool isSame(Value a, Value b) {
  auto rounded = a.getDefiningOp<arith::TruncFOp>();
  auto other = b.getDefiningOp<arith::TruncFOp>();
  return a == b || (rounded && other && a.getType() == b.getType() &&
                    rounded.getIn() == other.getIn());
}

static HeadLossOp findForward(HeadLossVJPOp vjp) {
  for (Operation *user : vjp.getTargets().getUsers()) {
    auto forward = dyn_cast<HeadLossOp>(user);
    if (forward && forward->getBlock() == vjp->getBlock() &&
        isSame(forward.getInput(), vjp.getInput()) &&
        isSame(forward.getWeight(), vjp.getWeight()) &&
        forward.getTargets() == vjp.getTargets() &&
        forward.getLogScale() == vjp.getLogScale() &&
        forward->getAttrs() == vjp->getAttrs())
      return forward;
  }
  return {};
}

/// Reads the count of a nag.masked_mean of the losses from the targets instead.
static void detachCounts(HeadLossOp forward) {
  for (Operation *user : forward.getLosses().getUsers()) {
    auto mean = dyn_cast<MaskedMeanOp>(user);
    if (!mean || mean.getCount().use_empty())
      continue;
    OpBuilder builder(forward);
    auto type = TypeAttr::get(getElementTypeOrSelf(mean.getCount().getType()));
    Value count =
        TargetCountOp::create(builder, mean.getLoc(), mean.getTargets(), type,
                              mean.getIgnoreIndexAttr());
    mean.getCount().replaceAllUsesWith(count);
  }
}

/// Ops from `forward` on that `value` depends on, in program order. Fails when
/// `forward` is among them.
static LogicalResult collectLaterOps(Value value, Operation *forward,
                                     SetVector<Operation *> &ops) {
  Operation *op = value.getDefiningOp();
  if (!op || op->getBlock() != forward->getBlock() ||
      op->isBeforeInBlock(forward) || ops.contains(op))
    return success();
  if (op == forward || op->getNumRegions() > 0)
    return failure();
  for (Value operand : op->getOperands())
    if (failed(collectLaterOps(operand, forward, ops)))
      return failure();
  ops.insert(op);
  return success();
}

/// Lets the reverse pass compute the losses, where it can.
static void shareForward(HeadLossVJPOp vjp) {
  HeadLossOp forward = findForward(vjp);
  if (!forward || vjp->isBeforeInBlock(forward))
    return;
  detachCounts(forward);
  SetVector<Operation *> cotangent;
  if (failed(collectLaterOps(vjp.getLossesGrad(), forward, cotangent)))
    return;
  for (Operation *op : cotangent)
    op->moveBefore(forward);
  vjp.getInputMutable().assign(forward.getInput());
  vjp.getWeightMutable().assign(forward.getWeight());
  vjp->moveBefore(forward);
  forward.getLosses().replaceAllUsesWith(vjp.getLosses());
  forward->erase();
}

namespace {
struct FuseHeadPass : nag::impl::NagFuseHeadBase<FuseHeadPass> {
  void runOnOperation() override {
    SmallVector<TokenLossOp> losses;
    SmallVector<HeadLossVJPOp> reverse;
    getOperation()->walk([&](TokenLossOp op) { losses.push_back(op); });
    PatternRewriter rewriter(&getContext());
    for (TokenLossOp loss : losses) {
      rewriter.setInsertionPoint(loss);
      fuseLoss(loss, rewriter);
    }
    getOperation()->walk([&](HeadLossVJPOp op) { reverse.push_back(op); });
    for (HeadLossVJPOp vjp : reverse)
      shareForward(vjp);
  }
};
} // namespace
