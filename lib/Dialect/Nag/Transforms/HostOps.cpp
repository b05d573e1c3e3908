// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Dialect/Nag/Transforms/HostOps.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace nag;

static RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

/// The byte offset of a slice whose elements lie together in `source`: behind
/// the first dimension that it cuts, it covers every dimension fully.
static std::optional<int64_t> getSliceOffset(OffsetSizeAndStrideOpInterface op,
                                             RankedTensorType source) {
  ArrayRef<int64_t> offsets = op.getStaticOffsets();
  ArrayRef<int64_t> sizes = op.getStaticSizes();
  if (ShapedType::isDynamicShape(offsets) || ShapedType::isDynamicShape(sizes))
    return std::nullopt;
  int64_t offset = 0, elements = 1;
  bool isCut = false;
  for (int64_t dim = source.getRank() - 1; dim >= 0; --dim) {
    if (sizes[dim] != 1 && (isCut || op.getStaticStride(dim) != 1))
      return std::nullopt;
    offset += offsets[dim] * elements;
    elements *= source.getDimSize(dim);
    isCut |= sizes[dim] != source.getDimSize(dim);
  }
  return offset * source.getElementTypeBitWidth() / 8;
}

static std::optional<SmallVector<ViewPart>> getParts(tensor::ConcatOp concat) {
  RankedTensorType type = concat.getResultType();
  for (int64_t dim = 0; dim < int64_t(concat.getDim()); ++dim)
    if (type.getDimSize(dim) != 1)
      return std::nullopt;
  SmallVector<ViewPart> parts;
  int64_t offset = 0;
  for (Value input : concat.getInputs()) {
    parts.push_back({input, concat, offset});
    offset += getTypeBytes(input.getType());
  }
  return parts;
}

std::optional<SmallVector<ViewPart>> nag::getViewParts(Operation *op) {
  using Parts = std::optional<SmallVector<ViewPart>>;
  if (!llvm::all_of(op->getResultTypes(), [](Type type) {
        auto tensor = dyn_cast<RankedTensorType>(type);
        return tensor && tensor.hasStaticShape();
      }))
    return std::nullopt;
  return TypeSwitch<Operation *, Parts>(op)
      .Case<tensor::ExpandShapeOp, tensor::CollapseShapeOp>([](auto reshape) {
        return Parts({{reshape.getResult(), reshape.getSrc(), 0}});
      })
      .Case([](tensor::ExtractSliceOp slice) -> Parts {
        auto offset = getSliceOffset(slice, slice.getSourceType());
        if (!offset)
          return std::nullopt;
        return Parts({{slice.getResult(), slice.getSource(), *offset}});
      })
      .Case([](tensor::InsertSliceOp slice) -> Parts {
        auto offset = getSliceOffset(slice, typeOf(slice.getDest()));
        if (!offset)
          return std::nullopt;
        return Parts({{slice.getDest(), slice.getResult(), 0},
                      {slice.getSource(), slice.getResult(), *offset}});
      })
      .Case([](tensor::ConcatOp concat) { return getParts(concat); })
      .Default(Parts());
}

bool nag::isHostOp(Operation *op) {
  if (op->hasTrait<OpTrait::IsTerminator>() ||
      isa<LaunchOp, KernelOp, RepeatOp, func::CallOp, tensor::EmptyOp>(op))
    return true;
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    return true;
  return getViewParts(op).has_value();
}
