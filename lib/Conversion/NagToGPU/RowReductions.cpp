// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Thread code of rows: reductions over the elements of a row, over those of a
// thread first, over lanes by shuffles, over warps by one exchange through
// shared memory.
#include "RowThreads.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace nag;

/// The ops that combine an accumulator of `op` with a value.
static SmallVector<Operation *> getCombiners(linalg::GenericOp op) {
  return llvm::map_to_vector(
      op.getBody()->getTerminator()->getOperands(),
      [](Value yielded) { return yielded.getDefiningOp(); });
}

/// `a` and `b`, scalars or vectors, combined.
static Value combine(ImplicitLocOpBuilder &builder, Operation *combiner,
                     Value a, Value b) {
  OperationState state(builder.getLoc(), combiner->getName(), {a, b},
                       a.getType(), combiner->getAttrs());
  return builder.create(state)->getResult(0);
}

/// What the accumulators of a reduction start from.
RowThreads::Values RowThreads::getNeutrals(linalg::GenericOp op) {
  return llvm::map_to_vector(op.getDpsInits(), [&](Value init) {
    auto fill = init.getDefiningOp<linalg::FillOp>();
    return scalars.lookup(fill.getInputs()[0]);
  });
}

/// All iterations of `op` to one scalar for each of its results.
void RowThreads::emitReduction(linalg::GenericOp op) {
  RowLayout layout = getIterationLayout(op);
  prepareOperands(op, layout);
  Values neutrals = getNeutrals(op);
  SmallVector<Operation *> combiners = getCombiners(op);
  // One register per result: vectors of partial results would take more than
  // the row itself.
  auto addPosition = [&](RowPosition &position, ValueRange carried) {
    Values combined = computeBody(op, position);
    Value mask = getMask(position, layout.length);
    for (auto [index, value] : llvm::enumerate(combined)) {
      if (mask)
        value = arith::SelectOp::create(builder, mask, value,
                                        splat(neutrals[index], layout.width));
      value = combine(builder, combiners[index], carried[index],
                      reduceVector(combiners[index], value));
    }
    return combined;
  };
  Values partials = forEachPosition(layout, neutrals, addPosition);
  int64_t lanes = std::min(geometry.threadsPerRow, kWarpSize);
  for (auto [partial, combiner] : llvm::zip_equal(partials, combiners))
    partial = reduceOverLanes(combiner, partial, lanes);
  if (geometry.threadsPerRow > kWarpSize)
    partials = reduceOverWarps(combiners, partials, neutrals);
  for (auto [result, value] : llvm::zip_equal(op.getResults(), partials))
    scalars.map(result, value);
}

/// The elements of a vector, pairwise.
Value RowThreads::reduceVector(Operation *combiner, Value vector) {
  Values elements;
  int64_t width = cast<VectorType>(vector.getType()).getDimSize(0);
  for (int64_t i = 0; i < width; ++i)
    elements.push_back(vector::ExtractOp::create(builder, vector, i));
  for (int64_t step = 1; step < width; step *= 2)
    for (int64_t i = 0; i + step < width; i += 2 * step)
      elements[i] = combine(builder, combiner, elements[i], elements[i + step]);
  return elements[0];
}

/// Over aligned groups of `lanes` lanes, a power of two; all get the result.
Value RowThreads::reduceOverLanes(Operation *combiner, Value value,
                                  int64_t lanes) {
  for (int64_t step = 1; step < lanes; step *= 2) {
    Value other = gpu::ShuffleOp::create(builder, value, step, kWarpSize,
                                         gpu::ShuffleMode::XOR)
                      .getShuffleResult();
    value = combine(builder, combiner, value, other);
  }
  return value;
}

/// Over the warps of a row, of values that are alike in all lanes of a warp.
RowThreads::Values RowThreads::reduceOverWarps(ArrayRef<Operation *> combiners,
                                               ValueRange values,
                                               ValueRange neutrals) {
  int64_t warps = geometry.threadsPerRow / kWarpSize;
  SmallVector<SharedRow> rows;
  for (size_t i = 0; i < values.size(); ++i)
    rows.push_back(createShared(warps));
  Value isFirst = arith::CmpIOp::create(builder, arith::CmpIPredicate::eq, lane,
                                        constant(0));
  Value warp = arith::DivUIOp::create(builder, thread, constant(kWarpSize));
  auto branch = scf::IfOp::create(builder, isFirst, false);
  {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(branch.thenBlock());
    for (auto [shared, value] : llvm::zip_equal(rows, values))
      memref::StoreOp::create(builder, value, shared.memory, warp);
  }
  synchronize();
  Values results;
  Value index = lane;
  int64_t lanes = llvm::bit_ceil<uint64_t>(warps);
  if (lanes < kWarpSize)
    index = arith::RemUIOp::create(builder, lane, constant(lanes));
  Value hasWarp = warps == lanes ? Value() : isBelow(index, constant(warps));
  for (auto [shared, combiner, neutral] :
       llvm::zip_equal(rows, combiners, neutrals)) {
    Value place = index;
    if (hasWarp)
      place = arith::SelectOp::create(builder, hasWarp, index, constant(0));
    Value value = loadElement(shared.memory, place);
    if (hasWarp)
      value = arith::SelectOp::create(builder, hasWarp, value, neutral);
    results.push_back(reduceOverLanes(combiner, value, lanes));
  }
  return results;
}

/// The sum of the group at a position among groups.
Value RowThreads::computeGroupSum(linalg::GenericOp op, RowPosition &position) {
  RowPosition &elements = *position.parent;
  Value terms = computeBody(op, elements).front();
  Operation *combiner = getCombiners(op).front();
  Value sum = reduceOverLanes(combiner, reduceVector(combiner, terms),
                              position.groupWidth / elements.layout.width);
  return splat(sum, 1);
}
