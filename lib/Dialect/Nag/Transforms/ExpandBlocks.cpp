// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -nag-expand-blocks: nag.block as the ops it stands for.
#include "nag/Dialect/Nag/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace nag {
#define GEN_PASS_DEF_NAGEXPANDBLOCKS
#include "nag/Dialect/Nag/Transforms/Passes.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

/// Inlines the body before the block, `arguments` in place of its own. Returns
/// the branch.
static Value inlineBody(IRRewriter &rewriter, BlockOp block,
                        ValueRange arguments) {
  Block *body = &block.getBody().front();
  auto yield = cast<YieldOp>(body->getTerminator());
  Value branch = yield.getValues().front();
  if (auto argument = dyn_cast<BlockArgument>(branch);
      argument && argument.getOwner() == body)
    branch = arguments[argument.getArgNumber()];
  rewriter.eraseOp(yield);
  rewriter.inlineBlockBefore(body, block, arguments);
  return branch;
}

static Value modulate(OpBuilder &builder, BlockOp block, Value direction) {
  return ModulateOp::create(
      builder, block.getLoc(), direction, block.getWeight(), block.getBias(),
      block.getLogits(), block.getBeta(), block.getAlpha(), block.getScale());
}

static void expandDense(IRRewriter &rewriter, BlockOp block) {
  Location loc = block.getLoc();
  Value direction = DirectionOp::create(
      rewriter, loc, block.getStream().getType().getDirectionType(),
      block.getStream());
  Value gates = modulate(rewriter, block, direction);
  Value branch = inlineBody(rewriter, block, direction);
  Value rotated = RotateOp::create(rewriter, loc, block.getStream(), branch,
                                   gates, block.getEpsAttr());
  rewriter.replaceOp(block, {rotated, gates});
}

/// The offsets of a capacity are known: every sequence keeps as many tokens.
static Value getOffsets(ImplicitLocOpBuilder &builder, BlockOp block,
                        RouteOp route) {
  if (block.getDial() || block.getRouting()->getPolicy() != Policy::Capacity)
    return route.getOffsets();
  int64_t sequences = block.getStream().getType().getShape().front();
  SmallVector<int32_t> ends;
  for (int64_t sequence = 0; sequence <= sequences; ++sequence)
    ends.push_back(sequence * block.getMaxRows() / sequences);
  return arith::ConstantOp::create(builder, builder.getI32TensorAttr(ends));
}

/// The gate of the rows taken is computed again from them: what a skipped
/// token's gate was has no gradient, so the backward pass needs these rows
/// alone.
static void expandRouted(IRRewriter &rewriter, BlockOp block) {
  ImplicitLocOpBuilder b(block.getLoc(), rewriter);
  StreamType stream = block.getStream().getType();
  Value direction =
      DirectionOp::create(b, stream.getDirectionType(), block.getStream());
  Value logNorm =
      LogNormOp::create(b, stream.getLogNormType(), block.getStream());
  Value gates = modulate(b, block, direction);
  auto route =
      RouteOp::create(b, gates, block.getDial(), block.getRoutingAttr());
  Value indices = route.getIndices(), offsets = getOffsets(b, block, route);
  auto taken = TakeOp::create(b, direction, indices, offsets);
  auto norms = TakeOp::create(b, logNorm, indices, offsets);
  Value branch = inlineBody(rewriter, block,
                            {direction, taken.getRows(), indices, offsets});
  Value pair = MakeStreamOp::create(b, taken.getRows(), norms.getRows());
  Value rowGates = modulate(b, block, taken.getRows());
  Value turned =
      RotateOp::create(b, pair, branch, rowGates, block.getEpsAttr());
  Value rows = DirectionOp::create(b, taken.getRows().getType(), turned);
  Value lanes = LogNormOp::create(b, norms.getRows().getType(), turned);
  rows = PutOp::create(b, rows, taken.getRest(), indices, offsets);
  lanes = PutOp::create(b, lanes, norms.getRest(), indices, offsets);
  Value result = MakeStreamOp::create(b, rows, lanes);
  rewriter.replaceOp(block, {result, gates, offsets});
}

static void expand(IRRewriter &rewriter, BlockOp block) {
  rewriter.setInsertionPoint(block);
  if (block.getRouting())
    expandRouted(rewriter, block);
  else
    expandDense(rewriter, block);
}

namespace {
struct ExpandBlocks : nag::impl::NagExpandBlocksBase<ExpandBlocks> {
  void runOnOperation() override {
    // A block that executes every token is a dense one.
    RewritePatternSet patterns(&getContext());
    BlockOp::getCanonicalizationPatterns(patterns, &getContext());
    walkAndApplyPatterns(getOperation(), std::move(patterns));
    IRRewriter rewriter(&getContext());
    getOperation()->walk([&](BlockOp block) {
      expand(rewriter, block);
      ++blocks;
    });
  }
};
} // namespace
