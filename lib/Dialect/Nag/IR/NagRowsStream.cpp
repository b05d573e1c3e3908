// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row programs of the residual stream: encode, gate, rotate, temper.
#include "RowRoles.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace nag;

using Elements = RowBuilder::Elements;
using Scalars = SmallVector<Scalar>;

//===----------------------------------------------------------------------===//
// encode
//===----------------------------------------------------------------------===//

int64_t EncodeOp::getNumRows() { return getStream().getType().getNumRows(); }
RowRole EncodeOp::getOperandRole(unsigned index) {
  return index == 0 ? RowRole::Row : RowRole::Whole;
}
RowRole EncodeOp::getResultRole(unsigned) { return RowRole::Stream; }

SmallVector<Value> EncodeOp::buildRow(ImplicitLocOpBuilder &builder,
                                      ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getInput()));
  Value x = operands[0];
  Scalar squares = rows.sum({x}, [](Elements e) { return e[0] * e[0]; });
  Scalar rho = sqrt(squares / static_cast<double>(getWidth(getInput())));
  Scalar inverse = 1.0 / rho;
  Value direction = rows.map({x}, [&](Elements e) { return e[0] * inverse; });
  return {direction, log(rho) + rows.scalar(operands[1])};
}

int64_t EncodeVJPOp::getNumRows() { return countRows(getInput().getType()); }
RowRole EncodeVJPOp::getOperandRole(unsigned index) {
  return index < 2 ? RowRole::Row : RowRole::Lane;
}
RowRole EncodeVJPOp::getResultRole(unsigned index) {
  return index == 0 ? RowRole::Row : RowRole::Sum;
}

SmallVector<Value> EncodeVJPOp::buildRow(ImplicitLocOpBuilder &builder,
                                         ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getInput()));
  Value x = operands[0], grad = operands[1];
  Scalar logNormGrad = rows.scalar(operands[2]);
  double width = static_cast<double>(getWidth(getInput()));
  Scalars sums = rows.sums({x, grad}, [](Elements e) -> Scalars {
    return {e[0] * e[0], e[0] * e[1]};
  });
  Scalar inverse = 1.0 / sqrt(sums[0] / width);
  Scalar radial = (logNormGrad - sums[1] * inverse) * inverse * inverse / width;
  Value inputGrad = rows.map(
      {x, grad}, [&](Elements e) { return e[1] * inverse + e[0] * radial; });
  return {inputGrad, logNormGrad};
}

//===----------------------------------------------------------------------===//
// gate
//===----------------------------------------------------------------------===//

/// Mixtures below this count as this, so that their logarithm is finite.
static constexpr double kMixtureFloor = 1e-6;

namespace {

/// What nag.gate and its VJP compute alike for one row.
struct GateRow {
  GateRow(RowBuilder &rows, Value activations, Value bias, Value logits,
          Value beta);

  /// softmax(p), a tensor.
  Value weights;
  Scalar mixture;
  Scalar flooredMixture;
  Scalar exponent;
  Scalar modulation;
};

} // namespace

static Scalar gateActivation(Scalar z, Scalar bias) {
  return sigmoid(z + bias);
}

GateRow::GateRow(RowBuilder &rows, Value activations, Value bias, Value logits,
                 Value beta) {
  Scalar largest = rows.maximum(logits);
  auto weight = [&](Elements e) { return exp(e[0] - largest); };
  Scalar inverseSum = 1.0 / rows.sum({logits}, weight);
  weights =
      rows.map({logits}, [&](Elements e) { return weight(e) * inverseSum; });
  mixture = rows.sum({activations, bias, weights}, [](Elements e) {
    return gateActivation(e[0], e[1]) * e[2];
  });
  flooredMixture = max(mixture, mixture.constant(kMixtureFloor));
  exponent = softplus(rows.scalar(beta));
  modulation = exp(exponent * log(flooredMixture));
}

