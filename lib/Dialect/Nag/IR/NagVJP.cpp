// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Vector-Jacobian products of the nag ops (DifferentiableOpInterface).
#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace nag;

using Cotangents = SmallVector<Cotangent>;

namespace {

/// The tensor cotangent itself, or zeros where it is null.
Value valueOrZero(ImplicitLocOpBuilder &b, Value cotangent, Type type) {
  if (cotangent)
    return cotangent;
  return arith::ConstantOp::create(b, b.getZeroAttr(type));
}

Cotangent tensorOf(Value value) { return {value, nullptr}; }

/// Cotangents of a list of tensors.
Cotangents tensorsOf(ValueRange values) {
  return llvm::map_to_vector(values, tensorOf);
}

/// Says that no gradient flows through this result; an empty list tells the
/// caller.
Cotangents refuse(Operation *op, StringRef result) {
  op->emitOpError() << "has no derivative of its result '" << result
                    << "', but the differentiated results depend on it";
  return {};
}

} // namespace

//===----------------------------------------------------------------------===//
// Residual stream
//===----------------------------------------------------------------------===//

Cotangents EncodeOp::buildVJP(OpBuilder &builder,
                              ArrayRef<Cotangent> cotangents) {
  ImplicitLocOpBuilder b(getLoc(), builder);
  StreamType type = getStream().getType();
  Value direction =
      valueOrZero(b, cotangents[0].value, type.getDirectionType());
  Value logNorm = valueOrZero(b, cotangents[0].logNorm, type.getLogNormType());
  auto vjp = EncodeVJPOp::create(b, getInput(), direction, logNorm);
  return tensorsOf(vjp->getResults());
}

Cotangents MakeStreamOp::buildVJP(OpBuilder &, ArrayRef<Cotangent> cotangents) {
  return {tensorOf(cotangents[0].value), tensorOf(cotangents[0].logNorm)};
}

Cotangents DirectionOp::buildVJP(OpBuilder &, ArrayRef<Cotangent> cotangents) {
  return {Cotangent{cotangents[0].value, nullptr}};
}

Cotangents LogNormOp::buildVJP(OpBuilder &, ArrayRef<Cotangent> cotangents) {
  return {Cotangent{nullptr, cotangents[0].value}};
}

Cotangents GateOp::buildVJP(OpBuilder &builder,
                            ArrayRef<Cotangent> cotangents) {
  ImplicitLocOpBuilder b(getLoc(), builder);
  Value gatesGrad = cotangents[0].value;
  auto vjp = GateVJPOp::create(b, getActivations(), getBias(), getLogits(),
                               getBeta(), getAlpha(), gatesGrad, getScale());
  Cotangents result = tensorsOf(vjp->getResults());
  if (!getScale())
    return result;
  // The gate is symmetric in alpha and scale, but for bf16 in their types.
  Value alpha = getAlpha();
  if (alpha.getType() != getScale().getType())
    alpha = arith::ExtFOp::create(b, getScale().getType(), alpha);
  auto swapped = GateVJPOp::create(b, getActivations(), getBias(), getLogits(),
                                   getBeta(), getScale(), gatesGrad, alpha);
  result.push_back(tensorOf(swapped.getAlphaGrad()));
  return result;
}

Cotangents RotateOp::buildVJP(OpBuilder &builder,
                              ArrayRef<Cotangent> cotangents) {
  ImplicitLocOpBuilder b(getLoc(), builder);
  StreamType type = getStream().getType();
  Value logNorm = valueOrZero(b, cotangents[0].logNorm, type.getLogNormType());
  Value direction =
      b.createOrFold<DirectionOp>(type.getDirectionType(), getStream());
  auto vjp = RotateVJPOp::create(
      b, direction, getBranch(), getGates(),
      valueOrZero(b, cotangents[0].value, type.getDirectionType()), logNorm,
      getEpsAttr());
  return {Cotangent{vjp.getInputGrad(), cotangents[0].logNorm},
          tensorOf(vjp.getBranchGrad()), tensorOf(vjp.getGatesGrad())};
}

Cotangents TemperOp::buildVJP(OpBuilder &builder,
                              ArrayRef<Cotangent> cotangents) {
  ImplicitLocOpBuilder b(getLoc(), builder);
  auto vjp = TemperVJPOp::create(b, getInput(), getLogScale(),
                                 cotangents[0].value, getFactorAttr());
  return tensorsOf(vjp->getResults());
}

//===----------------------------------------------------------------------===//
// Transformer parts
//===----------------------------------------------------------------------===//

Cotangents EmbeddingOp::buildVJP(OpBuilder &builder,
                                 ArrayRef<Cotangent> cotangents) {
  ImplicitLocOpBuilder b(getLoc(), builder);
  int64_t rows = cast<RankedTensorType>(getTable().getType()).getDimSize(0);
  Value table =
      EmbeddingVJPOp::create(b, getTokens(), cotangents[0].value, rows);
  return {Cotangent{}, tensorOf(table)};
}

Cotangents LinearOp::buildVJP(OpBuilder &builder,
                              ArrayRef<Cotangent> cotangents) {
  ImplicitLocOpBuilder b(getLoc(), builder);
  Value grad = cotangents[0].value;
  bool transposed = getTransposeWeight();
  Value input = LinearOp::create(b, grad, getWeight(), !transposed);
  Value weight = transposed ? WeightGradOp::create(b, getInput(), grad)
                            : WeightGradOp::create(b, grad, getInput());
  return {tensorOf(input), tensorOf(weight)};
}

