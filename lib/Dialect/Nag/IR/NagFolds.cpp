// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Folds and canonicalization patterns.
#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
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
        inner.getSin() != op.getSin() || inner.getIndices() != op.getIndices())
      return failure();
    rewriter.replaceOp(op, inner.getInput());
    return success();
  }
};

} // namespace

/// [rows, width] as [rows / length, length, width].
static Value asSequences(OpBuilder &builder, Location loc, Value rows,
                         int64_t length) {
  auto type = cast<RankedTensorType>(rows.getType());
  auto expanded = RankedTensorType::get(
      {type.getDimSize(0) / length, length, type.getDimSize(1)},
      type.getElementType());
  return tensor::ExpandShapeOp::create(
      builder, loc, expanded, rows,
      ArrayRef<ReassociationIndices>{{0, 1}, {2}});
}

/// [B, T, width] as [B*T, width].
static Value asRows(OpBuilder &builder, Location loc, Value sequences) {
  return tensor::CollapseShapeOp::create(
      builder, loc, sequences, ArrayRef<ReassociationIndices>{{0, 1}, {2}});
}

/// Rows that stand in their own places need no indices.
static LogicalResult rotateInPlace(RotaryOp op, PatternRewriter &rewriter) {
  int64_t length = op.getCos().getType().getDimSize(0);
  if (!op.getIndices() || !isIdentityRoute(op.getIndices(), Value()) ||
      op.getInput().getType().getDimSize(0) % length)
    return failure();
  Value rotated = RotaryOp::create(
      rewriter, op.getLoc(),
      asSequences(rewriter, op.getLoc(), op.getInput(), length), op.getCos(),
      op.getSin(), Value(), op.getHeads(), op.getInverse());
  rewriter.replaceOp(op, asRows(rewriter, op.getLoc(), rotated));
  return success();
}

void RotaryOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                           MLIRContext *context) {
  patterns.add<CancelOppositeRotations>(context);
  patterns.add(rotateInPlace);
}

/// Attention of all tokens in their own places is attention without a route.
static LogicalResult attendInPlace(AttentionOp op, PatternRewriter &rewriter) {
  if (op.getRoute().empty() || !op.getLse().use_empty() ||
      !isIdentityRoute(op.getRoute()[0], op.getRoute()[1]))
    return failure();
  auto offsets = cast<RankedTensorType>(op.getRoute()[1].getType());
  int64_t length =
      op.getQuery().getType().getDimSize(0) / (offsets.getDimSize(0) - 1);
  auto dense = [&](Value value) {
    return cast<RankedTensorType>(value.getType()).getRank() == 3
               ? value
               : asSequences(rewriter, op.getLoc(), value, length);
  };
  auto attention = AttentionOp::create(
      rewriter, op.getLoc(), dense(op.getQuery()), dense(op.getKey()),
      dense(op.getValue()), ValueRange(), op.getHeadsAttr(),
      op.getKvHeadsAttr(), op.getWindowAttr());
  rewriter.replaceAllUsesWith(
      op.getResult(), asRows(rewriter, op.getLoc(), attention.getResult()));
  rewriter.eraseOp(op);
  return success();
}

void AttentionOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                              MLIRContext *) {
  patterns.add(attendInPlace);
}