/// The factor of the modulation in the gate: alpha, times the warm-up scale.
static Scalar getGateFactor(RowBuilder &rows, Value alpha, ValueRange scale) {
  Scalar factor = rows.scalar(alpha);
  return scale.empty() ? factor : factor * rows.scalar(scale.front());
}

int64_t GateOp::getNumRows() { return countRows(getActivations().getType()); }
RowRole GateOp::getOperandRole(unsigned index) {
  return index == 0 ? RowRole::Row : RowRole::Whole;
}
RowRole GateOp::getResultRole(unsigned) { return RowRole::Lane; }

SmallVector<Value> GateOp::buildRow(ImplicitLocOpBuilder &builder,
                                    ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getActivations()));
  GateRow gate(rows, operands[0], operands[1], operands[2], operands[3]);
  Scalar factor = getGateFactor(rows, operands[4], operands.drop_front(5));
  return {factor * gate.modulation};
}

int64_t GateVJPOp::getNumRows() {
  return countRows(getActivations().getType());
}
RowRole GateVJPOp::getOperandRole(unsigned index) {
  if (index == 0)
    return RowRole::Row;
  return index == 5 ? RowRole::Lane : RowRole::Whole;
}
RowRole GateVJPOp::getResultRole(unsigned index) {
  return index == 0 ? RowRole::Row : RowRole::Sum;
}

SmallVector<Value> GateVJPOp::buildRow(ImplicitLocOpBuilder &builder,
                                       ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getActivations()));
  Value z = operands[0], bias = operands[1];
  Scalar beta = rows.scalar(operands[3]), grad = rows.scalar(operands[5]);
  GateRow gate(rows, z, bias, operands[2], operands[3]);
  Scalar factor = getGateFactor(rows, operands[4], operands.drop_front(6));
  Scalar modulationGrad = grad * factor;
  Scalar mixtureGrad = select(gate.mixture > kMixtureFloor,
                              modulationGrad * gate.exponent * gate.modulation /
                                  gate.flooredMixture,
                              0.0);
  SmallVector<Value> grads =
      rows.maps({z, bias, gate.weights}, [&](Elements e) -> Scalars {
        Scalar a = gateActivation(e[0], e[1]);
        return {mixtureGrad * e[2] * a * (1.0 - a), mixtureGrad * a};
      });
  Scalar betaGrad = modulationGrad * gate.modulation *
                    log(gate.flooredMixture) * sigmoid(beta);
  Scalar alphaGrad = grad * gate.modulation;
  if (operands.size() > 6)
    alphaGrad = alphaGrad * rows.scalar(operands[6]);
  return {grads[0], grads[0], grads[1], betaGrad, alphaGrad};
}

int64_t SoftmaxVJPOp::getNumRows() { return countRows(getLogits().getType()); }
RowRole SoftmaxVJPOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole SoftmaxVJPOp::getResultRole(unsigned) { return RowRole::Row; }

SmallVector<Value> SoftmaxVJPOp::buildRow(ImplicitLocOpBuilder &builder,
                                          ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getLogits()));
  Value logits = operands[0], grad = operands[1];
  Scalar largest = rows.maximum(logits);
  auto weight = [&](Scalar logit) { return exp(logit - largest); };
  Scalars sums = rows.sums({logits, grad}, [&](Elements e) -> Scalars {
    Scalar w = weight(e[0]);
    return {w, w * e[1]};
  });
  Scalar inverse = 1.0 / sums[0], mean = sums[1] * inverse;
  return {rows.map({logits, grad}, [&](Elements e) {
    return weight(e[0]) * inverse * (e[1] - mean);
  })};
}

//===----------------------------------------------------------------------===//
// rotate
//===----------------------------------------------------------------------===//

