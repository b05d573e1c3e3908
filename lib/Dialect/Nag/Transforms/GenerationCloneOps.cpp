// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ops are cloned with operands of other shapes; result types are inferred anew.
#include "ExpandBlocks.h"
#include "FunctionClone.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "llvm/ADT/Sequence.h"
#include "llvm/ADT/SmallVectorExtras.h"

using namespace mlir;
using namespace nag;

LogicalResult FunctionClone::cloneOp(Operation &op) {
  if (auto block = dyn_cast<BlockOp>(op))
    return cloneBlock(block);
  if (auto repeat = dyn_cast<RepeatOp>(op))
    return cloneRepeat(repeat);
  if (auto table = dyn_cast<RotaryTableOp>(op))
    return cloneTable(table);
  if (auto attention = dyn_cast<AttentionOp>(op))
    return cloneAttention(attention);
  if (isa<MakeStreamOp>(op)) {
    Value direction = mapping.lookup(op.getOperand(0));
    Value logNorm = mapping.lookup(op.getOperand(1));
    mapping.map(op.getResult(0),
                MakeStreamOp::create(builder, op.getLoc(), direction, logNorm)
                    .getResult());
    return success();
  }
  if (isa<DirectionOp, LogNormOp>(op)) {
    Operation *clone = builder.clone(op, mapping);
    auto stream = cast<StreamType>(clone->getOperand(0).getType());
    clone->getResult(0).setType(isa<DirectionOp>(op)
                                    ? Type(stream.getDirectionType())
                                    : Type(stream.getLogNormType()));
    return success();
  }
  return cloneInferred(op);
}

LogicalResult FunctionClone::cloneInferred(Operation &op) {
  Operation *clone = builder.clone(op, mapping);
  if (llvm::equal(clone->getOperandTypes(), op.getOperandTypes()))
    return success();
  auto inferring = dyn_cast<InferTypeOpInterface>(clone);
  SmallVector<Type> types;
  if (!inferring || clone->getNumRegions() ||
      failed(inferring.inferReturnTypes(
          clone->getContext(), clone->getLoc(), clone->getOperands(),
          clone->getAttrDictionary(), clone->getPropertiesStorage(),
          clone->getRegions(), types)))
    return op.emitOpError("has no counterpart in @")
           << phaseName()
           << ": expected a result type that follows from the operands";
  for (auto [result, type] : llvm::zip_equal(clone->getResults(), types))
    result.setType(type);
  return success();
}

/// The block as the ops it stands for (-nag-expand-blocks), so that keys and
/// values can leave its body.
LogicalResult FunctionClone::cloneBlock(BlockOp op) {
  BlockOperands operands(op);
  for (Value *operand :
       {&operands.stream, &operands.weight, &operands.bias, &operands.logits,
        &operands.beta, &operands.alpha, &operands.scale, &operands.dial})
    if (*operand)
      *operand = mapping.lookup(*operand);
  Block &body = op.getBody().front();
  auto buildBody = [&](ValueRange arguments) -> FailureOr<Value> {
    mapping.map(body.getArguments(), arguments);
    for (Operation &nested : body.without_terminator())
      if (failed(cloneOp(nested)))
        return failure();
    return mapping.lookup(body.getTerminator()->getOperand(0));
  };
  auto expanded = expandBlock(builder, op.getLoc(), operands, buildBody);
  if (failed(expanded))
    return failure();
  mapping.map(op.getResult(), expanded->stream);
  mapping.map(op.getGates(), expanded->gates);
  if (expanded->offsets)
    mapping.map(op.getOffsets().front(), expanded->offsets);
  return success();
}

LogicalResult FunctionClone::cloneTable(RotaryTableOp op) {
  if (hasTable)
    return op.emitOpError("expected one rotary table in @logits");
  hasTable = true;
  auto type = cast<RankedTensorType>(op.getCos().getType());
  int64_t half = type.getDimSize(1);
  auto create = [&](int64_t rows) {
    auto rowsType = RankedTensorType::get({rows, half}, type.getElementType());
    return RotaryTableOp::create(builder, op.getLoc(), rowsType, rowsType,
                                 op.getBaseAttr(), op.getFirstAttr());
  };
  if (!isDecode()) {
    auto whole = create(shape.capacity), used = create(shape.prompt);
    cos = whole.getCos();
    sin = whole.getSin();
    mapping.map(op.getCos(), used.getCos());
    mapping.map(op.getSin(), used.getSin());
    return success();
  }
  auto whole =
      RankedTensorType::get({shape.capacity, half}, type.getElementType());
  cos = addArgument(entry, whole, "rotary:cos", op.getLoc());
  sin = addArgument(entry, whole, "rotary:sin", op.getLoc());
  mapping.map(op.getCos(), gatherRows(cos));
  mapping.map(op.getSin(), gatherRows(sin));
  return success();
}

/// The table's rows of the sequences' positions, [batch, half].
Value FunctionClone::gatherRows(Value table) {
  Location loc = table.getLoc();
  Value rows = EmbeddingOp::create(builder, loc, positions, table);
  return tensor::CollapseShapeOp::create(
      builder, loc, rows, ArrayRef<ReassociationIndices>{{0, 1}, {2}});
}

