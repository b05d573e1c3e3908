// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Folds and canonicalization patterns.
#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace nag;

/// make_stream(direction(x), log_norm(x)) is x.
OpFoldResult MakeStreamOp::fold(FoldAdaptor) {
  auto direction = getDirection().getDefiningOp<DirectionOp>();
  auto logNorm = getLogNorm().getDefiningOp<LogNormOp>();
  if (direction && logNorm && direction.getStream() == logNorm.getStream())
    return direction.getStream();
  return {};
}

OpFoldResult DirectionOp::fold(FoldAdaptor) {
  if (auto pair = getStream().getDefiningOp<MakeStreamOp>())
    return pair.getDirection();
  return {};
}

OpFoldResult LogNormOp::fold(FoldAdaptor) {
  if (auto pair = getStream().getDefiningOp<MakeStreamOp>())
    return pair.getLogNorm();
  return {};
}

/// No constraint changes nothing.
OpFoldResult ConstrainOp::fold(FoldAdaptor) {
  if (getConstraint() == Constraint::None)
    return getInput();
  return {};
}

namespace {

/// The rotation by an angle undoes the rotation by its opposite.
struct CancelOppositeRotations : OpRewritePattern<RotaryOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(RotaryOp op,
                                PatternRewriter &rewriter) const override {
    auto inner = op.getInput().getDefiningOp<RotaryOp>();
    if (!inner || inner.getInverse() == op.getInverse() ||
        inner.getHeads() != op.getHeads() || inner.getCos() != op.getCos() ||
        inner.getSin() != op.getSin())
      return failure();
    rewriter.replaceOp(op, inner.getInput());
    return success();
  }
};

} // namespace

void RotaryOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                           MLIRContext *context) {
  patterns.add<CancelOppositeRotations>(context);
}
