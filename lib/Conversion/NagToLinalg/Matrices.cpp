// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Matrices.h"
#include "nag/Conversion/NagToLinalg.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

using namespace mlir;
using namespace nag;

Value nag::asMatrix(OpBuilder &builder, Location loc, Value tensor) {
  auto type = cast<RankedTensorType>(tensor.getType());
  ArrayRef<int64_t> shape = type.getShape();
  int64_t rows = ShapedType::getNumElements(shape.drop_back());
  return reshapeTo(builder, loc, tensor, {rows, shape.back()});
}

Value nag::zeros(OpBuilder &builder, Location loc, Value destination) {
  Type element = getElementTypeOrSelf(destination.getType());
  Value zero =
      arith::ConstantOp::create(builder, loc, builder.getZeroAttr(element));
  return linalg::FillOp::create(builder, loc, zero, destination).getResult(0);
}
