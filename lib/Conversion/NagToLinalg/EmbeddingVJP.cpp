// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The embedding's gradient: the rows of all tokens, added up in the table.
#include "Matrices.h"
#include "nag/Conversion/NagToLinalg.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace nag;

namespace {

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

void nag::populateEmbeddingPatterns(RewritePatternSet &patterns) {
  patterns.add<LowerEmbeddingVJP>(patterns.getContext());
}
