// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Folds and canonicalization patterns of depth routing.
#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace nag;

//===----------------------------------------------------------------------===//
// take and put
//===----------------------------------------------------------------------===//

/// What was taken and is put back is what it was.
OpFoldResult PutOp::fold(FoldAdaptor) {
  auto take = getRows().getDefiningOp<TakeOp>();
  if (take && getRows() == take.getRows() && getRest() == take.getRest() &&
      getIndices() == take.getIndices() && getOffsets() == take.getOffsets())
    return take.getSource();
  return {};
}

/// The first `dims` dimensions of a tensor as one.
static ReassociationIndices leading(int64_t dims) {
  return llvm::to_vector(llvm::seq<int64_t>(0, dims));
}

static SmallVector<ReassociationIndices> rowsOf(Value whole) {
  SmallVector<ReassociationIndices> groups{leading(2)};
  if (cast<RankedTensorType>(whole.getType()).getRank() == 3)
    groups.push_back({2});
  return groups;
}

static bool coversAll(Value indices, Value offsets, Value whole) {
  ArrayRef<int64_t> shape = cast<RankedTensorType>(whole.getType()).getShape();
  return cast<RankedTensorType>(indices.getType()).getDimSize(0) ==
             shape[0] * shape[1] &&
         isIdentityRoute(indices, offsets);
}

/// All rows, each in its place, are the source in another shape.
static LogicalResult takeAll(TakeOp op, PatternRewriter &rewriter) {
  if (!op.getRest().use_empty() ||
      !coversAll(op.getIndices(), op.getOffsets(), op.getSource()))
    return failure();
  Value rows = tensor::CollapseShapeOp::create(
      rewriter, op.getLoc(), op.getSource(), rowsOf(op.getSource()));
  rewriter.replaceOp(op, {rows, op.getSource()});
  return success();
}

void TakeOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                         MLIRContext *) {
  patterns.add(takeAll);
}

static LogicalResult putAll(PutOp op, PatternRewriter &rewriter) {
  if (!coversAll(op.getIndices(), op.getOffsets(), op.getRest()))
    return failure();
  rewriter.replaceOpWithNewOp<tensor::ExpandShapeOp>(
      op, op.getResult().getType(), op.getRows(), rowsOf(op.getRest()));
  return success();
}

/// Rows that are put over others.
static LogicalResult putOver(PutOp op, PatternRewriter &rewriter) {
  auto below = op.getRest().getDefiningOp<PutOp>();
  if (!below || below.getIndices() != op.getIndices() ||
      below.getOffsets() != op.getOffsets())
    return failure();
  rewriter.modifyOpInPlace(
      op, [&] { op.getRestMutable().assign(below.getRest()); });
  return success();
}

void PutOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                        MLIRContext *) {
  patterns.add(putAll).add(putOver);
}

//===----------------------------------------------------------------------===//
// block
//===----------------------------------------------------------------------===//

/// True when every token is executed, whatever its score.
static bool executesAll(BlockOp op) {
  if (op.getRouting()->getPolicy() == Policy::Capacity)
    return !op.getDial() &&
           op.getRouting()->getKept(op.getStream().getType().getShape()[1]) ==
               op.getStream().getType().getShape()[1];
  DenseFPElementsAttr dial;
  return matchPattern(op.getDial(), m_Constant(&dial)) &&
         !dial.getSplatValue<APFloat>().isNaN() &&
         dial.getSplatValue<APFloat>().convertToDouble() <= 0;
}

static Value constantOf(OpBuilder &builder, Location loc,
                        ArrayRef<int32_t> values) {
  return arith::ConstantOp::create(builder, loc,
                                   builder.getI32TensorAttr(values));
}

/// `op` on [B, T, ...] in place of rows [B*T, ...]: its operands are changed
/// already; every row stands in its place, so nothing names it.
static LogicalResult adaptToSequences(Operation *op) {
  if (auto rotary = dyn_cast<RotaryOp>(op))
    rotary.getIndicesMutable().clear();
  if (auto attention = dyn_cast<AttentionOp>(op))
    attention.getRouteMutable().clear();
  auto inferred = dyn_cast<InferTypeOpInterface>(op);
  SmallVector<Type> types;
  if (!inferred || failed(inferred.inferReturnTypes(
                       op->getContext(), op->getLoc(), op->getOperands(),
                       op->getDiscardableAttrDictionary(),
                       op->getPropertiesStorage(), op->getRegions(), types)))
    return failure();
  for (auto [result, type] : llvm::zip_equal(op->getResults(), types))
    result.setType(type);
  return success();
}

/// Fills the body of a dense block with that of a routed one: the rows are the
/// direction, all of it. Fails where an op does not work on sequences.
static LogicalResult fillDenseBody(PatternRewriter &rewriter, BlockOp op,
                                   BlockOp dense, Value offsets) {
  StreamType stream = op.getStream().getType();
  OpBuilder::InsertionGuard guard(rewriter);
  Block *body = rewriter.createBlock(&dense.getBody(), {},
                                     stream.getDirectionType(), op.getLoc());
  SmallVector<int32_t> places =
      llvm::to_vector(llvm::seq<int32_t>(0, stream.getNumRows()));
  Block &old = op.getBody().front();
  Value direction = body->getArgument(0);
  IRMapping mapping;
  mapping.map(old.getArgument(0), direction);
  mapping.map(old.getArgument(1), direction);
  mapping.map(old.getArgument(2), constantOf(rewriter, op.getLoc(), places));
  mapping.map(old.getArgument(3), offsets);
  for (Operation &nested : old) {
    bool changes = llvm::any_of(nested.getOperands(), [&](Value operand) {
      return mapping.lookupOrDefault(operand).getType() != operand.getType();
    });
    Operation *copy = rewriter.clone(nested, mapping);
    if (changes && !isa<YieldOp>(copy) && failed(adaptToSequences(copy)))
      return failure();
  }
  return success(body->getTerminator()->getOperand(0).getType() ==
                 stream.getDirectionType());
}

/// A block that executes every token is a block without routing.
static LogicalResult executeAll(BlockOp op, PatternRewriter &rewriter) {
  if (!op.getRouting() || !executesAll(op))
    return failure();
  StreamType stream = op.getStream().getType();
  SmallVector<int32_t> ends;
  for (int64_t sequence = 0; sequence <= stream.getShape()[0]; ++sequence)
    ends.push_back(sequence * stream.getShape()[1]);
  Value offsets = constantOf(rewriter, op.getLoc(), ends);
  auto dense = BlockOp::create(
      rewriter, op.getLoc(),
      TypeRange{op.getResult().getType(), op.getGates().getType()},
      op.getStream(), op.getWeight(), op.getBias(), op.getLogits(),
      op.getBeta(), op.getAlpha(), op.getScale(), Value(), op.getEpsAttr(),
      RoutingAttr());
  if (failed(fillDenseBody(rewriter, op, dense, offsets))) {
    rewriter.eraseOp(dense);
    rewriter.eraseOp(offsets.getDefiningOp());
    return failure();
  }
  rewriter.replaceOp(op, {dense.getResult(), dense.getGates(), offsets});
  return success();
}

void BlockOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                          MLIRContext *) {
  patterns.add(executeAll);
}
