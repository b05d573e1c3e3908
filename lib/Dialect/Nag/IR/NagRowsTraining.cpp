// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row programs of the loss, the optimizer and the weight constraints.
#include "RowRoles.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace nag;

using Elements = RowBuilder::Elements;
using Scalars = SmallVector<Scalar>;

/// True when `target` counts, an i1.
static Scalar counts(Scalar target, int64_t ignoreIndex) {
  Scalar ignored = target == ignoreIndex;
  ImplicitLocOpBuilder &builder = target.getBuilder();
  return {builder, arith::XOrIOp::create(
                       builder, ignored.get(),
                       arith::ConstantIntOp::create(builder, true, 1))};
}

//===----------------------------------------------------------------------===//
// token_loss
//===----------------------------------------------------------------------===//

int64_t TokenLossOp::getNumRows() { return countRows(getLogits().getType()); }
RowRole TokenLossOp::getOperandRole(unsigned index) {
  return index == 0 ? RowRole::Row : RowRole::Lane;
}
RowRole TokenLossOp::getResultRole(unsigned) { return RowRole::Lane; }

SmallVector<Value> TokenLossOp::buildRow(ImplicitLocOpBuilder &builder,
                                         ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getLogits()));
  Value logits = rows.prefix(operands[0], getVocab());
  Scalar largest = rows.maximum(logits);
  Scalar sum =
      rows.sum({logits}, [&](Elements e) { return exp(e[0] - largest); });
  Scalar lse = largest + log(sum);
  Scalar target(builder, operands[1]);
  Scalar counted = counts(target, getIgnoreIndex());
  // An ignored target may lie outside the row: read its first element instead.
  Value column = arith::IndexCastOp::create(builder, builder.getIndexType(),
                                            select(counted, target, 0.0));
  Value logit = tensor::ExtractOp::create(builder, logits, column);
  return {select(counted, lse - rows.scalar(logit), 0.0), lse};
}

int64_t TokenLossVJPOp::getNumRows() {
  return countRows(getLogits().getType());
}
RowRole TokenLossVJPOp::getOperandRole(unsigned index) {
  return index == 0 ? RowRole::Row : RowRole::Lane;
}
RowRole TokenLossVJPOp::getResultRole(unsigned) { return RowRole::Row; }
std::optional<unsigned> TokenLossVJPOp::getSharedOperand(unsigned) { return 0; }

SmallVector<Value> TokenLossVJPOp::buildRow(ImplicitLocOpBuilder &builder,
                                            ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getLogits()));
  Scalar lse = rows.scalar(operands[2]), grad = rows.scalar(operands[3]);
  Scalar target(builder, operands[1]);
  Scalar counted = counts(target, getIgnoreIndex());
  int64_t vocab = getVocab();
  bool padded = vocab < getWidth(getLogits());
  return {rows.map({operands[0]}, [&](Elements e) {
    Scalar column = rows.index(0);
    Scalar probability = exp(e[0] - lse);
    Scalar error =
        select(column == target, probability - 1.0, probability) * grad;
    if (padded)
      error = select(column < static_cast<double>(vocab), error, 0.0);
    return select(counted, error, 0.0);
  })};
}

//===----------------------------------------------------------------------===//
// target_count
//===----------------------------------------------------------------------===//

int64_t TargetCountOp::getNumRows() {
  return getTargets().getType().getNumElements();
}
RowRole TargetCountOp::getOperandRole(unsigned) { return RowRole::Lane; }
RowRole TargetCountOp::getResultRole(unsigned) { return RowRole::Sum; }

SmallVector<Value> TargetCountOp::buildRow(ImplicitLocOpBuilder &builder,
                                           ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getCount()));
  Scalar counted = counts({builder, operands[0]}, getIgnoreIndex());
  return {select(counted, rows.constant(1), 0.0)};
}

//===----------------------------------------------------------------------===//
// masked_mean
//===----------------------------------------------------------------------===//

// A mean over all elements is one row: their number is known only at the end.
int64_t MaskedMeanOp::getNumRows() { return 1; }
RowRole MaskedMeanOp::getOperandRole(unsigned) { return RowRole::Whole; }
RowRole MaskedMeanOp::getResultRole(unsigned) { return RowRole::Lane; }

SmallVector<Value> MaskedMeanOp::buildRow(ImplicitLocOpBuilder &builder,
                                          ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getValues()));
  Scalars sums =
      rows.sums({operands[0], operands[1]}, [&](Elements e) -> Scalars {
        Scalar counted = counts(e[1], getIgnoreIndex());
        return {select(counted, e[0], 0.0),
                select(counted, rows.constant(1), 0.0)};
      });
  Scalar atLeastOne = max(sums[1], rows.constant(1));
  return {sums[0] / atLeastOne, sums[1]};
}

int64_t MaskedMeanVJPOp::getNumRows() {
  return getTargets().getType().getNumElements();
}
RowRole MaskedMeanVJPOp::getOperandRole(unsigned index) {
  return index == 0 ? RowRole::Lane : RowRole::Whole;
}
RowRole MaskedMeanVJPOp::getResultRole(unsigned) { return RowRole::Lane; }

