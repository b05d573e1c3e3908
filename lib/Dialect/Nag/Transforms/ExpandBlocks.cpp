// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -nag-expand-blocks: nag.block as the ops it stands for.
#include "nag/Dialect/Nag/Transforms/Passes.h"

#include "mlir/IR/PatternMatch.h"

namespace nag {
#define GEN_PASS_DEF_NAGEXPANDBLOCKS
#include "nag/Dialect/Nag/Transforms/Passes.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

/// Inlines the body before the block, the direction in place of its argument.
/// Returns the branch.
static Value inlineBody(IRRewriter &rewriter, BlockOp block, Value direction) {
  Block *body = &block.getBody().front();
  auto yield = cast<YieldOp>(body->getTerminator());
  Value branch = yield.getValues().front();
  if (branch == body->getArgument(0))
    branch = direction;
  rewriter.eraseOp(yield);
  rewriter.inlineBlockBefore(body, block, direction);
  return branch;
}

static void expand(IRRewriter &rewriter, BlockOp block) {
  Location loc = block.getLoc();
  rewriter.setInsertionPoint(block);
  Value direction = DirectionOp::create(
      rewriter, loc, block.getStream().getType().getDirectionType(),
      block.getStream());
  Value gates = ModulateOp::create(
      rewriter, loc, direction, block.getWeight(), block.getBias(),
      block.getLogits(), block.getBeta(), block.getAlpha(), block.getScale());
  Value branch = inlineBody(rewriter, block, direction);
  Value rotated = RotateOp::create(rewriter, loc, block.getStream(), branch,
                                   gates, block.getEpsAttr());
  rewriter.replaceOp(block, {rotated, gates});
}

namespace {
struct ExpandBlocks : nag::impl::NagExpandBlocksBase<ExpandBlocks> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    getOperation()->walk([&](BlockOp block) {
      expand(rewriter, block);
      ++blocks;
    });
  }
};
} // namespace
