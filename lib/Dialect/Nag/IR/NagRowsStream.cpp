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

int64_t GateOp::getColumnSpan() { return getWidth(getActivations()); }

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
        Scalar share = mixtureGrad * e[2];
        return {share * a * (1.0 - a), share * (a - gate.mixture)};
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

/// The scalars of docs/mathematics.md section 3 that nag.rotate and its VJP
/// compute alike. In two passes, the sums of squares are taken of u itself: a
/// difference of sums of f would cancel when the branch is nearly parallel to r
/// (section 3.1). The first estimate of the part along r is then corrected by
/// what of it is left in u.
struct RotateForm {
  RotateForm(GramBuilder &gram, GramRow r, GramRow f, double width, double eps,
             std::optional<GramRow> grad = std::nullopt);

  /// rms_e squared from a sum of squares.
  Scalar meanSquare(Scalar squares) const { return squares / width + eps; }
  /// rms_e of y = r + g v, with v = u / rms_e(u).
  Scalar turnedRms(Scalar g, Scalar inverseSquareN) const {
    return sqrt(meanSquare(rr + g * g * uu * inverseSquareN));
  }

  double width;
  double eps;
  Scalar sumR, rr, inverseRR;
  /// <f, r> / <r, r> without f's mean, as used in u and as it is after the
  /// correction.
  Scalar mean, along, rest;
  Scalar uu;
  /// The branch without its mean and its part along r.
  GramRow u;
  /// <G, r>, <G, u> and the sum of G, where there is a G.
  Scalar gradR, gradU, sumGrad;

private:
  void measureTwice(GramBuilder &gram, GramRow r, std::optional<GramRow> grad);
  void measureOnce(GramBuilder &gram, GramRow r, GramRow f, Scalar ff,
                   std::optional<GramRow> grad);
};

} // namespace

RotateForm::RotateForm(GramBuilder &gram, GramRow r, GramRow f, double rowWidth,
                       double epsilon, std::optional<GramRow> grad)
    : width(rowWidth), eps(epsilon) {
  SmallVector<GramBuilder::Pair> pairs{{r}, {r, r}, {f}, {f, r}};
  if (gram.usesSums())
    pairs.push_back({f, f});
  Scalars sums = gram.gram(pairs);
  sumR = sums[0];
  rr = sums[1];
  inverseRR = 1.0 / rr;
  mean = sums[2] / width;
  along = (sums[3] - mean * sumR) * inverseRR;
  u = gram.combine({{f, gram.constant(1)}, {r, -along}}, -mean,
                   /*cancels=*/true);
  if (gram.usesSums())
    measureOnce(gram, r, f, sums[4], grad);
  else
    measureTwice(gram, r, grad);
}

void RotateForm::measureTwice(GramBuilder &gram, GramRow r,
                              std::optional<GramRow> grad) {
  SmallVector<GramBuilder::Pair> pairs{{u, u}, {u, r}};
  if (grad)
    pairs.append({{*grad, r}, {*grad, u}, {*grad}});
  Scalars sums = gram.gram(pairs);
  rest = sums[1] * inverseRR;
  along = along + rest;
  uu = max(sums[0] - rest * sums[1], rr.constant(0));
  if (!grad)
    return;
  gradR = sums[2];
  gradU = sums[3] - rest * gradR;
  sumGrad = sums[4];
}

/// cc - cr^2 / RR and its like: exact in exact arithmetic.
void RotateForm::measureOnce(GramBuilder &gram, GramRow r, GramRow f, Scalar ff,
                             std::optional<GramRow> grad) {
  Scalar cc = ff - mean * mean * width;
  rest = gram.constant(0);
  uu = max(cc - along * along * rr, rr.constant(0));
  if (!grad)
    return;
  Scalars sums = gram.gram({{*grad, r}, {*grad, f}, {*grad}});
  gradR = sums[0];
  sumGrad = sums[2];
  gradU = sums[1] - mean * sumGrad - along * gradR;
}

int64_t RotateOp::getNumRows() { return getStream().getType().getNumRows(); }
RowRole RotateOp::getOperandRole(unsigned index) {
  constexpr RowRole roles[] = {RowRole::Stream, RowRole::Row, RowRole::Lane};
  return roles[index];
}
RowRole RotateOp::getResultRole(unsigned) { return RowRole::Stream; }

