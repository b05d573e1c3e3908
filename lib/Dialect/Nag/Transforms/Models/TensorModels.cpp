// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Derivatives of reshapes, slices and concatenations: their adjoints.
#include "Models.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace nag;

namespace {

template <typename Concrete, typename OpTy>
using ModelOf = DifferentiableOpInterface::ExternalModel<Concrete, OpTy>;

Value zerosOf(OpBuilder &builder, Location loc, Value like) {
  return arith::ConstantOp::create(builder, loc,
                                   builder.getZeroAttr(like.getType()));
}

/// A tensor of the slice's offsets filled with `slice`, elsewhere as `around`.
template <typename SliceOp>
Value insertAt(OpBuilder &builder, SliceOp op, Value slice, Value around) {
  return tensor::InsertSliceOp::create(builder, op.getLoc(), slice, around,
                                       op.getMixedOffsets(), op.getMixedSizes(),
                                       op.getMixedStrides());
}

/// For an op whose only differentiable operand is the first: the indices that
/// follow carry nothing.
Cotangents firstOnly(Operation *op, Value cotangent) {
  Cotangents cotangents(op->getNumOperands());
  cotangents.front().value = cotangent;
  return cotangents;
}

struct EmptyModel : ModelOf<EmptyModel, tensor::EmptyOp> {
  Cotangents buildVJP(Operation *op, OpBuilder &, ArrayRef<Cotangent>) const {
    return Cotangents(op->getNumOperands());
  }
};

struct ExpandShapeModel : ModelOf<ExpandShapeModel, tensor::ExpandShapeOp> {
  Cotangents buildVJP(Operation *op, OpBuilder &builder,
                      ArrayRef<Cotangent> cotangents) const {
    auto expand = cast<tensor::ExpandShapeOp>(op);
    return firstOnly(op, tensor::CollapseShapeOp::create(
                             builder, op->getLoc(), expand.getSrcType(),
                             cotangents[0].value,
                             expand.getReassociationIndices()));
  }
};

struct CollapseShapeModel
    : ModelOf<CollapseShapeModel, tensor::CollapseShapeOp> {
  Cotangents buildVJP(Operation *op, OpBuilder &builder,
                      ArrayRef<Cotangent> cotangents) const {
    auto collapse = cast<tensor::CollapseShapeOp>(op);
    return firstOnly(op, tensor::ExpandShapeOp::create(
                             builder, op->getLoc(), collapse.getSrcType(),
                             cotangents[0].value,
                             collapse.getReassociationIndices()));
  }
};

struct ExtractSliceModel : ModelOf<ExtractSliceModel, tensor::ExtractSliceOp> {
  Cotangents buildVJP(Operation *op, OpBuilder &builder,
                      ArrayRef<Cotangent> cotangents) const {
    auto slice = cast<tensor::ExtractSliceOp>(op);
    Value zeros = zerosOf(builder, op->getLoc(), slice.getSource());
    return firstOnly(op, insertAt(builder, slice, cotangents[0].value, zeros));
  }
};

struct InsertSliceModel : ModelOf<InsertSliceModel, tensor::InsertSliceOp> {
  Cotangents buildVJP(Operation *op, OpBuilder &builder,
                      ArrayRef<Cotangent> cotangents) const {
    auto slice = cast<tensor::InsertSliceOp>(op);
    Value dy = cotangents[0].value;
    Value source = tensor::ExtractSliceOp::create(
        builder, op->getLoc(), slice.getSourceType(), dy,
        slice.getMixedOffsets(), slice.getMixedSizes(),
        slice.getMixedStrides());
    Value zeros = zerosOf(builder, op->getLoc(), slice.getSource());
    Cotangents result = firstOnly(op, source);
    result[1].value = insertAt(builder, slice, zeros, dy);
    return result;
  }
};

struct ConcatModel : ModelOf<ConcatModel, tensor::ConcatOp> {
  Cotangents buildVJP(Operation *op, OpBuilder &builder,
                      ArrayRef<Cotangent> cotangents) const {
    auto concat = cast<tensor::ConcatOp>(op);
    unsigned rank = concat.getResultType().getRank(), dim = concat.getDim();
    SmallVector<OpFoldResult> offsets(rank, builder.getIndexAttr(0));
    SmallVector<OpFoldResult> strides(rank, builder.getIndexAttr(1));
    Cotangents result;
    int64_t offset = 0;
    for (Value input : concat.getInputs()) {
      auto type = cast<RankedTensorType>(input.getType());
      offsets[dim] = builder.getIndexAttr(offset);
      offset += type.getDimSize(dim);
      SmallVector<OpFoldResult> sizes =
          getAsIndexOpFoldResult(builder.getContext(), type.getShape());
      result.push_back(tensorCotangent(tensor::ExtractSliceOp::create(
          builder, op->getLoc(), type, cotangents[0].value, offsets, sizes,
          strides)));
    }
    return result;
  }
};

struct SplatModel : ModelOf<SplatModel, tensor::SplatOp> {
  Cotangents buildVJP(Operation *op, OpBuilder &builder,
                      ArrayRef<Cotangent> cotangents) const {
    auto splat = cast<tensor::SplatOp>(op);
    ImplicitLocOpBuilder b(op->getLoc(), builder);
    unsigned rank = splat.getType().getRank();
    Value sum = sumOver(b, cotangents[0].value,
                        AffineMap::get(rank, 0, op->getContext()),
                        splat.getInput().getType());
    return firstOnly(op, sum);
  }
};

struct ExtractModel : ModelOf<ExtractModel, tensor::ExtractOp> {
  Cotangents buildVJP(Operation *op, OpBuilder &builder,
                      ArrayRef<Cotangent> cotangents) const {
    auto extract = cast<tensor::ExtractOp>(op);
    Value zeros = zerosOf(builder, op->getLoc(), extract.getTensor());
    return firstOnly(op, tensor::InsertOp::create(builder, op->getLoc(),
                                                  cotangents[0].value, zeros,
                                                  extract.getIndices()));
  }
};

} // namespace

void nag::registerTensorModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, tensor::TensorDialect *) {
    tensor::EmptyOp::attachInterface<EmptyModel>(*context);
    tensor::ExpandShapeOp::attachInterface<ExpandShapeModel>(*context);
    tensor::CollapseShapeOp::attachInterface<CollapseShapeModel>(*context);
    tensor::ExtractSliceOp::attachInterface<ExtractSliceModel>(*context);
    tensor::InsertSliceOp::attachInterface<InsertSliceModel>(*context);
    tensor::ConcatOp::attachInterface<ConcatModel>(*context);
    tensor::SplatOp::attachInterface<SplatModel>(*context);
    tensor::ExtractOp::attachInterface<ExtractModel>(*context);
  });
}
