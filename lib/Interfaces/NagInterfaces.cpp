// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Interfaces/NagInterfaces.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

#include "nag/Interfaces/NagInterfaces.cpp.inc"

int64_t nag::getTypeBytes(Type type) {
  if (auto stream = dyn_cast<StreamType>(type))
    return getTypeBytes(stream.getDirectionType()) +
           getTypeBytes(stream.getLogNormType());
  auto shaped = dyn_cast<ShapedType>(type);
  if (!shaped || !shaped.hasStaticShape() ||
      !shaped.getElementType().isIntOrFloat())
    return 0;
  return shaped.getNumElements() *
         llvm::divideCeil(shaped.getElementTypeBitWidth(), 8);
}

bool nag::isSumOp(Operation *op) {
  return isa<arith::AddFOp, AccumulateOp, ResidualAddOp>(op) &&
         isa<RankedTensorType>(op->getResult(0).getType());
}

Value nag::skipWidening(Value value) {
  auto widened = value.getDefiningOp<arith::ExtFOp>();
  return widened && widened.getIn().hasOneUse() ? widened.getIn() : value;
}

OpResult nag::findOverwriter(Value value) {
  if (!value.hasOneUse())
    return {};
  OpOperand &use = *value.use_begin();
  auto op = dyn_cast<RowwiseOpInterface>(use.getOwner());
  if (!op)
    return {};
  Operation *producer = value.getDefiningOp();
  if (isSumOp(op) && producer && isa<RowProductOpInterface>(producer))
    return op->getResult(0);
  for (OpResult result : op->getResults())
    if (op.getSharedOperand(result.getResultNumber()) ==
            use.getOperandNumber() &&
        result.getType() == value.getType())
      return result;
  return {};
}

int64_t nag::detail::operandAndResultBytes(Operation *op) {
  int64_t bytes = 0;
  for (Type type : op->getOperandTypes())
    bytes += getTypeBytes(type);
  for (Type type : op->getResultTypes())
    bytes += getTypeBytes(type);
  return bytes;
}