SmallVector<GramValue> RotateOp::buildGramForm(GramBuilder &gram,
                                               ArrayRef<GramValue> operands) {
  GramRow r = operands[0], f = operands[2];
  Scalar s = operands[1], g = operands[3];
  RotateForm form(gram, r, f, getWidth(getBranch()),
                  getEps().convertToDouble());
  Scalar inverseSquareN = reciprocalOrZero(form.meanSquare(form.uu));
  Scalar weight = g * sqrt(inverseSquareN);
  Scalar inverse = 1.0 / form.turnedRms(g, inverseSquareN);
  GramRow direction = gram.combine({{r, inverse}, {form.u, weight * inverse}});
  return {direction, s + log1p(g * g) * 0.5};
}

SmallVector<Value> RotateOp::buildRow(ImplicitLocOpBuilder &builder,
                                      ValueRange operands, Value) {
  return buildGramRow(*this, builder, operands,
                      getComputeElementType(getStream()));
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
SmallVector<GramValue>
RotateVJPOp::buildGramForm(GramBuilder &gram, ArrayRef<GramValue> operands) {
  GramRow r = operands[0], f = operands[1], grad = operands[3];
  Scalar g = operands[2], logNormGrad = operands[4];
  double width = static_cast<double>(getWidth(getDirection()));
  RotateForm form(gram, r, f, width, getEps().convertToDouble(), grad);
  Scalar inverseSquareN = reciprocalOrZero(form.meanSquare(form.uu));
  Scalar inverseN = sqrt(inverseSquareN);
  Scalar weight = g * inverseN;
  Scalar scale = 1.0 / form.turnedRms(g, inverseSquareN);

  // dy = scale G - radial (r + weight u)
  Scalar radial =
      (form.gradR + weight * form.gradU) * scale * scale * scale / width;
  Scalar dyU = scale * form.gradU - radial * weight * form.uu;
  Scalar dyR = scale * form.gradR - radial * form.rr;
  Scalar gateGrad = dyU * inverseN + logNormGrad * g / (g * g + 1.0);

  // du = weight dy - shrink u
  Scalar shrink = weight * dyU * inverseSquareN / width;
  Scalar q = weight * dyR * form.inverseRR;

  // The mean of dc = du - q r; that of u is -along * mean(r).
  Scalar sumU = -(form.along * form.sumR);
  Scalar sumDy = scale * form.sumGrad - radial * (form.sumR + weight * sumU);
  Scalar meanDc = (weight * sumDy - shrink * sumU - q * form.sumR) / width;

  GramRow dy =
      gram.combine({{grad, scale}, {r, -radial}, {form.u, -(radial * weight)}});
  GramRow du = gram.combine({{dy, weight}, {form.u, -shrink}});
  GramRow dr = gram.combine({{dy, gram.constant(1)},
                             {du, -form.along},
                             {form.u, -q},
                             {r, q * form.along}});
  GramRow df = gram.combine({{du, gram.constant(1)}, {r, -q}}, -meanDc);
  return {dr, df, gateGrad};
}

SmallVector<Value> RotateVJPOp::buildRow(ImplicitLocOpBuilder &builder,
                                         ValueRange operands, Value) {
  return buildGramRow(*this, builder, operands,
                      getComputeElementType(getDirection()));
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
std::optional<unsigned> TemperVJPOp::getSharedOperand(unsigned index) {
  return index == 0 ? std::optional(2u) : std::nullopt;
}
bool TemperVJPOp::readsInPlace(unsigned) { return true; }

SmallVector<Value> TemperVJPOp::buildRow(ImplicitLocOpBuilder &builder,
                                         ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getInput()));
  Value x = operands[0], grad = operands[2];
  Scalar scale = exp(rows.scalar(operands[1])) * getFactor().convertToDouble();
  Scalar dot = rows.sum({x, grad}, [](Elements e) { return e[0] * e[1]; });
  Value inputGrad = rows.map({grad}, [&](Elements e) { return e[0] * scale; });
  return {inputGrad, dot * scale};
}
