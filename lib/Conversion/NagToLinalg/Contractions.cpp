// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Patterns of convert-nag-to-linalg for the ops that sum over more than a row:
// linear layers, their weight gradients, attention, the embedding's gradient.
#include "nag/Conversion/NagToLinalg.h"
#include "nag/Dialect/Nag/IR/NagGeneration.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace nag;

namespace {

/// [rows..., width] as [rows, width].
Value asMatrix(OpBuilder &builder, Location loc, Value tensor) {
  auto type = cast<RankedTensorType>(tensor.getType());
  int64_t width = type.getShape().back();
  return reshapeTo(builder, loc, tensor,
                   {type.getNumElements() / width, width});
}

RankedTensorType matrixType(RankedTensorType type) {
  int64_t width = type.getShape().back();
  return RankedTensorType::get({type.getNumElements() / width, width},
                               type.getElementType());
}

Value zeros(OpBuilder &builder, Location loc, Value destination) {
  Type element = getElementTypeOrSelf(destination.getType());
  Value zero =
      arith::ConstantOp::create(builder, loc, builder.getZeroAttr(element));
  return linalg::FillOp::create(builder, loc, zero, destination).getResult(0);
}

/// c[i,j] = sum_l a * b with `a` and `b` read by the given maps of (i, j, l).
Value matmul(OpBuilder &builder, Location loc, Value a, Value b,
             Value destination, AffineMap mapA, AffineMap mapB) {
  AffineMap mapC =
      AffineMap::getMultiDimMapWithTargets(3, {0, 1}, builder.getContext());
  auto parallel = utils::IteratorType::parallel;
  return linalg::GenericOp::create(
             builder, loc, destination.getType(), ValueRange{a, b},
             zeros(builder, loc, destination),
             ArrayRef<AffineMap>{mapA, mapB, mapC},
             ArrayRef{parallel, parallel, utils::IteratorType::reduction},
             [](OpBuilder &nested, Location at, ValueRange args) {
               Value product =
                   arith::MulFOp::create(nested, at, args[0], args[1]);
               Value sum = arith::AddFOp::create(nested, at, args[2], product);
               linalg::YieldOp::create(nested, at, sum);
             })
      .getResult(0);
}

AffineMap dims(OpBuilder &builder, ArrayRef<unsigned> targets) {
  return AffineMap::getMultiDimMapWithTargets(3, targets, builder.getContext());
}

/// Writes the matrix `computed` where `result` is wanted.
void replaceByMatrix(PatternRewriter &rewriter, Operation *op, Value computed) {
  Value result = op->getResult(0);
  auto type = cast<RankedTensorType>(result.getType());
  replaceComputed(rewriter, result,
                  reshapeTo(rewriter, op->getLoc(), computed, type.getShape()));
  rewriter.eraseOp(op);
}

struct LowerLinear : OpRewritePattern<LinearOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(LinearOp op,
                                PatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value input = asMatrix(rewriter, loc, op.getInput());
    Value destination = getDestination(rewriter, op.getResult(),
                                       matrixType(op.getResult().getType()));
    AffineMap weight = op.getTransposeWeight() ? dims(rewriter, {2, 1})
                                               : dims(rewriter, {1, 2});
    replaceByMatrix(rewriter, op,
                    matmul(rewriter, loc, input, op.getWeight(), destination,
                           dims(rewriter, {0, 2}), weight));
    return success();
  }
};

struct LowerWeightGrad : OpRewritePattern<WeightGradOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(WeightGradOp op,
                                PatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value grad = asMatrix(rewriter, loc, op.getResultGrad());
    Value input = asMatrix(rewriter, loc, op.getInput());
    Value destination = getDestination(rewriter, op.getWeightGrad(),
                                       op.getWeightGrad().getType());
    replaceByMatrix(rewriter, op,
                    matmul(rewriter, loc, grad, input, destination,
                           dims(rewriter, {2, 0}), dims(rewriter, {2, 1})));
    return success();
  }
};

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
        op.getValue(), destinations[0], destinations[1], op.getHeadsAttr(),
        op.getKvHeadsAttr(), op.getWindowAttr());
    replaceAllComputed(rewriter, op, lowered);
    return success();
  }
};

struct LowerCachedAttention : OpRewritePattern<CachedAttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(CachedAttentionOp op,
                                PatternRewriter &rewriter) const override {
    Value destination =
        getDestination(rewriter, op.getResult(), op.getResult().getType());
    auto lowered = StreamCachedAttentionOp::create(
        rewriter, op.getLoc(), op->getResultTypes(), op.getQuery(), op.getKey(),
        op.getValue(), op.getKeyCache(), op.getValueCache(), op.getPositions(),
        destination, op.getHeadsAttr(), op.getKvHeadsAttr(),
        op.getWindowAttr());
    replaceComputed(rewriter, op.getResult(), lowered->getResult(0));
    rewriter.eraseOp(op);
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
        destinations[0], destinations[1], destinations[2], op.getHeadsAttr(),
        op.getKvHeadsAttr(), op.getWindowAttr());
    replaceAllComputed(rewriter, op, lowered);
    return success();
  }
};

