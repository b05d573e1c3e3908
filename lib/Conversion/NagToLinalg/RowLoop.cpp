// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One loop over the rows of a group of row-wise ops: loads their rows, inlines
// their row programs, puts their results into the destinations.
#include "nag/Conversion/NagToLinalg.h"
#include "nag/Conversion/RowGroup.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/IR/RowBuilder.h"

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

/// A sum over all rows is the sum of at most this many chunks' sums: enough
/// for the threads of a large machine, few enough to add up at the end.
static constexpr int64_t kMaxChunks = 64;

namespace {

/// A tensor that the loop computes.
struct Output : RowOutput {
  Output(RowOutput output) : RowOutput(std::move(output)) {}
  /// The tensor's destination in the shape of the loop.
  Value destination;
  /// The input that stands in the destination until its row is overwritten.
  std::optional<RowPart> overwritten;
};

class RowLoop {
public:
  RowLoop(RewriterBase &rewriterToUse, const RowGroup &rowGroup)
      : rewriter(rewriterToUse),
        builder(rowGroup.getOps().back()->getLoc(), rowGroup.getOps().back()),
        group(rowGroup), numRows(rowGroup.getNumRows()) {}

  LogicalResult lower();

private:
  // What the loop reads and writes.
  LogicalResult collectInputs();
  void collectOutputs();
  std::optional<RowPart> findOverwritten(Value result) const;

  // The loops; each returns one tensor per output, in the loop's shape.
  SmallVector<Value> emitSingleRow();
  SmallVector<Value> emitForall();
  SmallVector<Value> emitChunks();
  void emitChunk(Value chunk, int64_t chunks, ValueRange shared,
                 scf::InParallelOp terminator);
  std::pair<OpFoldResult, OpFoldResult> getChunkRows(Value chunk,
                                                     int64_t chunks);
  SmallVector<Value> initializeChunk(Value chunk, ValueRange shared,
                                     OpFoldResult first, OpFoldResult count);
  SmallVector<Value> emitChunkRow(Value row, Value index, ValueRange carried);
  SmallVector<Value> createPartials(int64_t chunks);
  Value addUp(Value partials, Value destination);

  // The work for one row.
  SmallVector<Value> emitRow(Value row, ArrayRef<Value> slices);
  Value load(RowPart part, Value row);
  Value loadIndexed(Value tensor, Value place);
  Value place(Value value, Value slice);
  Value slotOf(const Output &output, Value row);

  void replaceOps(ArrayRef<Value> results);

  RewriterBase &rewriter;
  ImplicitLocOpBuilder builder;
  const RowGroup &group;
  int64_t numRows;
  /// How many rows count, where that is known at run time only; else null.
  Value numLiveRows;
  /// Tensors from outside as [rows, d] or [rows].
  DenseMap<Value, Value> inputs;
  /// Tensors with rows of their own number, as [n, d] or [n].
  DenseMap<Value, Value> indexedInputs;
  SmallVector<Output> outputs;
};

} // namespace

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

/// Where a tensor that keeps other rows is computed: its destination, which
/// holds the base already where it is a kernel's; elsewhere a copy of the base.
static Value fillWithBase(ImplicitLocOpBuilder &builder, Value base,
                          Value destination) {
  if (!destination.getDefiningOp<tensor::EmptyOp>())
    return destination;
  auto shape = cast<RankedTensorType>(destination.getType()).getShape();
  return linalg::CopyOp::create(
             builder, reshapeTo(builder, builder.getLoc(), base, shape),
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
      output.destination =
          fillWithBase(builder, output.base, output.destination);
    outputs.push_back(std::move(output));
  }
}

//===----------------------------------------------------------------------===//
// Slices of tensors whose first dimension counts rows
//===----------------------------------------------------------------------===//

namespace {

/// `count` whole rows of `tensor` from row `first` on.
struct RowSlice {
  RowSlice(Value tensor, OpFoldResult first, OpFoldResult count) {
    auto type = cast<RankedTensorType>(tensor.getType());
    Builder attrs(type.getContext());
    offsets.assign(type.getRank(), attrs.getIndexAttr(0));
    sizes = getAsIndexOpFoldResult(type.getContext(), type.getShape());
    strides.assign(type.getRank(), attrs.getIndexAttr(1));
    offsets.front() = first;
    sizes.front() = count;
  }

  SmallVector<OpFoldResult> offsets, sizes, strides;
};

} // namespace

static Value extractRows(ImplicitLocOpBuilder &builder, Value tensor,
                         OpFoldResult first, OpFoldResult count) {
  RowSlice slice(tensor, first, count);
  return tensor::ExtractSliceOp::create(builder, tensor, slice.offsets,
                                        slice.sizes, slice.strides);
}

/// Row `index` of [rows, d] as tensor<d>; a lane of [rows] as tensor<1>.
static Value extractRow(ImplicitLocOpBuilder &builder, Value tensor,
                        Value index) {
  RowSlice slice(tensor, index, builder.getIndexAttr(1));
  auto type = cast<RankedTensorType>(tensor.getType());
  SmallVector<int64_t> shape(type.getShape());
  if (shape.size() == 1)
    shape.front() = 1;
  else
    shape.erase(shape.begin());
  return tensor::ExtractSliceOp::create(
      builder, RankedTensorType::get(shape, type.getElementType()), tensor,
      slice.offsets, slice.sizes, slice.strides);
}

static Value insertRow(ImplicitLocOpBuilder &builder, Value row, Value tensor,
                       Value index) {
  RowSlice slice(tensor, index, builder.getIndexAttr(1));
  return tensor::InsertSliceOp::create(builder, row, tensor, slice.offsets,
                                       slice.sizes, slice.strides);
}

static void insertInParallel(ImplicitLocOpBuilder &builder,
                             scf::InParallelOp terminator, Value part,
                             Value tensor, OpFoldResult first,
                             OpFoldResult count) {
  RowSlice slice(tensor, first, count);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToEnd(terminator.getBody());
  tensor::ParallelInsertSliceOp::create(builder, part, tensor, slice.offsets,
                                        slice.sizes, slice.strides);
}

//===----------------------------------------------------------------------===//
// The work for one row
//===----------------------------------------------------------------------===//

/// A row or a scalar in its compute type.
static Value toComputeType(ImplicitLocOpBuilder &builder, Value value) {
  Type type = getElementTypeOrSelf(value.getType());
  if (getComputeType(type) == type)
    return value;
  return RowBuilder(builder, type).map({value}, [](RowBuilder::Elements e) {
    return e[0];
  });
}

/// A row or a scalar in the type in which it is stored.
static Value toStorageType(ImplicitLocOpBuilder &builder, Value value,
                           Type type) {
  Type from = getElementTypeOrSelf(value.getType());
  if (from == type)
    return value;
  return RowBuilder(builder, from).map({value}, [&](RowBuilder::Elements e) {
    return Scalar(
        builder,
        arith::TruncFOp::create(builder, type, e[0].get()).getResult());
  });
}

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
