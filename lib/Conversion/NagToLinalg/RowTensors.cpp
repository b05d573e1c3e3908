// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "RowTensors.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/IR/RowBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nag;

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

Value nag::extractRows(ImplicitLocOpBuilder &builder, Value tensor,
                       OpFoldResult first, OpFoldResult count) {
  RowSlice slice(tensor, first, count);
  return tensor::ExtractSliceOp::create(builder, tensor, slice.offsets,
                                        slice.sizes, slice.strides);
}

Value nag::extractRow(ImplicitLocOpBuilder &builder, Value tensor,
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

Value nag::insertRow(ImplicitLocOpBuilder &builder, Value row, Value tensor,
                     Value index) {
  RowSlice slice(tensor, index, builder.getIndexAttr(1));
  return tensor::InsertSliceOp::create(builder, row, tensor, slice.offsets,
                                       slice.sizes, slice.strides);
}

void nag::insertInParallel(ImplicitLocOpBuilder &builder,
                           scf::InParallelOp terminator, Value part,
                           Value tensor, OpFoldResult first,
                           OpFoldResult count) {
  RowSlice slice(tensor, first, count);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToEnd(terminator.getBody());
  tensor::ParallelInsertSliceOp::create(builder, part, tensor, slice.offsets,
                                        slice.sizes, slice.strides);
}

Value nag::toComputeType(ImplicitLocOpBuilder &builder, Value value) {
  Type type = getElementTypeOrSelf(value.getType());
  if (getComputeType(type) == type)
    return value;
  return RowBuilder(builder, type).map({value}, [](RowBuilder::Elements e) {
    return e[0];
  });
}

Value nag::toStorageType(ImplicitLocOpBuilder &builder, Value value,
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
