// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Conversion/RowGroup.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"

using namespace mlir;
using namespace nag;

RowPart nag::resolveRowPart(Value tensor) {
  if (auto direction = tensor.getDefiningOp<DirectionOp>())
    return resolveStreamPart(direction.getStream(), 0);
  if (auto logNorm = tensor.getDefiningOp<LogNormOp>())
    return resolveStreamPart(logNorm.getStream(), 1);
  return {tensor, 0};
}

RowPart nag::resolveStreamPart(Value stream, unsigned index) {
  if (auto make = stream.getDefiningOp<MakeStreamOp>())
    return resolveRowPart(make->getOperand(index));
  return {stream, index};
}

LogicalResult nag::verifyHasElements(Operation *op) {
  for (TypeRange types :
       {TypeRange(op->getOperandTypes()), TypeRange(op->getResultTypes())})
    for (Type type : types) {
      auto tensor = dyn_cast<RankedTensorType>(type);
      if (tensor && tensor.hasStaticShape() && tensor.getNumElements() == 0)
        return op->emitOpError("expected tensors with elements, but got ")
               << type;
    }
  return success();
}

RankedTensorType nag::getRowsType(RankedTensorType type, RowRole role,
                                  int64_t numRows) {
  if (role == RowRole::Sum)
    return type;
  if (role == RowRole::Indexed) {
    bool isLane = type.getRank() == 2;
    numRows = type.getNumElements() / (isLane ? 1 : type.getShape().back());
    role = isLane ? RowRole::Lane : RowRole::Row;
  }
  SmallVector<int64_t> shape{numRows};
  if (role == RowRole::Row)
    shape.push_back(type.getShape().back());
  return RankedTensorType::get(shape, type.getElementType());
}

int64_t RowGroup::getNumRows() const {
  return cast<RowwiseOpInterface>(ops.front()).getNumRows();
}

bool RowGroup::accepts(RowwiseOpInterface op) const {
  if (ops.empty())
    return true;
  if (op.getNumRows() != getNumRows())
    return false;
  return llvm::all_of(op->getOpOperands(), [&](OpOperand &operand) {
    return fits(operand.get(), op.getOperandRole(operand.getOperandNumber()));
  });
}

/// True when the pass over rows has `value` at hand for an operand of role
/// `role`.
bool RowGroup::fits(Value value, RowRole role) const {
  Operation *producer = value.getDefiningOp();
  if (producer && isa<DirectionOp, LogNormOp>(producer))
    return fits(producer->getOperand(0), RowRole::Stream);
  if (producer && isa<MakeStreamOp>(producer))
    return fits(producer->getOperand(0), RowRole::Row) &&
           fits(producer->getOperand(1), RowRole::Lane);
  if (!contains(producer))
    return true;
  unsigned index = cast<OpResult>(value).getResultNumber();
  return cast<RowwiseOpInterface>(producer).getResultRole(index) == role;
}

/// True when the tensor or stream is needed by ops outside the group.
bool RowGroup::isUsedOutside(Value value) const {
  return llvm::any_of(value.getUsers(), [&](Operation *user) {
    if (contains(user))
      return false;
    if (isa<MakeStreamOp, DirectionOp, LogNormOp>(user))
      return isUsedOutside(user->getResult(0));
    return true;
  });
}

//===----------------------------------------------------------------------===//
// What the group reads and writes
//===----------------------------------------------------------------------===//

LogicalResult
RowGroup::collectInput(RowPart part, RowRole role, Operation *reader,
                       SmallVectorImpl<RowInputTensor> &inputs) const {
  Value value = part.first;
  bool isIndexed = role == RowRole::Indexed;
  if (isIndexed && contains(value.getDefiningOp()))
    return reader->emitOpError("expected the rows that it picks to be made by "
                               "another kernel");
  if (contains(value.getDefiningOp()) ||
      llvm::any_of(inputs, [&](const RowInputTensor &input) {
        return input.tensor == value &&
               isIndexed == (input.role == RowRole::Indexed);
      }))
    return success();
  if (!isa<RankedTensorType>(value.getType()))
    return reader->emitOpError("expected streams to be split before, by "
                               "-nag-split-streams, but got ")
           << value.getType();
  inputs.push_back({value, role});
  return success();
}