namespace {

/// The scalars of spec section 3 that nag.rotate and its VJP compute alike.
/// The sums of squares are taken of u itself: a difference of sums of f would
/// cancel when the branch is nearly parallel to r (section 3.1). The first
/// estimate of the part along r is corrected by what of it is left in u.
struct RotateRow {
  RotateRow(RowBuilder &rows, Value direction, Value branch, double width,
            double eps);

  /// An element of u, the branch without its mean and its part along r.
  Scalar u(Scalar r, Scalar f) const { return f - mean - along * r; }
  /// rms_e squared from a sum of squares.
  Scalar meanSquare(Scalar squares) const { return squares / width + eps; }
  /// rms_e of y = r + g v, with v = u / rms_e(u).
  Scalar turnedRms(Scalar g, Scalar inverseSquareN) const {
    return sqrt(meanSquare(rr + g * g * uu * inverseSquareN));
  }
  /// Takes the rest <u, r> out of u. Returns the factor of r in what is taken.
  Scalar correct(Scalar ru, Scalar squaresOfU);

  double width;
  double eps;
  Scalar sumR, rr, inverseRR;
  Scalar mean, along;
  Scalar uu;
};

} // namespace

RotateRow::RotateRow(RowBuilder &rows, Value direction, Value branch,
                     double rowWidth, double epsilon)
    : width(rowWidth), eps(epsilon) {
  Scalars sums = rows.sums({direction, branch}, [](Elements e) -> Scalars {
    return {e[0], e[0] * e[0], e[1], e[0] * e[1]};
  });
  sumR = sums[0];
  rr = sums[1];
  inverseRR = 1.0 / rr;
  mean = sums[2] / width;
  along = (sums[3] - mean * sumR) * inverseRR;
}

Scalar RotateRow::correct(Scalar ru, Scalar squaresOfU) {
  Scalar rest = ru * inverseRR;
  along = along + rest;
  uu = max(squaresOfU - rest * ru, rr.constant(0));
  return rest;
}

int64_t RotateOp::getNumRows() { return getStream().getType().getNumRows(); }
RowRole RotateOp::getOperandRole(unsigned index) {
  constexpr RowRole roles[] = {RowRole::Stream, RowRole::Row, RowRole::Lane};
  return roles[index];
}
RowRole RotateOp::getResultRole(unsigned) { return RowRole::Stream; }

SmallVector<Value> RotateOp::buildRow(ImplicitLocOpBuilder &builder,
                                      ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getStream()));
  Value r = operands[0], f = operands[2];
  Scalar s = rows.scalar(operands[1]), g = rows.scalar(operands[3]);
  RotateRow row(rows, r, f, getWidth(getBranch()), getEps().convertToDouble());
  Scalars sums = rows.sums({r, f}, [&](Elements e) -> Scalars {
    Scalar u = row.u(e[0], e[1]);
    return {u * u, u * e[0]};
  });
  row.correct(sums[1], sums[0]);
  Scalar inverseSquareN = reciprocalOrZero(row.meanSquare(row.uu));
  Scalar weight = g * sqrt(inverseSquareN);
  Scalar inverse = 1.0 / row.turnedRms(g, inverseSquareN);
  Value direction = rows.map({r, f}, [&](Elements e) {
    return (e[0] + weight * row.u(e[0], e[1])) * inverse;
  });
  return {direction, s + log1p(g * g) * 0.5};
}

int64_t RotateVJPOp::getNumRows() {
  return countRows(getDirection().getType());
}
RowRole RotateVJPOp::getOperandRole(unsigned index) {
  return index == 2 || index == 4 ? RowRole::Lane : RowRole::Row;
}
RowRole RotateVJPOp::getResultRole(unsigned index) {
  return index == 2 ? RowRole::Lane : RowRole::Row;
}