Value FunctionClone::indexConstant(Location loc, ArrayRef<int64_t> dims,
                                   ArrayRef<int32_t> numbers) {
  return arith::ConstantOp::create(
      builder, loc, DenseElementsAttr::get(indexType(dims), numbers));
}

/// Every token of these layers, in order.
Value FunctionClone::listAllTokens(Location loc, int64_t layers) {
  SmallVector<int32_t> numbers;
  for (int64_t layer = 0; layer < layers; ++layer)
    llvm::append_range(numbers, llvm::seq<int32_t>(0, countTokens()));
  return indexConstant(loc, {layers, countTokens()}, numbers);
}

/// Keys and values as rows of tokens, [tokens, kv width].
LayerKeys FunctionClone::listTokens(AttentionOp op, Value key, Value value) {
  if (!shape.sharesRows())
    return {key, value, Value()};
  if (op.getKey().getType().getRank() == 2)
    return {key, value, mapping.lookup(op.getRoute()[0])};
  auto flatten = [&](Value rows) -> Value {
    return tensor::CollapseShapeOp::create(
        builder, op.getLoc(), rows,
        ArrayRef<ReassociationIndices>{{0, 1}, {2}});
  };
  return {flatten(key), flatten(value), Value()};
}

LogicalResult FunctionClone::cloneAttention(AttentionOp op) {
  Value key = mapping.lookup(op.getKey());
  Value value = mapping.lookup(op.getValue());
  if (!computed.empty())
    return op.emitOpError("expected one nag.attention per layer");
  if (entry)
    return op.emitOpError("expected nag.attention in layer functions only");
  computed.push_back(listTokens(op, key, value));
  if (!isDecode())
    return cloneInferred(*op);
  SmallVector<Value> route = llvm::map_to_vector(
      op.getRoute(), [&](Value part) { return mapping.lookup(part); });
  // Of shared rows, those behind the window are not in the table.
  bool shares = shape.sharesRows();
  auto cached = CachedAttentionOp::create(
      builder, op.getLoc(), mapping.lookup(op.getQuery()), key, value,
      caches.keys, caches.values, shares ? rowTable.counts : positions, route,
      rowTable.rows, op.getHeadsAttr(), op.getKvHeadsAttr(),
      shares ? IntegerAttr() : op.getWindowAttr());
  mapping.map(op.getResult(), cached.getResult());
  return success();
}

LogicalResult FunctionClone::cloneRepeat(RepeatOp op) {
  auto mapped = [&](ValueRange values) {
    return llvm::map_to_vector(values,
                               [&](Value v) { return mapping.lookup(v); });
  };
  SmallVector<Value> carry = mapped(op.getCarry());
  SmallVector<Value> stacked = mapped(op.getStacked());
  SmallVector<Value> shared = mapped(op.getShared());
  if (isDecode() && shape.sharesRows()) {
    stacked.append({rowTable.rows, rowTable.counts});
    shared.append({caches.keys, caches.values});
  } else if (isDecode()) {
    stacked.append({caches.keys, caches.values});
    shared.push_back(positions);
  }
  SmallVector<Type> types = llvm::to_vector(ValueRange(carry).getTypes());
  for (Value value : stacked) {
    auto type = cast<RankedTensorType>(value.getType());
    types.push_back(RankedTensorType::get(type.getShape().drop_front(),
                                          type.getElementType()));
  }
  llvm::append_range(types, ValueRange(shared).getTypes());
  auto layer = module.lookupSymbol<func::FuncOp>(op.getCallee());
  std::string name = (layer.getName() + "." + phaseName()).str();
  auto callee = module.lookupSymbol<func::FuncOp>(name);
  if (!callee) {
    auto built =
        FunctionClone(phase, shape, module).buildLayer(layer, op, types);
    if (failed(built))
      return failure();
    callee = *built;
  }
  if (TypeRange(callee.getArgumentTypes()) != TypeRange(types))
    return op.emitOpError("expected operands of the same types wherever @")
           << layer.getName() << " is repeated";
  SmallVector<Type> stacks;
  for (Type slice : callee.getResultTypes().drop_front(carry.size()))
    stacks.push_back(stack(cast<RankedTensorType>(slice), op.getCount()));
  auto repeat = RepeatOp::create(
      builder, op.getLoc(), ValueRange(carry).getTypes(), stacks, name,
      op.getCount(), carry, stacked, shared, op.getFirst(), /*reverse=*/false);
  for (auto [from, to] :
       llvm::zip_equal(op.getCarryResults(), repeat.getCarryResults()))
    mapping.map(from, to);
  auto results = repeat.getStackedResults();
  computed.push_back({results[0], results[1], Value()});
  if (results.size() == 3)
    computed.back().tokens = results[2];
  else if (shape.sharesRows())
    computed.back().tokens = listAllTokens(op.getLoc(), op.getCount());
  return success();
}