FailureOr<SmallVector<RowInputTensor>> RowGroup::collectInputs() const {
  SmallVector<RowInputTensor> inputs;
  for (Operation *op : ops)
    for (OpOperand &operand : op->getOpOperands()) {
      RowRole role = cast<RowwiseOpInterface>(op).getOperandRole(
          operand.getOperandNumber());
      Value value = operand.get();
      if (role == RowRole::Whole || role == RowRole::Base)
        continue;
      if (role != RowRole::Stream) {
        if (failed(collectInput(resolveRowPart(value), role, op, inputs)))
          return failure();
        continue;
      }
      if (failed(collectInput(resolveStreamPart(value, 0), RowRole::Row, op,
                              inputs)) ||
          failed(collectInput(resolveStreamPart(value, 1), RowRole::Lane, op,
                              inputs)))
        return failure();
    }
  return inputs;
}

/// The parts of a stream that are read outside, each by all its projections.
void RowGroup::collectStreamOutputs(Value stream,
                                    SmallVectorImpl<RowOutput> &outputs) const {
  SmallVector<Value> projections[2];
  bool leaves = false;
  for (Operation *user : stream.getUsers()) {
    if (isa<DirectionOp, LogNormOp>(user)) {
      if (isUsedOutside(user->getResult(0)))
        projections[isa<LogNormOp>(user)].push_back(user->getResult(0));
    } else if (!contains(user)) {
      leaves = true;
    }
  }
  auto type = cast<StreamType>(stream.getType());
  if (leaves || !projections[0].empty())
    outputs.push_back({{stream, 0},
                       RowRole::Row,
                       type.getDirectionType(),
                       std::move(projections[0])});
  if (leaves || !projections[1].empty())
    outputs.push_back({{stream, 1},
                       RowRole::Lane,
                       type.getLogNormType(),
                       std::move(projections[1])});
}

SmallVector<RowOutput> RowGroup::collectOutputs() const {
  SmallVector<RowOutput> outputs;
  for (Operation *op : ops)
    for (OpResult result : op->getResults()) {
      RowRole role =
          cast<RowwiseOpInterface>(op).getResultRole(result.getResultNumber());
      if (role == RowRole::Stream)
        collectStreamOutputs(result, outputs);
      else if (isUsedOutside(result))
        outputs.push_back({{result, 0},
                           role,
                           cast<RankedTensorType>(result.getType()),
                           {result}});
      else
        continue;
      if (role == RowRole::Indexed) {
        auto rowwise = cast<RowwiseOpInterface>(op);
        outputs.back().indices = op->getOperand(*rowwise.getIndexOperand());
        outputs.back().base =
            op->getOperand(*rowwise.getBaseOperand(result.getResultNumber()));
      }
    }
  return outputs;
}

//===----------------------------------------------------------------------===//
// The work for one row
//===----------------------------------------------------------------------===//

DenseMap<RowPart, Value> RowGroup::buildRow(ImplicitLocOpBuilder &builder,
                                            Value row, Sources sources) const {
  DenseMap<RowPart, Value> values;
  auto getPart = [&](RowPart part) {
    auto found = values.find(part);
    if (found != values.end())
      return found->second;
    Value value = sources.getPart(part);
    values[part] = value;
    return value;
  };
  for (Operation *operation : ops) {
    auto op = cast<RowwiseOpInterface>(operation);
    SmallVector<Value> operands;
    for (OpOperand &operand : op->getOpOperands()) {
      Value value = operand.get();
      switch (op.getOperandRole(operand.getOperandNumber())) {
      case RowRole::Stream:
        operands.push_back(getPart(resolveStreamPart(value, 0)));
        operands.push_back(getPart(resolveStreamPart(value, 1)));
        break;
      case RowRole::Whole:
        // What counts the rows is no matter of one row.
        operands.push_back(op.getOffsetsOperand() == operand.getOperandNumber()
                               ? Value()
                               : sources.getWhole(value));
        break;
      case RowRole::Indexed: {
        Value indices = op->getOperand(*op.getIndexOperand());
        operands.push_back(
            sources.getIndexed(value, getPart(resolveRowPart(indices))));
        break;
      }
      case RowRole::Base:
        operands.push_back(Value());
        break;
      default:
        operands.push_back(getPart(resolveRowPart(value)));
      }
    }
    SmallVector<Value> results = op.buildRow(builder, operands, row);
    const Value *next = results.begin();
    for (OpResult result : op->getResults()) {
      values[{result, 0}] = *next++;
      if (op.getResultRole(result.getResultNumber()) == RowRole::Stream)
        values[{result, 1}] = *next++;
    }
  }
  return values;
}
