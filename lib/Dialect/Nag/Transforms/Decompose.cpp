// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -nag-decompose: ops that models are written in, as a contraction and row-wise
// ops.
#include "GlobalNorm.h"
#include "nag/Dialect/Nag/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace nag {
#define GEN_PASS_DEF_NAGDECOMPOSE
#include "nag/Dialect/Nag/Transforms/Passes.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

static LogicalResult decomposeModulate(ModulateOp op,
                                       PatternRewriter &rewriter) {
  Value products = LinearOp::create(rewriter, op.getLoc(), op.getDirection(),
                                    op.getWeight());
  rewriter.replaceOpWithNewOp<GateOp>(op, products, op.getBias(),
                                      op.getLogits(), op.getBeta(),
                                      op.getAlpha(), op.getScale());
  return success();
}

static LogicalResult decomposeDecode(DecodeOp op, PatternRewriter &rewriter) {
  StreamType type = op.getStream().getType();
  Value direction = DirectionOp::create(
      rewriter, op.getLoc(), type.getDirectionType(), op.getStream());
  Value logNorm = LogNormOp::create(rewriter, op.getLoc(),
                                    type.getLogNormType(), op.getStream());
  Value products =
      LinearOp::create(rewriter, op.getLoc(), direction, op.getWeight());
  auto factor = rewriter.getF64FloatAttr(1.0 / type.getWidth());
  rewriter.replaceOpWithNewOp<TemperOp>(op, products, logNorm, factor);
  return success();
}

static LogicalResult decomposeCrossEntropy(CrossEntropyOp op,
                                           PatternRewriter &rewriter) {
  auto losses = TokenLossOp::create(rewriter, op.getLoc(), op.getLogits(),
                                    op.getTargets(), op.getVocabAttr(),
                                    op.getIgnoreIndexAttr());
  auto mean = MaskedMeanOp::create(rewriter, op.getLoc(), losses.getLosses(),
                                   op.getTargets(), op.getIgnoreIndexAttr());
  rewriter.replaceOp(op, mean.getMean());
  return success();
}

static LogicalResult decomposeRmsNorm(RmsNormOp op, PatternRewriter &rewriter) {
  if (!op.getGain())
    return rewriter.notifyMatchFailure(op, "has no gain");
  Value normed = RmsNormOp::create(rewriter, op.getLoc(), op.getInput(),
                                   /*gain=*/Value(), op.getGroupsAttr(),
                                   op.getFactorAttr(), op.getEpsAttr());
  rewriter.replaceOpWithNewOp<GainOp>(op, normed, op.getGain());
  return success();
}

static LogicalResult decomposeGlobalNorm(GlobalNormOp op,
                                         PatternRewriter &rewriter) {
  rewriter.replaceOp(op,
                     buildGlobalNorm(rewriter, op.getLoc(), op.getInputs()));
  return success();
}

/// Inputs in f32 and in f64 have no sum: says which one differs.
static LogicalResult checkComputeTypes(GlobalNormOp op) {
  Type expected = op.getNorm().getType().getElementType();
  for (auto [index, input] : llvm::enumerate(op.getInputs())) {
    Type actual = cast<RankedTensorType>(input.getType()).getElementType();
    if (getComputeType(actual) != expected)
      return op.emitOpError()
             << "expected tensors that compute in " << expected << ", but got "
             << input.getType() << " as operand " << index;
  }
  return success();
}

namespace {
struct Decompose : nag::impl::NagDecomposeBase<Decompose> {
  void runOnOperation() override {
    WalkResult checked = getOperation()->walk(
        [](GlobalNormOp op) { return WalkResult(checkComputeTypes(op)); });
    if (checked.wasInterrupted())
      return signalPassFailure();
    RewritePatternSet patterns(&getContext());
    patterns.add(decomposeModulate)
        .add(decomposeDecode)
        .add(decomposeCrossEntropy)
        .add(decomposeRmsNorm)
        .add(decomposeGlobalNorm);
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};
} // namespace
