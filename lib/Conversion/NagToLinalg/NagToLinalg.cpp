// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// convert-nag-to-linalg: groups the row-wise ops of each function, lowers each
// group to one loop, and applies the patterns of the other ops.
#include "nag/Conversion/NagToLinalg.h"
#include "nag/Conversion/Passes.h"
#include "nag/Conversion/RowGroup.h"
#include "nag/Dialect/Nag/IR/NagGeneration.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace nag {
#define GEN_PASS_DEF_CONVERTNAGTOLINALG
#include "nag/Conversion/Passes.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

Value nag::reshapeTo(OpBuilder &builder, Location loc, Value tensor,
                     ArrayRef<int64_t> shape) {
  auto from = cast<RankedTensorType>(tensor.getType());
  if (from.getShape() == shape)
    return tensor;
  auto to = RankedTensorType::get(shape, from.getElementType());
  if (auto map = getReassociationIndicesForReshape(from, to)) {
    if (from.getRank() > to.getRank())
      return tensor::CollapseShapeOp::create(builder, loc, to, tensor, *map);
    return tensor::ExpandShapeOp::create(builder, loc, to, tensor, *map);
  }
  Value flat = reshapeTo(builder, loc, tensor, {from.getNumElements()});
  return reshapeTo(builder, loc, flat, shape);
}

/// The op that puts `result` into a function argument, or null.
static bufferization::MaterializeInDestinationOp findStore(Value result) {
  for (Operation *user : result.getUsers())
    if (auto store = dyn_cast<bufferization::MaterializeInDestinationOp>(user))
      if (store.getSource() == result && isa<BlockArgument>(store.getDest()))
        return store;
  return {};
}

Value nag::getDestination(OpBuilder &builder, Value result,
                          RankedTensorType type) {
  Location loc = result.getLoc();
  for (Value value = result; value; value = findOverwriter(value))
    if (auto store = findStore(value))
      return reshapeTo(builder, loc, store.getDest(), type.getShape());
  return tensor::EmptyOp::create(builder, loc, type.getShape(),
                                 type.getElementType());
}

void nag::replaceComputed(RewriterBase &rewriter, Value result,
                          Value computed) {
  if (auto store = findStore(result))
    rewriter.replaceOp(store, computed);
  rewriter.replaceAllUsesWith(result, computed);
}

/// The patterns of the ops that sum over more than a row.
static void populateContractionPatterns(RewritePatternSet &patterns) {
  populateProductPatterns(patterns);
  populateDestinationPatterns(patterns);
  populateEmbeddingPatterns(patterns);
}

namespace {

struct ConvertNagToLinalgPass
    : nag::impl::ConvertNagToLinalgBase<ConvertNagToLinalgPass> {
  void runOnOperation() override {
    RewritePatternSet products(&getContext()), all(&getContext());
    populateContractionPatterns(products);
    populateNagToLinalgPatterns(all);
    FrozenRewritePatternSet first(std::move(products)),
        patterns(std::move(all));
    GreedyRewriteConfig config;
    config.enableFolding(false).setRegionSimplificationLevel(
        GreedySimplifyRegionLevel::Disabled);
    WalkResult result = getOperation()->walk([&](func::FuncOp function) {
      if (function.isExternal())
        return WalkResult::advance();
      if (verifySizes(function).wasInterrupted())
        return WalkResult::interrupt();
      // Products first: what overwrites their results can then see where they
      // stand.
      IRRewriter rewriter(function.getContext());
      if (function->hasAttr(kKernelAttrName))
        lowerProductSums(rewriter, function);
      if (failed(applyPatternsGreedily(function, first, config)) ||
          failed(convertRows(function)) ||
          failed(applyPatternsGreedily(function, patterns, config)))
        return WalkResult::interrupt();
      return verifyConverted(function);
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }

private:
  LogicalResult convertRows(func::FuncOp function) {
    IRRewriter rewriter(function.getContext());
    bool isKernel = function->hasAttr(kKernelAttrName);
    for (const RowGroup &group : collectGroups(function, isKernel))
      if (failed(lowerRowwiseOps(rewriter, group)))
        return failure();
    eraseDeadStreams(function, rewriter);
    return success();
  }

  static SmallVector<RowGroup> collectGroups(func::FuncOp function, bool join) {
    SmallVector<RowGroup> groups;
    bool open = false;
    for (Operation &op : function.getOps()) {
      auto rowwise = dyn_cast<RowwiseOpInterface>(op);
      if (!rowwise || rowwise.getNumRows() == 0) {
        open &= isa<MakeStreamOp, DirectionOp, LogNormOp>(op);
        continue;
      }
      if (!(join && open && groups.back().accepts(rowwise)))
        groups.emplace_back();
      groups.back().add(&op);
      open = true;
    }
    return groups;
  }

  static void eraseDeadStreams(func::FuncOp function, RewriterBase &rewriter) {
    for (Operation &op : llvm::make_early_inc_range(
             llvm::reverse(function.getFunctionBody().front())))
      if (isa<MakeStreamOp, DirectionOp, LogNormOp>(op) && op.use_empty())
        rewriter.eraseOp(&op);
  }

  static WalkResult verifySizes(func::FuncOp function) {
    return function.walk([](Operation *op) -> WalkResult {
      if (!isa_and_nonnull<NagDialect>(op->getDialect()))
        return WalkResult::advance();
      return verifyHasElements(op);
    });
  }

  static WalkResult verifyConverted(func::FuncOp function) {
    return function.walk([](Operation *op) -> WalkResult {
      if (op->getName().getDialectNamespace() !=
              NagDialect::getDialectNamespace() ||
          isa<LaunchOp, RepeatOp, StreamAttentionOp, StreamAttentionVJPOp,
              StreamCachedAttentionOp, RuntimeCallOp>(op))
        return WalkResult::advance();
      return op->emitOpError("expected an op with a lowering to linalg; run "
                             "-nag-decompose and -nag-split-streams first");
    });
  }
};

} // namespace

void nag::populateNagToLinalgPatterns(RewritePatternSet &patterns) {
  populateContractionPatterns(patterns);
  linalg::populateElementwiseToLinalgConversionPatterns(patterns);
}
