// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ops that one op with destinations computes as a whole: attention is streamed,
// routing and quantiles are calls of the runtime.
#include "nag/Conversion/NagToLinalg.h"
#include "nag/Dialect/Nag/IR/NagGeneration.h"

using namespace mlir;
using namespace nag;

namespace {

/// A destination for each result of an op.
SmallVector<Value> getDestinations(OpBuilder &builder, Operation *op) {
  return llvm::map_to_vector(op->getResults(), [&](Value result) {
    return getDestination(builder, result,
                          cast<RankedTensorType>(result.getType()));
  });
}

/// Replaces an op by one that computed its results into their destinations.
void replaceAllComputed(RewriterBase &rewriter, Operation *op,
                        Operation *lowered) {
  for (auto [result, computed] :
       llvm::zip(op->getResults(), lowered->getResults()))
    replaceComputed(rewriter, result, computed);
  rewriter.eraseOp(op);
}

struct LowerAttention : OpRewritePattern<AttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AttentionOp op,
                                PatternRewriter &rewriter) const override {
    SmallVector<Value> destinations = getDestinations(rewriter, op);
    auto lowered = StreamAttentionOp::create(
        rewriter, op.getLoc(), op->getResultTypes(), op.getQuery(), op.getKey(),
        op.getValue(), op.getRoute(), destinations[0], destinations[1],
        op.getHeadsAttr(), op.getKvHeadsAttr(), op.getWindowAttr());
    replaceAllComputed(rewriter, op, lowered);
    return success();
  }
};

struct LowerCachedAttention : OpRewritePattern<CachedAttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(CachedAttentionOp op,
                                PatternRewriter &rewriter) const override {
    SmallVector<Value> destinations = getDestinations(rewriter, op);
    auto lowered = StreamCachedAttentionOp::create(
        rewriter, op.getLoc(), op->getResultTypes(), op.getQuery(), op.getKey(),
        op.getValue(), op.getKeyCache(), op.getValueCache(), op.getPositions(),
        op.getRoute(), op.getRows(), destinations[0], op.getHeadsAttr(),
        op.getKvHeadsAttr(), op.getWindowAttr());
    replaceAllComputed(rewriter, op, lowered);
    return success();
  }
};

struct LowerAttentionVJP : OpRewritePattern<AttentionVJPOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AttentionVJPOp op,
                                PatternRewriter &rewriter) const override {
    SmallVector<Value> destinations = getDestinations(rewriter, op);
    auto lowered = StreamAttentionVJPOp::create(
        rewriter, op.getLoc(), op->getResultTypes(), op.getQuery(), op.getKey(),
        op.getValue(), op.getResult(), op.getLse(), op.getResultGrad(),
        op.getRoute(), destinations[0], destinations[1], destinations[2],
        op.getHeadsAttr(), op.getKvHeadsAttr(), op.getWindowAttr());
    replaceAllComputed(rewriter, op, lowered);
    return success();
  }
};

/// Replaces an op without rows by a call of the runtime's entry point `name`,
/// with the element type of `like` as its suffix.
void replaceByRuntimeCall(PatternRewriter &rewriter, Operation *op,
                          const Twine &name, Value like,
                          ArrayRef<int64_t> sizes) {
  Type element = getElementTypeOrSelf(like.getType());
  SmallVector<Value> destinations = getDestinations(rewriter, op);
  auto call =
      RuntimeCallOp::create(rewriter, op->getLoc(), op->getResultTypes(),
                            (name + (element.isF64() ? "_f64" : "_f32")).str(),
                            sizes, op->getOperands(), destinations);
  replaceAllComputed(rewriter, op, call);
}

struct LowerRoute : OpRewritePattern<RouteOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(RouteOp op,
                                PatternRewriter &rewriter) const override {
    ArrayRef<int64_t> shape = op.getScores().getType().getShape();
    int64_t rows = op.getIndices().getType().getDimSize(0);
    if (op.getRouting().getPolicy() != Policy::Capacity)
      replaceByRuntimeCall(rewriter, op, "nag_route_threshold", op.getScores(),
                           {shape[0], shape[1], rows});
    else if (op.getDial())
      replaceByRuntimeCall(rewriter, op, "nag_route_rate", op.getScores(),
                           {shape[0], shape[1], rows});
    else
      replaceByRuntimeCall(
          rewriter, op, "nag_route_capacity", op.getScores(),
          {shape[0], shape[1], rows, op.getRouting().getKept(shape[1])});
    return success();
  }
};

struct LowerQuantile : OpRewritePattern<QuantileOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(QuantileOp op,
                                PatternRewriter &rewriter) const override {
    RankedTensorType type = op.getValues().getType();
    int64_t slices = type.getDimSize(0);
    replaceByRuntimeCall(rewriter, op, "nag_quantile", op.getValues(),
                         {slices, type.getNumElements() / slices});
    return success();
  }
};

} // namespace

void nag::populateDestinationPatterns(RewritePatternSet &patterns) {
  patterns.add<LowerAttention, LowerAttentionVJP, LowerCachedAttention,
               LowerRoute, LowerQuantile>(patterns.getContext());
}
