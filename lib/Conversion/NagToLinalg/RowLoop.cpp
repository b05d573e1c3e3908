// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "RowLoop.h"
#include "RowTensors.h"
#include "nag/Conversion/NagToLinalg.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/IR/RowBuilder.h"
#include "nag/Dialect/Nag/Transforms/HostSignature.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nag;

//===----------------------------------------------------------------------===//
// What the loop reads and writes
//===----------------------------------------------------------------------===//

/// The input that `result` may overwrite and that nobody reads after it, where
/// that was computed in this function.
std::optional<RowPart> RowLoop::findOverwritten(Value result) const {
  auto op = dyn_cast<RowwiseOpInterface>(result.getDefiningOp());
  if (!op || isa<StreamType>(result.getType()) || op.getColumnSpan() != 1 ||
      numRows == 1)
    return std::nullopt;
  std::optional<unsigned> shared =
      op.getSharedOperand(cast<OpResult>(result).getResultNumber());
  if (!shared)
    return std::nullopt;
  Value operand = op->getOperand(*shared);
  if (!operand.hasOneUse() || operand.getType() != result.getType())
    return std::nullopt;
  Operation *producer = operand.getDefiningOp();
  if (producer && group.contains(producer))
    return findOverwritten(operand);
  while (isa_and_nonnull<tensor::ExpandShapeOp, tensor::CollapseShapeOp,
                         tensor::InsertSliceOp>(producer))
    producer = producer->getOperand(0).getDefiningOp();
  if (isa_and_nonnull<linalg::LinalgOp>(producer) && inputs.contains(operand))
    return RowPart{operand, 0};
  return std::nullopt;
}

LogicalResult RowLoop::collectInputs() {
  auto read = group.collectInputs();
  if (failed(read))
    return failure();
  for (auto [tensor, role] : *read) {
    auto type = cast<RankedTensorType>(tensor.getType());
    auto &rows = role == RowRole::Indexed ? indexedInputs : inputs;
    rows[tensor] = reshapeTo(builder, builder.getLoc(), tensor,
                             getRowsType(type, role, numRows).getShape());
  }
  return success();
}

/// The rows of `destination` that `put` does not write, from its base.
static Value carryRows(ImplicitLocOpBuilder &builder, PutOp put,
                       Value destination) {
  RankedTensorType type = put.getType();
  int64_t rows = type.getDimSize(0) * type.getDimSize(1);
  int64_t rowBytes = getTypeBytes(type) / rows;
  int64_t sequences = put.getOffsets().getType().getDimSize(0) - 1;
  SmallVector<Value> inputs{put.getRest(), put.getIndices(), put.getOffsets()};
  return RuntimeCallOp::create(builder, destination.getType(), "nag_carry_rows",
                               ArrayRef<int64_t>{rows, rowBytes, sequences},
                               inputs, destination)
      .getResult(0);
}

/// Where a tensor that keeps other rows is computed: its destination, which
/// holds the base already where it is a kernel's, or is given the base's rows;
/// elsewhere a copy of the base.
static Value fillWithBase(ImplicitLocOpBuilder &builder, const Output &output) {
  Value destination = output.destination;
  if (auto put = output.part.first.getDefiningOp<PutOp>();
      put && isCarried(put))
    return carryRows(builder, put, destination);
  if (!destination.getDefiningOp<tensor::EmptyOp>())
    return destination;
  auto shape = cast<RankedTensorType>(destination.getType()).getShape();
  return linalg::CopyOp::create(
             builder, reshapeTo(builder, builder.getLoc(), output.base, shape),
             destination)
      .getResult(0);
}

void RowLoop::collectOutputs() {
  for (RowOutput &computed : group.collectOutputs()) {
    Output output(std::move(computed));
    Value named =
        output.replaced.empty() ? output.part.first : output.replaced.front();
    output.overwritten = findOverwritten(output.part.first);
    output.destination =
        output.overwritten
            ? inputs.lookup(output.overwritten->first)
            : getDestination(builder, named,
                             getRowsType(output.type, output.role, numRows));
    if (output.base)
      output.destination = fillWithBase(builder, output);
    outputs.push_back(std::move(output));
  }
}

//===----------------------------------------------------------------------===//
// The work for one row
//===----------------------------------------------------------------------===//