SmallVector<Value> MaskedMeanVJPOp::buildRow(ImplicitLocOpBuilder &builder,
                                             ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getMeanGrad()));
  Scalar count = rows.scalar(operands[1]);
  Scalar grad = rows.scalar(operands[2]) / max(count, rows.constant(1));
  Scalar counted = counts({builder, operands[0]}, getIgnoreIndex());
  return {select(counted, grad, 0.0)};
}

//===----------------------------------------------------------------------===//
// Norms
//===----------------------------------------------------------------------===//

int64_t SquaredNormOp::getNumRows() { return countRows(getInput().getType()); }
RowRole SquaredNormOp::getOperandRole(unsigned) {
  return getRowRole(getInput().getType());
}
RowRole SquaredNormOp::getResultRole(unsigned) { return RowRole::Sum; }

SmallVector<Value> SquaredNormOp::buildRow(ImplicitLocOpBuilder &builder,
                                           ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getInput()));
  return {
      rows.sum({operands[0]}, [](Elements e) { return e[0] * e[0]; }).get()};
}

int64_t ClipFactorOp::getNumRows() { return 1; }
RowRole ClipFactorOp::getOperandRole(unsigned) { return RowRole::Lane; }
RowRole ClipFactorOp::getResultRole(unsigned) { return RowRole::Lane; }

SmallVector<Value> ClipFactorOp::buildRow(ImplicitLocOpBuilder &builder,
                                          ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getNorm()));
  Scalar norm = rows.scalar(operands[0]), limit = rows.scalar(operands[1]);
  Scalar scale = rows.scalar(operands[2]);
  Scalar scaled = scale * norm;
  Scalar clips = limit < scaled;
  Scalar limited = select(limit > 0.0, limit / scaled, 1.0);
  return {scale * select(clips, limited, 1.0), scaled};
}

//===----------------------------------------------------------------------===//
// Optimizer
//===----------------------------------------------------------------------===//

int64_t AdamWOp::getNumRows() { return countRows(getParameter().getType()); }
RowRole AdamWOp::getOperandRole(unsigned index) {
  return index < 4 ? getRowRole(getParameter().getType()) : RowRole::Whole;
}
RowRole AdamWOp::getResultRole(unsigned) {
  return getRowRole(getParameter().getType());
}
std::optional<unsigned> AdamWOp::getSharedOperand(unsigned index) {
  return index;
}

SmallVector<Value> AdamWOp::buildRow(ImplicitLocOpBuilder &builder,
                                     ValueRange operands, Value) {
  Type type = getComputeElementType(getMoment1());
  RowBuilder rows(builder, type);
  GroupAttr group = getGroup();
  double beta1 = group.getBeta1(), beta2 = group.getBeta2();
  Scalar lr = rows.scalar(operands[4]) * double(group.getLrScale());
  Scalar step = rows.scalar(operands[5]), factor = rows.scalar(operands[6]);
  auto debias = [&](double beta) {
    return 1.0 / (1.0 - pow(rows.constant(beta), step));
  };
  Scalar rate = lr * debias(beta1), debias2 = debias(beta2);
  Scalar keep = 1.0 - lr * double(group.getWeightDecay());
  return rows.maps({operands[0], operands[1], operands[2], operands[3]},
                   [&](Elements e) -> Scalars {
                     Scalar gradient = factor * e[3];
                     Scalar m = e[1] * beta1 + gradient * (1 - beta1);
                     Scalar v =
                         e[2] * beta2 + gradient * gradient * (1 - beta2);
                     Scalar denominator =
                         sqrt(v * debias2) + double(group.getEps());
                     return {e[0] * keep - rate * m / denominator, m, v};
                   });
}

int64_t ConstrainOp::getNumRows() { return countRows(getInput().getType()); }
RowRole ConstrainOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole ConstrainOp::getResultRole(unsigned) { return RowRole::Row; }
std::optional<unsigned> ConstrainOp::getSharedOperand(unsigned) { return 0; }

SmallVector<Value> ConstrainOp::buildRow(ImplicitLocOpBuilder &builder,
                                         ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getInput()));
  double width = static_cast<double>(getWidth(getInput()));
  Value x = operands[0];
  if (getConstraint() == Constraint::None)
    return {x};
  Scalar mean = rows.sum({x}, [](Elements e) { return e[0]; }) / width;
  if (getConstraint() == Constraint::ZeroMean)
    return {rows.map({x}, [&](Elements e) { return e[0] - mean; })};
  Scalar squares = rows.sum({x}, [&](Elements e) {
    Scalar centred = e[0] - mean;
    return centred * centred;
  });
  Scalar inverse = reciprocalOrZero(sqrt(squares / width));
  return {rows.map({x}, [&](Elements e) { return (e[0] - mean) * inverse; })};
}

int64_t AccumulateOp::getNumRows() {
  return countRows(getAccumulator().getType());
}
RowRole AccumulateOp::getOperandRole(unsigned index) {
  return getRowRole((*this)->getOperand(index).getType());
}
RowRole AccumulateOp::getResultRole(unsigned index) {
  return getRowRole((*this)->getResult(index).getType());
}
std::optional<unsigned> AccumulateOp::getSharedOperand(unsigned) { return 0; }
SmallVector<Value> AccumulateOp::buildRow(ImplicitLocOpBuilder &builder,
                                          ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getAccumulator()));
  return {rows.map({operands[0], operands[1]},
                   [](Elements e) { return e[0] + e[1]; })};
}
