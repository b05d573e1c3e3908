// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row programs of the arith and math ops that models mix with nag ops.
#include "RowRoles.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nag;

namespace {

/// An op on floats whose operands and result have one type. On tensors it is
/// row-wise; on scalars it has no rows.
template <typename OpTy>
struct ElementwiseRows
    : RowwiseOpInterface::ExternalModel<ElementwiseRows<OpTy>, OpTy> {
  int64_t getNumRows(Operation *op) const {
    Type type = op->getResult(0).getType();
    return isa<RankedTensorType>(type) ? countRows(type) : 0;
  }
  RowRole getOperandRole(Operation *op, unsigned index) const {
    Type type = op->getOperand(index).getType();
    return isa<RankedTensorType>(type) ? getRowRole(type) : RowRole::Whole;
  }
  RowRole getResultRole(Operation *op, unsigned) const {
    return getOperandRole(op, 0);
  }
  int64_t getColumnSpan(Operation *) const { return 1; }
  std::optional<unsigned> getSharedOperand(Operation *, unsigned) const {
    return 0;
  }
  SmallVector<Value> buildRow(Operation *op, ImplicitLocOpBuilder &builder,
                              ValueRange operands, Value) const {
    RowBuilder rows(builder, getComputeElementType(op->getOperand(0)));
    SmallVector<RowInput> inputs(operands.begin(), operands.end());
    return {rows.map(inputs, [&](RowBuilder::Elements elements) {
      SmallVector<Value> scalars(elements.begin(), elements.end());
      OperationState state(builder.getLoc(), op->getName(), scalars,
                           scalars.front().getType(), op->getAttrs());
      return Scalar(builder, builder.create(state)->getResult(0));
    })};
  }
};

/// A conversion between bf16 and f32: rows are f32 on either side, and what
/// is stored as bf16 is rounded there. Other conversions have no rows.
template <typename OpTy>
struct ConversionRows
    : RowwiseOpInterface::ExternalModel<ConversionRows<OpTy>, OpTy> {
  int64_t getNumRows(Operation *op) const {
    Type from = op->getOperand(0).getType(), to = op->getResult(0).getType();
    bool isFree = isa<RankedTensorType>(to) &&
                  getComputeType(getElementTypeOrSelf(from)) ==
                      getComputeType(getElementTypeOrSelf(to));
    return isFree ? countRows(to) : 0;
  }
  RowRole getOperandRole(Operation *op, unsigned) const {
    Type type = op->getOperand(0).getType();
    return isa<RankedTensorType>(type) ? getRowRole(type) : RowRole::Whole;
  }
  RowRole getResultRole(Operation *op, unsigned) const {
    return getOperandRole(op, 0);
  }
  int64_t getColumnSpan(Operation *) const { return 1; }
  SmallVector<Value> buildRow(Operation *, ImplicitLocOpBuilder &,
                              ValueRange operands, Value) const {
    return {operands[0]};
  }
};

template <typename... Ops> void attachAll(MLIRContext &context) {
  (Ops::template attachInterface<ElementwiseRows<Ops>>(context), ...);
}

} // namespace

void nag::attachElementwiseRows(MLIRContext &context) {
  attachAll<arith::AddFOp, arith::SubFOp, arith::MulFOp, arith::DivFOp,
            arith::NegFOp, arith::MaximumFOp, arith::MinimumFOp,
            arith::MaxNumFOp, arith::MinNumFOp>(context);
  attachAll<math::AbsFOp, math::CosOp, math::ErfOp, math::ExpOp, math::FmaOp,
            math::LogOp, math::Log1pOp, math::PowFOp, math::RsqrtOp,
            math::SinOp, math::SqrtOp, math::TanhOp>(context);
  arith::ExtFOp::attachInterface<ConversionRows<arith::ExtFOp>>(context);
  arith::TruncFOp::attachInterface<ConversionRows<arith::TruncFOp>>(context);
}
