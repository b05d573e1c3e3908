// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Products of matrices: linear layers and their weight gradients, alone or
// added up where their sums are computed.
#include "Matrices.h"
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

RankedTensorType matrixType(RankedTensorType type) {
  int64_t width = type.getShape().back();
  return RankedTensorType::get({type.getNumElements() / width, width},
                               type.getElementType());
}

/// c[i,j] += sum_l a * b with `a` and `b` read by the given maps of (i, j, l).
Value matmulOnto(OpBuilder &builder, Location loc, Value a, Value b, Value c,
                 AffineMap mapA, AffineMap mapB) {
  AffineMap mapC =
      AffineMap::getMultiDimMapWithTargets(3, {0, 1}, builder.getContext());
  auto parallel = utils::IteratorType::parallel;
  return linalg::GenericOp::create(
             builder, loc, c.getType(), ValueRange{a, b}, c,
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

/// The first `count` rows of a matrix as a slice.
struct FirstRows {
  SmallVector<OpFoldResult> offsets, sizes, strides;

  FirstRows(OpBuilder &builder, Value matrix, Value count)
      : offsets(2, builder.getIndexAttr(0)),
        sizes{count,
              builder.getIndexAttr(
                  cast<RankedTensorType>(matrix.getType()).getDimSize(1))},
        strides(2, builder.getIndexAttr(1)) {}
};

/// The first `count` rows of a matrix; all of them where `count` is null.
Value takeRows(OpBuilder &builder, Location loc, Value matrix, Value count) {
  if (!count)
    return matrix;
  FirstRows first(builder, matrix, count);
  return tensor::ExtractSliceOp::create(builder, loc, matrix, first.offsets,
                                        first.sizes, first.strides);
}

/// `rows` as the first `count` rows of `matrix`.
Value putRows(OpBuilder &builder, Location loc, Value rows, Value matrix,
              Value count) {
  if (!count)
    return rows;
  FirstRows first(builder, matrix, count);
  return tensor::InsertSliceOp::create(
      builder, loc, rows, matrix, first.offsets, first.sizes, first.strides);
}

/// Writes the matrix `computed` where `result` is wanted.
void replaceByMatrix(PatternRewriter &rewriter, Operation *op, Value computed) {
  Value result = op->getResult(0);
  auto type = cast<RankedTensorType>(result.getType());
  replaceComputed(rewriter, result,
                  reshapeTo(rewriter, op->getLoc(), computed, type.getShape()));
  rewriter.eraseOp(op);
}

Value matmul(OpBuilder &builder, Location loc, Value a, Value b,
             Value destination, AffineMap mapA, AffineMap mapB) {
  return matmulOnto(builder, loc, a, b, zeros(builder, loc, destination), mapA,
                    mapB);
}

/// The first `count` rows of an operand.
Value takeRowsOf(OpBuilder &builder, Operation *op, Value operand,
                 Value count) {
  return takeRows(builder, op->getLoc(),
                  asMatrix(builder, op->getLoc(), operand), count);
}

/// `op`, of which `count` rows count, added to the matrix `sum`.
Value addProduct(OpBuilder &builder, Operation *op, Value sum, Value count) {
  Location loc = op->getLoc();
  Value left = takeRowsOf(builder, op, op->getOperand(0), count);
  if (auto linear = dyn_cast<LinearOp>(op)) {
    AffineMap weight = linear.getTransposeWeight() ? dims(builder, {2, 1})
                                                   : dims(builder, {1, 2});
    return matmulOnto(builder, loc, left, linear.getWeight(), sum,
                      dims(builder, {0, 2}), weight);
  }
  auto grad = cast<WeightGradOp>(op);
  Value input = takeRowsOf(builder, op, grad.getInput(), count);
  return matmulOnto(builder, loc, left, input, sum, dims(builder, {2, 0}),
                    dims(builder, {2, 1}));
}

/// The terms of the sum `root`, through sums that only it reads.
void collectTerms(Operation *root, SmallVectorImpl<Value> &terms,
                  SmallVectorImpl<Operation *> &sums) {
  sums.push_back(root);
  for (Value operand : root->getOperands()) {
    Operation *op = operand.getDefiningOp();
    if (op && isSumOp(op) && operand.hasOneUse())
      collectTerms(op, terms, sums);
    else
      terms.push_back(operand);
  }
}

bool isOnlyAdded(Value term) {
  return term.hasOneUse() &&
         isa_and_nonnull<LinearOp, WeightGradOp>(term.getDefiningOp());
}

/// `count` rows of `tensor`, or all where that is null, copied to
/// `destination`, both matrices, row by row in parallel.
Value copyRows(ImplicitLocOpBuilder &builder, Value tensor, Value destination,
               Value count) {
  auto type = cast<RankedTensorType>(destination.getType());
  OpFoldResult bound = builder.getIndexAttr(type.getDimSize(0));
  if (count)
    bound = count;
  auto loop = scf::ForallOp::create(builder, ArrayRef<OpFoldResult>{bound},
                                    ValueRange{destination},
                                    /*mapping=*/std::nullopt);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(loop.getBody());
  SmallVector<OpFoldResult> offsets{loop.getInductionVar(0),
                                    builder.getIndexAttr(0)},
      sizes{builder.getIndexAttr(1), builder.getIndexAttr(type.getDimSize(1))},
      strides(2, builder.getIndexAttr(1));
  auto row = RankedTensorType::get({type.getDimSize(1)}, type.getElementType());
  auto extract = [&](Value matrix) -> Value {
    return tensor::ExtractSliceOp::create(builder, row, matrix, offsets, sizes,
                                          strides);
  };
  Value target = extract(loop.getRegionIterArgs()[0]);
  Value copied =
      linalg::CopyOp::create(builder, extract(tensor), target).getResult(0);
  builder.setInsertionPointToEnd(loop.getTerminator().getBody());
  tensor::ParallelInsertSliceOp::create(
      builder, copied, loop.getRegionIterArgs()[0], offsets, sizes, strides);
  return loop.getResult(0);
}

/// Lowers the sum `root` when a product is among its terms: the products are
/// added up in the destination, other terms by row-wise sums in place. Where
/// the destination may be the memory of the first term, that goes first.
void lowerSum(RewriterBase &rewriter, Operation *root) {
  SmallVector<Value> terms;
  SmallVector<Operation *> sums;
  collectTerms(root, terms, sums);
  auto type = cast<RankedTensorType>(root->getResult(0).getType());
  if (llvm::none_of(terms, isOnlyAdded) ||
      !(type.getElementType().isF32() || type.getElementType().isF64()))
    return;
  ImplicitLocOpBuilder builder(root->getLoc(), root);
  Value count = countLiveRows(builder, root);
  Value whole = getDestination(builder, root->getResult(0), matrixType(type));
  if (!isOnlyAdded(terms.front()))
    whole = copyRows(builder, asMatrix(builder, root->getLoc(), terms.front()),
                     whole, count);
  Value sum = takeRows(builder, root->getLoc(), whole, count);
  if (isOnlyAdded(terms.front()))
    sum = zeros(builder, root->getLoc(), sum);
  for (Value term : terms)
    if (isOnlyAdded(term))
      sum = addProduct(builder, term.getDefiningOp(), sum, count);
  sum = putRows(builder, root->getLoc(), sum, whole, count);
  sum = reshapeTo(builder, root->getLoc(), sum, type.getShape());
  for (Value term : ArrayRef(terms).drop_front())
    if (!isOnlyAdded(term))
      sum = arith::AddFOp::create(builder, sum, term);
  replaceComputed(rewriter, root->getResult(0), sum);
  SmallVector<Operation *> products;
  for (Value term : terms)
    if (isOnlyAdded(term))
      products.push_back(term.getDefiningOp());
  for (Operation *op : sums)
    rewriter.eraseOp(op);
  for (Operation *op : products)
    rewriter.eraseOp(op);
}

struct LowerLinear : OpRewritePattern<LinearOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(LinearOp op,
                                PatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value count = countLiveRows(rewriter, op);
    Value input = takeRowsOf(rewriter, op, op.getInput(), count);
    Value whole = getDestination(rewriter, op.getResult(),
                                 matrixType(op.getResult().getType()));
    Value destination = takeRows(rewriter, loc, whole, count);
    AffineMap weight = op.getTransposeWeight() ? dims(rewriter, {2, 1})
                                               : dims(rewriter, {1, 2});
    Value product = matmul(rewriter, loc, input, op.getWeight(), destination,
                           dims(rewriter, {0, 2}), weight);
    replaceByMatrix(rewriter, op,
                    putRows(rewriter, loc, product, whole, count));
    return success();
  }
};

struct LowerWeightGrad : OpRewritePattern<WeightGradOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(WeightGradOp op,
                                PatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value count = countLiveRows(rewriter, op);
    Value grad = takeRowsOf(rewriter, op, op.getResultGrad(), count);
    Value input = takeRowsOf(rewriter, op, op.getInput(), count);
    Value destination = getDestination(rewriter, op.getWeightGrad(),
                                       op.getWeightGrad().getType());
    replaceByMatrix(rewriter, op,
                    matmul(rewriter, loc, grad, input, destination,
                           dims(rewriter, {2, 0}), dims(rewriter, {2, 1})));
    return success();
  }
};

} // namespace

void nag::lowerProductSums(RewriterBase &rewriter, Operation *function) {
  SmallVector<Operation *> roots;
  function->walk([&](Operation *op) {
    if (op->getNumResults() != 1 || !isSumOp(op))
      return;
    Value result = op->getResult(0);
    if (!result.hasOneUse() || !isSumOp(*result.user_begin()))
      roots.push_back(op);
  });
  for (Operation *root : roots)
    lowerSum(rewriter, root);
}

void nag::populateProductPatterns(RewritePatternSet &patterns) {
  patterns.add<LowerLinear, LowerWeightGrad>(patterns.getContext());
}