Value RowLoop::load(RowPart part, Value row) {
  Value value, tensor = inputs.lookup(part.first);
  if (cast<RankedTensorType>(tensor.getType()).getRank() == 1)
    value = tensor::ExtractOp::create(builder, tensor, row);
  else
    value = extractRow(builder, tensor, row);
  return toComputeType(builder, value);
}

/// The row or the scalar of an Indexed tensor at `place`, an i32.
Value RowLoop::loadIndexed(Value tensor, Value place) {
  Value rows = indexedInputs.lookup(tensor);
  Value index =
      arith::IndexCastOp::create(builder, builder.getIndexType(), place);
  if (cast<RankedTensorType>(rows.getType()).getRank() == 1)
    return toComputeType(builder,
                         tensor::ExtractOp::create(builder, rows, index));
  return toComputeType(builder, extractRow(builder, rows, index));
}

/// Which row of an output belongs to row `row` of the loop.
Value RowLoop::slotOf(const Output &output, Value row) {
  if (!output.indices)
    return row;
  return arith::IndexCastOp::create(builder, builder.getIndexType(),
                                    load(resolveRowPart(output.indices), row));
}

/// Makes the linalg op behind `row` compute in `slice` instead of a tensor of
/// its own. Fails when there is no such op.
static LogicalResult computeInPlace(ImplicitLocOpBuilder &builder, Value row,
                                    Value slice) {
  SmallVector<Operation *> reshapes;
  while (auto *reshape = row.getDefiningOp()) {
    if (!isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(reshape))
      break;
    reshapes.push_back(reshape);
    row = reshape->getOperand(0);
  }
  auto producer = row.getDefiningOp<linalg::LinalgOp>();
  if (!producer)
    return failure();
  OpOperand *init =
      producer.getDpsInitOperand(cast<OpResult>(row).getResultNumber());
  if (!init->get().getDefiningOp<tensor::EmptyOp>())
    return failure();
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(producer);
  auto shape = cast<RankedTensorType>(row.getType()).getShape();
  init->set(reshapeTo(builder, builder.getLoc(), slice, shape));
  return success();
}

/// `slice` of a destination, filled with `value`.
Value RowLoop::place(Value value, Value slice) {
  auto type = cast<RankedTensorType>(slice.getType());
  value = toStorageType(builder, value, type.getElementType());
  if (!isa<RankedTensorType>(value.getType())) {
    SmallVector<Value> indices;
    if (type.getRank() > 0)
      indices.push_back(arith::ConstantIndexOp::create(builder, 0));
    return tensor::InsertOp::create(builder, value, slice, indices);
  }
  if (succeeded(computeInPlace(builder, value, slice)))
    return value;
  return linalg::CopyOp::create(builder, value, slice).getResult(0);
}

/// Emits all ops for one row. Returns, for each output, its slice filled; for
/// a sum, the row's term.
SmallVector<Value> RowLoop::emitRow(Value row, ArrayRef<Value> slices) {
  auto getPart = [&](RowPart part) {
    for (auto [output, slice] : llvm::zip_equal(outputs, slices))
      if (output.overwritten == part)
        return toComputeType(builder, slice);
    return load(part, row);
  };
  auto getWhole = [&](Value tensor) -> Value {
    auto type = dyn_cast<RankedTensorType>(tensor.getType());
    if (type && type.getRank() == 0)
      return tensor::ExtractOp::create(builder, tensor, ValueRange());
    return tensor;
  };
  auto getIndexed = [&](Value tensor, Value place) {
    return loadIndexed(tensor, place);
  };
  auto values = group.buildRow(builder, row, {getPart, getWhole, getIndexed});
  SmallVector<Value> results;
  for (auto [output, slice] : llvm::zip_equal(outputs, slices)) {
    Value value = values.lookup(output.part);
    results.push_back(output.isSum() ? value : place(value, slice));
  }
  return results;
}

//===----------------------------------------------------------------------===//
// The loops
//===----------------------------------------------------------------------===//

SmallVector<Value> RowLoop::emitSingleRow() {
  Value zero = arith::ConstantIndexOp::create(builder, 0);
  SmallVector<Value> slices, slots;
  for (const Output &output : outputs) {
    slots.push_back(slotOf(output, zero));
    slices.push_back(
        output.isSum() ? output.destination
                       : extractRow(builder, output.destination, slots.back()));
  }
  SmallVector<Value> results = emitRow(zero, slices);
  for (auto [output, result, slot] : llvm::zip_equal(outputs, results, slots))
    result = output.isSum()
                 ? place(result, output.destination)
                 : insertRow(builder, result, output.destination, slot);
  return results;
}