// The terms of section 3.2 as linear combinations of G, r and u, whose
// coefficients follow from their inner products.
SmallVector<Value> RotateVJPOp::buildRow(ImplicitLocOpBuilder &builder,
                                         ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getDirection()));
  Value r = operands[0], f = operands[1], grad = operands[3];
  Scalar g = rows.scalar(operands[2]), logNormGrad = rows.scalar(operands[4]);
  double width = static_cast<double>(getWidth(getDirection()));
  RotateRow row(rows, r, f, width, getEps().convertToDouble());
  Scalars sums = rows.sums({r, f, grad}, [&](Elements e) -> Scalars {
    Scalar u = row.u(e[0], e[1]);
    return {u * u, u * e[0], e[2] * e[0], e[2] * u, e[2]};
  });
  Scalar gradR = sums[2];
  Scalar gradU = sums[3] - row.correct(sums[1], sums[0]) * gradR;
  Scalar inverseSquareN = reciprocalOrZero(row.meanSquare(row.uu));
  Scalar inverseN = sqrt(inverseSquareN);
  Scalar weight = g * inverseN;
  Scalar scale = 1.0 / row.turnedRms(g, inverseSquareN);

  // dy = scale G - radial (r + weight u)
  Scalar radial = (gradR + weight * gradU) * scale * scale * scale / width;
  Scalar dyU = scale * gradU - radial * weight * row.uu;
  Scalar dyR = scale * gradR - radial * row.rr;
  Scalar gateGrad = dyU * inverseN + logNormGrad * g / (g * g + 1.0);

  // du = weight dy - shrink u
  Scalar shrink = weight * dyU * inverseSquareN / width;
  Scalar q = weight * dyR * row.inverseRR;

  // The mean of dc = du - q r; that of u is -along * mean(r).
  Scalar sumU = -(row.along * row.sumR);
  Scalar sumDy = scale * sums[4] - radial * (row.sumR + weight * sumU);
  Scalar meanDc = (weight * sumDy - shrink * sumU - q * row.sumR) / width;

  SmallVector<Value> grads =
      rows.maps({r, f, grad}, [&](Elements e) -> Scalars {
        Scalar u = row.u(e[0], e[1]);
        Scalar dy = scale * e[2] - radial * (e[0] + weight * u);
        Scalar du = weight * dy - shrink * u;
        Scalar dr = dy - row.along * du - q * (u - row.along * e[0]);
        return {dr, du - q * e[0] - meanDc};
      });
  return {grads[0], grads[1], gateGrad};
}

//===----------------------------------------------------------------------===//
// temper
//===----------------------------------------------------------------------===//

int64_t TemperOp::getNumRows() { return countRows(getInput().getType()); }
RowRole TemperOp::getOperandRole(unsigned index) {
  return index == 0 ? RowRole::Row : RowRole::Lane;
}
RowRole TemperOp::getResultRole(unsigned) { return RowRole::Row; }
std::optional<unsigned> TemperOp::getSharedOperand(unsigned) { return 0; }

SmallVector<Value> TemperOp::buildRow(ImplicitLocOpBuilder &builder,
                                      ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getInput()));
  Scalar scale = exp(rows.scalar(operands[1])) * getFactor().convertToDouble();
  return {rows.map({operands[0]}, [&](Elements e) { return e[0] * scale; })};
}

int64_t TemperVJPOp::getNumRows() { return countRows(getInput().getType()); }
RowRole TemperVJPOp::getOperandRole(unsigned index) {
  return index == 1 ? RowRole::Lane : RowRole::Row;
}
RowRole TemperVJPOp::getResultRole(unsigned index) {
  return index == 0 ? RowRole::Row : RowRole::Lane;
}
SmallVector<Value> TemperVJPOp::buildRow(ImplicitLocOpBuilder &builder,
                                         ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getInput()));
  Value x = operands[0], grad = operands[2];
  Scalar scale = exp(rows.scalar(operands[1])) * getFactor().convertToDouble();
  Scalar dot = rows.sum({x, grad}, [](Elements e) { return e[0] * e[1]; });
  Value inputGrad = rows.map({grad}, [&](Elements e) { return e[0] * scale; });
  return {inputGrad, dot * scale};
}
