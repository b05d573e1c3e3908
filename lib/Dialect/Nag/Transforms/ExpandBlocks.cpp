// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -nag-expand-blocks: nag.block as the ops it stands for.
#include "nag/Dialect/Nag/Transforms/Passes.h"

#include "ExpandBlocks.h"

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

static Value modulate(OpBuilder &builder, Location loc,
                      const BlockOperands &block, Value direction) {
  return ModulateOp::create(builder, loc, direction, block.weight, block.bias,
                            block.logits, block.beta, block.alpha, block.scale);
}

static FailureOr<ExpandedBlock> expandDense(ImplicitLocOpBuilder &b,
                                            const BlockOperands &block,
                                            BlockBody buildBody) {
  Value direction = DirectionOp::create(
      b, block.getStreamType().getDirectionType(), block.stream);
  Value gates = modulate(b, b.getLoc(), block, direction);
  FailureOr<Value> branch = buildBody(direction);
  if (failed(branch))
    return failure();
  Value rotated = RotateOp::create(b, block.stream, *branch, gates, block.eps);
  return ExpandedBlock{rotated, gates, Value()};
}

/// The offsets of a capacity are known: every sequence keeps as many tokens.
static Value getOffsets(ImplicitLocOpBuilder &builder,
                        const BlockOperands &block, RouteOp route) {
  if (block.dial || block.routing.getPolicy() != Policy::Capacity)
    return route.getOffsets();
  int64_t sequences = block.getStreamType().getShape().front();
  int64_t rows = route.getIndices().getType().getDimSize(0);
  SmallVector<int32_t> ends;
  for (int64_t sequence = 0; sequence <= sequences; ++sequence)
    ends.push_back(sequence * rows / sequences);
  return arith::ConstantOp::create(builder, builder.getI32TensorAttr(ends));
}

/// The gate of the rows taken is computed again from them: what a skipped
/// token's gate was has no gradient, so the backward pass needs these rows
/// alone.
static FailureOr<ExpandedBlock> expandRouted(ImplicitLocOpBuilder &b,
                                             const BlockOperands &block,
                                             BlockBody buildBody) {
  StreamType stream = block.getStreamType();
  Value direction =
      DirectionOp::create(b, stream.getDirectionType(), block.stream);
  Value logNorm = LogNormOp::create(b, stream.getLogNormType(), block.stream);
  Value gates = modulate(b, b.getLoc(), block, direction);
  auto route = RouteOp::create(b, gates, block.dial, block.routing);
  Value indices = route.getIndices(), offsets = getOffsets(b, block, route);
  auto taken = TakeOp::create(b, direction, indices, offsets);
  auto norms = TakeOp::create(b, logNorm, indices, offsets);
  FailureOr<Value> branch =
      buildBody({direction, taken.getRows(), indices, offsets});
  if (failed(branch))
    return failure();
  Value pair = MakeStreamOp::create(b, taken.getRows(), norms.getRows());
  Value rowGates = modulate(b, b.getLoc(), block, taken.getRows());
  Value turned = RotateOp::create(b, pair, *branch, rowGates, block.eps);
  Value rows = DirectionOp::create(b, taken.getRows().getType(), turned);
  Value lanes = LogNormOp::create(b, norms.getRows().getType(), turned);
  rows = PutOp::create(b, rows, taken.getRest(), indices, offsets);
  lanes = PutOp::create(b, lanes, norms.getRest(), indices, offsets);
  Value result = MakeStreamOp::create(b, rows, lanes);
  return ExpandedBlock{result, gates, offsets};
}

BlockOperands::BlockOperands(BlockOp op)
    : stream(op.getStream()), weight(op.getWeight()), bias(op.getBias()),
      logits(op.getLogits()), beta(op.getBeta()), alpha(op.getAlpha()),
      scale(op.getScale()), dial(op.getDial()), eps(op.getEpsAttr()),
      routing(op.getRoutingAttr()) {}

FailureOr<ExpandedBlock> nag::expandBlock(OpBuilder &builder, Location loc,
                                          const BlockOperands &block,
                                          BlockBody buildBody) {
  ImplicitLocOpBuilder b(loc, builder);
  return block.routing ? expandRouted(b, block, buildBody)
                       : expandDense(b, block, buildBody);
}

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

static void expand(IRRewriter &rewriter, BlockOp block) {
  rewriter.setInsertionPoint(block);
  auto expanded = expandBlock(rewriter, block.getLoc(), BlockOperands(block),
                              [&](ValueRange arguments) -> FailureOr<Value> {
                                return inlineBody(rewriter, block, arguments);
                              });
  SmallVector<Value> results{expanded->stream, expanded->gates};
  if (expanded->offsets)
    results.push_back(expanded->offsets);
  rewriter.replaceOp(block, results);
}

namespace {
struct ExpandBlocks : nag::impl::NagExpandBlocksBase<ExpandBlocks> {
  void runOnOperation() override {
    // A block that executes every token is a dense one.
    RewritePatternSet patterns(&getContext());
    BlockOp::getCanonicalizationPatterns(patterns, &getContext());
    walkAndApplyPatterns(getOperation(), std::move(patterns));
    IRRewriter rewriter(&getContext());
    getOperation()->walk([&](BlockOp block) { expand(rewriter, block); });
  }
};
} // namespace