SmallVector<Value> RowLoop::emitForall() {
  SmallVector<Value> destinations = llvm::map_to_vector(
      outputs, [](const Output &output) { return output.destination; });
  OpFoldResult bound = builder.getIndexAttr(numRows);
  if (numLiveRows)
    bound = numLiveRows;
  auto loop = scf::ForallOp::create(builder, ArrayRef<OpFoldResult>{bound},
                                    destinations, std::nullopt);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(loop.getBody());
  Value row = loop.getInductionVar(0);
  SmallVector<Value> slices, slots;
  for (auto [output, shared] :
       llvm::zip_equal(outputs, loop.getRegionIterArgs())) {
    slots.push_back(slotOf(output, row));
    slices.push_back(extractRow(builder, shared, slots.back()));
  }
  SmallVector<Value> results = emitRow(row, slices);
  for (auto [result, shared, slot] :
       llvm::zip_equal(results, loop.getRegionIterArgs(), slots))
    insertInParallel(builder, loop.getTerminator(), result, shared, slot,
                     builder.getIndexAttr(1));
  return llvm::to_vector_of<Value>(loop.getResults());
}

//===----------------------------------------------------------------------===//
// Putting it together
//===----------------------------------------------------------------------===//

/// Erases the dead ops that take apart or put together the streams of `op`.
static void eraseDeadStreamOps(RewriterBase &rewriter, Operation *op) {
  for (Operation *user : llvm::make_early_inc_range(op->getUsers())) {
    if (!isa<MakeStreamOp, DirectionOp, LogNormOp>(user))
      continue;
    eraseDeadStreamOps(rewriter, user);
    if (user->use_empty())
      rewriter.eraseOp(user);
  }
}

void RowLoop::replaceOps(ArrayRef<Value> results) {
  DenseMap<Value, SmallVector<Value, 2>> streams;
  for (auto [output, result] : llvm::zip_equal(outputs, results)) {
    Value tensor =
        reshapeTo(builder, builder.getLoc(), result, output.type.getShape());
    for (Value replaced : output.replaced)
      replaceComputed(rewriter, replaced, tensor);
    if (isa<StreamType>(output.part.first.getType()))
      streams[output.part.first].push_back(tensor);
  }
  for (auto &[stream, parts] : streams)
    if (parts.size() == 2)
      rewriter.replaceAllUsesWith(
          stream, MakeStreamOp::create(builder, parts[0], parts[1]));
  for (Operation *op : llvm::reverse(group.getOps())) {
    eraseDeadStreamOps(rewriter, op);
    rewriter.eraseOp(op);
  }
}

LogicalResult RowLoop::lower() {
  if (failed(collectInputs()))
    return failure();
  collectOutputs();
  numLiveRows = countLiveRows(builder, group.getOps().front());
  SmallVector<Value> results;
  if (numRows == 1 && !numLiveRows)
    results = emitSingleRow();
  else if (llvm::any_of(outputs, [](const Output &o) { return o.isSum(); }))
    results = emitChunks();
  else
    results = emitForall();
  replaceOps(results);
  return success();
}

Value nag::countLiveRows(OpBuilder &builder, Operation *op) {
  auto function = op->getParentOfType<func::FuncOp>();
  if (!function)
    return Value();
  for (BlockArgument argument : function.getArguments()) {
    unsigned index = argument.getArgNumber();
    if (!function.getArgAttr(index, kRowCountAttrName))
      continue;
    Location loc = op->getLoc();
    int64_t last = cast<RankedTensorType>(argument.getType()).getDimSize(0) - 1;
    Value place = arith::ConstantIndexOp::create(builder, loc, last);
    Value count = tensor::ExtractOp::create(builder, loc, argument, place);
    return arith::IndexCastOp::create(builder, loc, builder.getIndexType(),
                                      count);
  }
  return Value();
}

LogicalResult nag::lowerRowwiseOps(RewriterBase &rewriter,
                                   const RowGroup &group) {
  return RowLoop(rewriter, group).lower();
}
