// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The loop of a group that sums over rows: chunks of rows side by side, the
// rows of a chunk one after the other, then the chunks' sums in order.
#include "RowLoop.h"
#include "RowTensors.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/IR/RowBuilder.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nag;

/// A sum over all rows is the sum of at most this many chunks' sums: enough
/// for the threads of a large machine, few enough to add up at the end.
static constexpr int64_t kMaxChunks = 64;

/// Destinations of the chunks' sums: [chunks] or [chunks, c].
SmallVector<Value> RowLoop::createPartials(int64_t chunks) {
  SmallVector<Value> tensors;
  for (const Output &output : outputs) {
    if (!output.isSum()) {
      tensors.push_back(output.destination);
      continue;
    }
    SmallVector<int64_t> shape(output.type.getShape());
    shape.insert(shape.begin(), chunks);
    tensors.push_back(tensor::EmptyOp::create(
        builder, shape, getComputeType(output.type.getElementType())));
  }
  return tensors;
}

/// The sum of `partials` over its first dimension, in order.
Value RowLoop::addUp(Value partials, Value destination) {
  auto add = [](RowBuilder::Elements e) { return e[0]; };
  RowBuilder rows(builder, getElementTypeOrSelf(partials.getType()));
  if (cast<RankedTensorType>(partials.getType()).getRank() == 1)
    return place(rows.sum({partials}, add), destination);
  return place(rows.sumOverGroups({partials}, add), destination);
}

SmallVector<Value> RowLoop::emitChunks() {
  int64_t chunks = std::min(numRows, kMaxChunks);
  auto loop = scf::ForallOp::create(
      builder, ArrayRef<OpFoldResult>{builder.getIndexAttr(chunks)},
      createPartials(chunks), std::nullopt);
  {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(loop.getBody());
    emitChunk(loop.getInductionVar(0), chunks, loop.getRegionIterArgs(),
              loop.getTerminator());
  }
  SmallVector<Value> results = llvm::to_vector_of<Value>(loop.getResults());
  for (auto [output, result] : llvm::zip_equal(outputs, results))
    if (output.isSum())
      result = addUp(result, output.destination);
  return results;
}

/// The first row of a chunk and how many it has.
std::pair<OpFoldResult, OpFoldResult> RowLoop::getChunkRows(Value chunk,
                                                            int64_t chunks) {
  Location loc = builder.getLoc();
  AffineExpr index = builder.getAffineDimExpr(0);
  AffineExpr rows = builder.getAffineConstantExpr(numRows);
  SmallVector<OpFoldResult> operands{chunk};
  if (numLiveRows) {
    rows = builder.getAffineSymbolExpr(0);
    operands.push_back(numLiveRows);
  }
  auto boundary = [&](AffineExpr at) { return (at * rows).floorDiv(chunks); };
  OpFoldResult first = affine::makeComposedFoldedAffineApply(
      builder, loc, boundary(index), operands);
  if (!numLiveRows && numRows % chunks == 0)
    return {first, builder.getIndexAttr(numRows / chunks)};
  return {first,
          affine::makeComposedFoldedAffineApply(
              builder, loc, boundary(index + 1) - boundary(index), operands)};
}

/// The rows of one chunk, one after the other.
void RowLoop::emitChunk(Value chunk, int64_t chunks, ValueRange shared,
                        scf::InParallelOp terminator) {
  auto [first, count] = getChunkRows(chunk, chunks);
  SmallVector<Value> slices = initializeChunk(chunk, shared, first, count);
  Value zero = arith::ConstantIndexOp::create(builder, 0);
  Value one = arith::ConstantIndexOp::create(builder, 1);
  auto loop = scf::ForOp::create(
      builder, zero,
      getValueOrCreateConstantIndexOp(builder, builder.getLoc(), count), one,
      slices);
  {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(loop.getBody());
    Value base =
        getValueOrCreateConstantIndexOp(builder, builder.getLoc(), first);
    Value row = arith::AddIOp::create(builder, base, loop.getInductionVar());
    scf::YieldOp::create(builder, emitChunkRow(row, loop.getInductionVar(),
                                               loop.getRegionIterArgs()));
  }
  for (auto [output, result, tensor] :
       llvm::zip_equal(outputs, loop.getResults(), shared)) {
    bool isSum = output.isSum();
    Value part = result;
    if (isSum && !isa<RankedTensorType>(part.getType()))
      part = place(part, extractRow(builder, tensor, chunk));
    insertInParallel(builder, terminator, part, tensor,
                     isSum ? OpFoldResult(chunk) : first,
                     isSum ? OpFoldResult(builder.getIndexAttr(1)) : count);
  }
}

/// What the loop over a chunk's rows starts from: the chunk's part of each
/// output, zero for each sum.
SmallVector<Value> RowLoop::initializeChunk(Value chunk, ValueRange shared,
                                            OpFoldResult first,
                                            OpFoldResult count) {
  SmallVector<Value> slices;
  for (auto [output, tensor] : llvm::zip_equal(outputs, shared)) {
    if (!output.isSum()) {
      slices.push_back(extractRows(builder, tensor, first, count));
      continue;
    }
    RowBuilder rows(builder, getElementTypeOrSelf(tensor.getType()));
    Value zero = rows.constant(0);
    if (output.type.getRank() > 0)
      zero = linalg::FillOp::create(builder, zero,
                                    extractRow(builder, tensor, chunk))
                 .getResult(0);
    slices.push_back(zero);
  }
  return slices;
}

/// `accumulator` plus `value`, scalars or rows; a row is added in place.
static Value addTo(ImplicitLocOpBuilder &builder, Value accumulator,
                   Value value) {
  if (!isa<RankedTensorType>(value.getType()))
    return Scalar(builder, accumulator) + Scalar(builder, value);
  AffineMap identity = builder.getMultiDimIdentityMap(1);
  auto add = [](OpBuilder &nested, Location loc, ValueRange arguments) {
    Value sum = arith::AddFOp::create(nested, loc, arguments[0], arguments[1]);
    linalg::YieldOp::create(nested, loc, sum);
  };
  return linalg::GenericOp::create(builder, accumulator.getType(), value,
                                   accumulator, {identity, identity},
                                   {utils::IteratorType::parallel}, add)
      .getResult(0);
}

/// One row of a chunk: row `row` of the tensors, `index` of the chunk.
SmallVector<Value> RowLoop::emitChunkRow(Value row, Value index,
                                         ValueRange carried) {
  SmallVector<Value> slices;
  for (auto [output, part] : llvm::zip_equal(outputs, carried))
    slices.push_back(output.isSum() ? part : extractRow(builder, part, index));
  SmallVector<Value> results = emitRow(row, slices);
  for (auto [output, result, part] : llvm::zip_equal(outputs, results, carried))
    result = output.isSum() ? addTo(builder, part, result)
                            : insertRow(builder, result, part, index);
  return results;
}