/// One block of columns of the table's gradient at a time: every thread adds up
/// the rows of all tokens in their order, so nothing is added twice at once.
struct LowerEmbeddingVJP : OpRewritePattern<EmbeddingVJPOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(EmbeddingVJPOp op,
                                PatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    RankedTensorType type = op.getTableGrad().getType();
    Value grad = asMatrix(builder, op.getLoc(), op.getResultGrad());
    int64_t rows = op.getTokens().getType().getNumElements();
    Value tokens = reshapeTo(builder, op.getLoc(), op.getTokens(), {rows});
    int64_t width = blockWidth(type.getDimSize(1));
    Value destination = getDestination(rewriter, op.getTableGrad(), type);
    auto loop = scf::ForallOp::create(
        builder, ArrayRef<OpFoldResult>{builder.getIndexAttr(0)},
        ArrayRef<OpFoldResult>{builder.getIndexAttr(type.getDimSize(1))},
        ArrayRef<OpFoldResult>{builder.getIndexAttr(width)},
        ValueRange{destination}, /*mapping=*/std::nullopt);
    builder.setInsertionPointToStart(loop.getBody());
    Value column = loop.getInductionVar(0);
    Columns columns{column, builder.getIndexAttr(width)};
    Value table = columns.slice(builder, loop.getRegionIterArgs()[0],
                                builder.getIndexAttr(0), type.getDimSize(0));
    Value sums = addRows(builder, columns, tokens, grad,
                         zeros(builder, op.getLoc(), table), rows);
    storeColumns(builder, loop, columns, sums, type.getDimSize(0));
    rewriter.setInsertionPointAfter(loop);
    replaceComputed(rewriter, op.getTableGrad(), loop.getResult(0));
    rewriter.eraseOp(op);
    return success();
  }

private:
  /// A range of columns of a matrix.
  struct Columns {
    Value first;
    OpFoldResult width;

    Value slice(OpBuilder &builder, Value matrix, OpFoldResult row,
                int64_t rows) const {
      SmallVector<OpFoldResult> offsets{row, first};
      SmallVector<OpFoldResult> sizes{builder.getIndexAttr(rows), width};
      SmallVector<OpFoldResult> strides(2, builder.getIndexAttr(1));
      return tensor::ExtractSliceOp::create(builder, first.getLoc(), matrix,
                                            offsets, sizes, strides);
    }
  };

  /// The widest of 64, 32, 16 and 8 columns that divides the table's; else all.
  static int64_t blockWidth(int64_t columns) {
    for (int64_t width : {64, 32, 16, 8})
      if (columns % width == 0)
        return width;
    return columns;
  }

  static Value addRows(ImplicitLocOpBuilder &builder, const Columns &columns,
                       Value tokens, Value grad, Value table, int64_t rows) {
    Value zero = arith::ConstantIndexOp::create(builder, 0);
    Value one = arith::ConstantIndexOp::create(builder, 1);
    Value count = arith::ConstantIndexOp::create(builder, rows);
    auto loop =
        scf::ForOp::create(builder, zero, count, one, ValueRange{table});
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(loop.getBody());
    Value position = loop.getInductionVar();
    Value sums = loop.getRegionIterArg(0);
    Value token = tensor::ExtractOp::create(builder, tokens, position);
    Value row =
        arith::IndexCastOp::create(builder, builder.getIndexType(), token);
    // `sums` holds the block alone: its columns count from 0.
    Columns block{zero, columns.width};
    Value old = block.slice(builder, sums, row, 1);
    Value added =
        linalg::AddOp::create(
            builder, ValueRange{old, columns.slice(builder, grad, position, 1)},
            ValueRange{old})
            .getResult(0);
    SmallVector<OpFoldResult> offsets{row, block.first};
    SmallVector<OpFoldResult> sizes{builder.getIndexAttr(1), block.width};
    SmallVector<OpFoldResult> strides(2, builder.getIndexAttr(1));
    Value updated = tensor::InsertSliceOp::create(builder, added, sums, offsets,
                                                  sizes, strides);
    scf::YieldOp::create(builder, updated);
    return loop.getResult(0);
  }

  static void storeColumns(ImplicitLocOpBuilder &builder, scf::ForallOp loop,
                           const Columns &columns, Value sums, int64_t rows) {
    builder.setInsertionPointToStart(loop.getTerminator().getBody());
    SmallVector<OpFoldResult> offsets{builder.getIndexAttr(0), columns.first};
    SmallVector<OpFoldResult> sizes{builder.getIndexAttr(rows), columns.width};
    SmallVector<OpFoldResult> strides(2, builder.getIndexAttr(1));
    tensor::ParallelInsertSliceOp::create(
        builder, sums, loop.getRegionIterArgs()[0], offsets, sizes, strides);
  }
};

} // namespace

void nag::populateContractionPatterns(RewritePatternSet &patterns) {
  patterns.add<LowerLinear, LowerWeightGrad, LowerAttention, LowerAttentionVJP,
               LowerCachedAttention, LowerEmbeddingVJP>(patterns.getContext());
}