Cotangents AttentionOp::buildVJP(OpBuilder &builder,
                                 ArrayRef<Cotangent> cotangents) {
  if (cotangents[1])
    return refuse(*this, "lse");
  ImplicitLocOpBuilder b(getLoc(), builder);
  auto vjp =
      AttentionVJPOp::create(b, getQuery(), getKey(), getValue(), getResult(),
                             getLse(), cotangents[0].value, getRoute(),
                             getHeadsAttr(), getKvHeadsAttr(), getWindowAttr());
  Cotangents result = tensorsOf(vjp->getResults());
  result.resize((*this)->getNumOperands());
  return result;
}

/// The tables take no cotangent: they hold constants.
Cotangents RotaryOp::buildVJP(OpBuilder &builder,
                              ArrayRef<Cotangent> cotangents) {
  ImplicitLocOpBuilder b(getLoc(), builder);
  Value input = RotaryOp::create(b, cotangents[0].value, getCos(), getSin(),
                                 getIndices(), getHeads(), !getInverse());
  Cotangents result((*this)->getNumOperands());
  result.front() = tensorOf(input);
  return result;
}

/// Heads' norms are read again by attention anyway, so that with one number per
/// head they stand for what went into them; rows that are normed as a whole are
/// read again themselves.
Cotangents RmsNormOp::buildVJP(OpBuilder &builder,
                               ArrayRef<Cotangent> cotangents) {
  ImplicitLocOpBuilder b(getLoc(), builder);
  Value grad = cotangents[0].value, gainGrad, normalised = getResult();
  if (getGain()) {
    normalised = RmsNormOp::create(b, getInput(), Value(), getGroupsAttr(),
                                   getFactorAttr(), getEpsAttr());
    auto vjp = GainVJPOp::create(b, normalised, getGain(), grad);
    grad = vjp.getInputGrad();
    gainGrad = vjp.getGainGrad();
  }
  bool byResult = getGroups() > 1 && !getFactor().isZero();
  Value inverse =
      byResult ? InverseRmsOp::create(b, getInput(), getGroups(), getEps())
               : Value();
  Value input =
      RmsNormVJPOp::create(b, byResult ? normalised : getInput(), grad, inverse,
                           getGroupsAttr(), getFactorAttr(), getEpsAttr());
  if (getGain())
    return {tensorOf(input), tensorOf(gainGrad)};
  return {tensorOf(input)};
}

Cotangents GainOp::buildVJP(OpBuilder &builder,
                            ArrayRef<Cotangent> cotangents) {
  ImplicitLocOpBuilder b(getLoc(), builder);
  auto vjp = GainVJPOp::create(b, getInput(), getGain(), cotangents[0].value);
  return tensorsOf(vjp->getResults());
}

Cotangents Relu2Op::buildVJP(OpBuilder &builder,
                             ArrayRef<Cotangent> cotangents) {
  ImplicitLocOpBuilder b(getLoc(), builder);
  return {tensorOf(Relu2VJPOp::create(b, getInput(), cotangents[0].value))};
}

Cotangents GeluOp::buildVJP(OpBuilder &builder,
                            ArrayRef<Cotangent> cotangents) {
  ImplicitLocOpBuilder b(getLoc(), builder);
  return {tensorOf(GeluVJPOp::create(b, getInput(), cotangents[0].value,
                                     getApproximateTanh()))};
}

Cotangents SwigluOp::buildVJP(OpBuilder &builder,
                              ArrayRef<Cotangent> cotangents) {
  ImplicitLocOpBuilder b(getLoc(), builder);
  auto vjp = SwigluVJPOp::create(b, getGate(), getUp(), cotangents[0].value);
  return tensorsOf(vjp->getResults());
}

Cotangents ResidualAddOp::buildVJP(OpBuilder &,
                                   ArrayRef<Cotangent> cotangents) {
  return {cotangents[0], cotangents[0]};
}

//===----------------------------------------------------------------------===//
// Loss
//===----------------------------------------------------------------------===//

Cotangents TokenLossOp::buildVJP(OpBuilder &builder,
                                 ArrayRef<Cotangent> cotangents) {
  if (cotangents[1])
    return refuse(*this, "lse");
  ImplicitLocOpBuilder b(getLoc(), builder);
  Value logits = TokenLossVJPOp::create(b, getLogits(), getTargets(), getLse(),
                                        cotangents[0].value, getVocabAttr(),
                                        getIgnoreIndexAttr());
  return {tensorOf(logits), Cotangent{}};
}

Cotangents HeadLossOp::buildVJP(OpBuilder &builder,
                                ArrayRef<Cotangent> cotangents) {
  ImplicitLocOpBuilder b(getLoc(), builder);
  auto vjp = HeadLossVJPOp::create(
      b, getInput(), getWeight(), getTargets(), cotangents[0].value,
      getLogScale(), getVocabAttr(), getFactorAttr(), getIgnoreIndexAttr());
  Cotangents result{tensorOf(vjp.getInputGrad()), tensorOf(vjp.getWeightGrad()),
                    Cotangent{}};
  if (getLogScale())
    result.push_back(tensorOf(vjp.getLogScaleGrad()));
  return result;
}

Cotangents MaskedMeanOp::buildVJP(OpBuilder &builder,
                                  ArrayRef<Cotangent> cotangents) {
  // The count does not depend on the values.
  if (!cotangents[0])
    return Cotangents(2);
  ImplicitLocOpBuilder b(getLoc(), builder);
  Value values = MaskedMeanVJPOp::create(
      b, getTargets(), getCount(), cotangents[0].value, getIgnoreIndexAttr());
  return {tensorOf(values), Cotangent{}};
}
