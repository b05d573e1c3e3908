// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "RowRoles.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nag;

int64_t nag::countRows(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  if (tensor.getRank() == 0)
    return 1;
  return ShapedType::getNumElements(tensor.getShape().drop_back());
}

RowRole nag::getRowRole(Type type) {
  return cast<RankedTensorType>(type).getRank() == 0 ? RowRole::Lane
                                                     : RowRole::Row;
}

Type nag::getComputeElementType(Value value) {
  if (auto stream = dyn_cast<StreamType>(value.getType()))
    return getComputeType(stream.getElementType());
  return getComputeType(getElementTypeOrSelf(value.getType()));
}

int64_t nag::getWidth(Value tensor) {
  return cast<RankedTensorType>(tensor.getType()).getShape().back();
}
