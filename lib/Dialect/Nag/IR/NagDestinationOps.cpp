// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Verifiers, memory effects and bufferization of the ops that write their
// results into operands.
#include "DestinationOps.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace nag;
using namespace nag::detail;
using namespace mlir::bufferization;

//===----------------------------------------------------------------------===//
// What all of them share
//===----------------------------------------------------------------------===//

void nag::detail::getDestinationEffects(DestinationStyleOpInterface op,
                                        Effects &effects) {
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isa<MemRefType>(operand.get().getType()))
      continue;
    MemoryEffects::Effect *effect = MemoryEffects::Read::get();
    if (op.isDpsInit(&operand))
      effect = MemoryEffects::Write::get();
    effects.emplace_back(effect, &operand, SideEffects::DefaultResource::get());
  }
}

AliasingValueList
nag::detail::getDestinationAliases(DestinationStyleOpInterface op,
                                   OpOperand &operand) {
  if (op.isDpsInit(&operand))
    return {{op.getTiedOpResult(&operand), BufferRelation::Equivalent}};
  return {};
}

LogicalResult nag::detail::bufferizeDestinations(
    RewriterBase &rewriter, DestinationStyleOpInterface op,
    const BufferizationOptions &options, BufferizationState &state) {
  SmallVector<Value> buffers;
  for (Value operand : op->getOperands()) {
    if (!isa<TensorType>(operand.getType())) {
      buffers.push_back(operand);
      continue;
    }
    FailureOr<Value> buffer = getBuffer(rewriter, operand, options, state);
    if (failed(buffer))
      return failure();
    buffers.push_back(*buffer);
  }
  OperationState newState(op->getLoc(), op->getName(), buffers, TypeRange(),
                          op->getAttrs());
  rewriter.create(newState);
  replaceOpWithBufferizedValues(
      rewriter, op, ArrayRef(buffers).take_back(op->getNumResults()));
  return success();
}

LogicalResult nag::detail::expectShape(Operation *op, StringRef name,
                                       ArrayRef<int64_t> expected,
                                       Value value) {
  ArrayRef<int64_t> actual = cast<ShapedType>(value.getType()).getShape();
  if (actual == expected)
    return success();
  return op->emitOpError() << "(C1) expected '" << name << "' of shape ["
                           << expected << "], but got [" << actual << "]";
}

LogicalResult nag::detail::verifyForm(DestinationStyleOpInterface op,
                                      StringRef label) {
  ValueRange operands = op->getOperands();
  if (operands.empty())
    return success();
  bool tensors = isa<TensorType>(operands.front().getType());
  for (Value operand : operands)
    if (isa<TensorType>(operand.getType()) != tensors)
      return op->emitOpError()
             << "(" << label << ") expected only tensors or only buffers";
  TypeRange outputs = operands.take_back(op.getNumDpsInits()).getTypes();
  if (!tensors)
    outputs = {};
  if (TypeRange(op->getResultTypes()) == outputs)
    return success();
  return op->emitOpError() << "(" << label << ") expected " << outputs.size()
                           << " results of the outputs' types, but got "
                           << op->getNumResults();
}

static ArrayRef<int64_t> shapeOf(Value value) {
  return cast<ShapedType>(value.getType()).getShape();
}

/// The shape of the log-sum-exp, and the sizes of queries, keys and heads.
template <typename AttentionLike>
static LogicalResult verifyAttentionShapes(AttentionLike op) {
  ArrayRef<int64_t> query = shapeOf(op.getQuery());
  bool routed = !op.getRoute().empty();
  int64_t heads = op.getHeads(), kvHeads = op.getKvHeads();
  if (query.size() != (routed ? 2 : 3) || heads <= 0 || query.back() % heads)
    return op.emitOpError()
           << "(C1) expected 'query' of shape "
           << (routed ? "[M, heads*hd]" : "[B, T, heads*hd]")
           << " with heads = " << heads << ", but got [" << query << "]";
  if (kvHeads <= 0 || heads % kvHeads || op.getWindow().value_or(0) < 0)
    return op.emitOpError() << "(C1) expected 'kv_heads' to divide 'heads' and "
                               "'window' not to be negative";
  SmallVector<int64_t> keys(query), lse;
  if (routed) {
    if (op.getRoute().size() != 2)
      return op.emitOpError() << "(C1) expected indices and offsets as the "
                                 "route, but got "
                              << op.getRoute().size() << " operands";
    if (failed(expectShape(op, "indices", query[0], op.getRoute()[0])))
      return failure();
    ArrayRef<int64_t> key = shapeOf(op.getKey());
    if (key.size() == 3)
      keys = {shapeOf(op.getRoute()[1])[0] - 1, key[1], 0};
    lse = {heads, query[0]};
  } else {
    lse = {query[0], heads, query[1]};
  }
  keys.back() = kvHeads * op.getHeadDim();
  if (failed(expectShape(op, "key", keys, op.getKey())) ||
      failed(expectShape(op, "value", keys, op.getValue())) ||
      failed(expectShape(op, "output", query, op.getOutput())))
    return failure();
  return expectShape(op, "lse", lse, op.getLse());
}

LogicalResult StreamAttentionOp::verify() {
  if (failed(verifyAttentionShapes(*this)))
    return failure();
  return verifyForm(*this);
}

LogicalResult StreamAttentionVJPOp::verify() {
  if (failed(verifyAttentionShapes(*this)))
    return failure();
  ArrayRef<int64_t> queryShape =
      cast<ShapedType>(getQuery().getType()).getShape();
  ArrayRef<int64_t> keyShape = cast<ShapedType>(getKey().getType()).getShape();
  if (failed(expectShape(*this, "output_grad", queryShape, getOutputGrad())) ||
      failed(expectShape(*this, "query_grad", queryShape, getQueryGrad())) ||
      failed(expectShape(*this, "key_grad", keyShape, getKeyGrad())) ||
      failed(expectShape(*this, "value_grad", keyShape, getValueGrad())))
    return failure();
  return verifyForm(*this);
}

LogicalResult RuntimeCallOp::verify() { return verifyForm(*this, "C1"); }

NAG_DESTINATION_OP(StreamAttentionOp)
NAG_DESTINATION_OP(StreamAttentionVJPOp)
NAG_DESTINATION_OP(RuntimeCallOp)
