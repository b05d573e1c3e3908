// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row programs of the transformer's parts: embedding, rotary, norms,
// activations.
#include "RowRoles.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace nag;

using Elements = RowBuilder::Elements;
using Scalars = SmallVector<Scalar>;

//===----------------------------------------------------------------------===//
// linear and its weight's gradient
//===----------------------------------------------------------------------===//

int64_t LinearOp::getNumRows() { return countRows(getInput().getType()); }
RowRole LinearOp::getOperandRole(unsigned index) {
  return index == 0 ? RowRole::Row : RowRole::Whole;
}
RowRole LinearOp::getResultRole(unsigned) { return RowRole::Row; }
unsigned LinearOp::getSharedRowOperand() { return 0; }

int64_t WeightGradOp::getNumRows() { return countRows(getInput().getType()); }
RowRole WeightGradOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole WeightGradOp::getResultRole(unsigned) { return RowRole::Sum; }
unsigned WeightGradOp::getSharedRowOperand() { return 1; }

//===----------------------------------------------------------------------===//
// embedding
//===----------------------------------------------------------------------===//

int64_t EmbeddingOp::getNumRows() { return countRows(getResult().getType()); }
RowRole EmbeddingOp::getOperandRole(unsigned index) {
  return index == 0 ? RowRole::Lane : RowRole::Whole;
}
RowRole EmbeddingOp::getResultRole(unsigned) { return RowRole::Row; }

SmallVector<Value> EmbeddingOp::buildRow(ImplicitLocOpBuilder &builder,
                                         ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getTable()));
  Value token =
      arith::IndexCastOp::create(builder, builder.getIndexType(), operands[0]);
  Value entry = rows.tableRow(operands[1], token);
  return {rows.map({entry}, [](Elements e) { return e[0]; })};
}

//===----------------------------------------------------------------------===//
// rotary
//===----------------------------------------------------------------------===//

int64_t RotaryTableOp::getNumRows() { return countRows(getCos().getType()); }
RowRole RotaryTableOp::getOperandRole(unsigned) { return RowRole::Whole; }
RowRole RotaryTableOp::getResultRole(unsigned) { return RowRole::Row; }

SmallVector<Value> RotaryTableOp::buildRow(ImplicitLocOpBuilder &builder,
                                           ValueRange, Value row) {
  Type f64 = builder.getF64Type();
  RowBuilder wide(builder, f64);
  RowBuilder rows(builder, getComputeElementType(getCos()));
  int64_t half = getWidth(getCos());
  auto toReal = [&](Value integer) -> Scalar {
    return {builder, arith::SIToFPOp::create(builder, f64, integer)};
  };
  Value index = arith::IndexCastOp::create(builder, builder.getI64Type(), row);
  Scalar position = toReal(index) + static_cast<double>(getFirst());
  Value shape = tensor::EmptyOp::create(builder, ArrayRef<int64_t>{half}, f64);
  double decay = -std::log(getBase().convertToDouble()) / half;
  return rows.maps({shape}, [&](Elements) -> Scalars {
    Scalar angle = position * exp(toReal(wide.index(0)) * decay);
    return {rows.scalar(cos(angle)), rows.scalar(sin(angle))};
  });
}

int64_t RotaryOp::getNumRows() { return countRows(getInput().getType()); }
RowRole RotaryOp::getOperandRole(unsigned index) {
  constexpr RowRole roles[] = {RowRole::Row, RowRole::Whole, RowRole::Whole,
                               RowRole::Lane};
  return roles[index];
}
RowRole RotaryOp::getResultRole(unsigned) { return RowRole::Row; }

int64_t RotaryOp::getColumnSpan() { return getWidth(getInput()) / getHeads(); }

SmallVector<Value> RotaryOp::buildRow(ImplicitLocOpBuilder &builder,
                                      ValueRange operands, Value row) {
  RowBuilder rows(builder, getComputeElementType(getInput()));
  int64_t width = getWidth(getInput()), heads = getHeads();
  int64_t positions = getCos().getType().getDimSize(0);
  if (getIndices())
    row = arith::IndexCastOp::create(builder, builder.getIndexType(),
                                     operands[3]);
  Value position = arith::RemUIOp::create(
      builder, row, arith::ConstantIndexOp::create(builder, positions));
  Value cosines = rows.tableRow(operands[1], position);
  Value sines = rows.tableRow(operands[2], position);
  Value x = rows.reshape(operands[0], {heads, 2, width / heads / 2});
  bool inverse = getInverse();
  Value y = rows.map({x, flipped(x), cosines, sines}, [&](Elements e) {
    Scalar isFirst = rows.index(1) == 0;
    Scalar sine =
        inverse ? select(isFirst, -e[3], e[3]) : select(isFirst, e[3], -e[3]);
    return e[0] * e[2] + e[1] * sine;
  });
  return {rows.reshape(y, {width})};
}

//===----------------------------------------------------------------------===//
// rms_norm
//===----------------------------------------------------------------------===//

int64_t RmsNormOp::getNumRows() { return countRows(getInput().getType()); }
RowRole RmsNormOp::getOperandRole(unsigned index) {
  return index == 0 ? RowRole::Row : RowRole::Whole;
}
RowRole RmsNormOp::getResultRole(unsigned) { return RowRole::Row; }

/// 1 / rms of every group of `x`, a tensor [groups, width].
static Value inverseGroupRms(RowBuilder &rows, Value x, double eps) {
  double width = static_cast<double>(getWidth(x));
  Value squares = rows.groupSum({x}, [](Elements e) { return e[0] * e[0]; });
  return rows.map({squares},
                  [&](Elements e) { return 1.0 / sqrt(e[0] / width + eps); });
}

int64_t RmsNormOp::getColumnSpan() {
  return getWidth(getInput()) / getGroups();
}

/// A norm over groups has one inner product per group, not per row.
bool RmsNormOp::hasGramForm() { return getGroups() == 1 && !getGain(); }

SmallVector<GramValue> RmsNormOp::buildGramForm(GramBuilder &gram,
                                                ArrayRef<GramValue> operands) {
  GramRow x = operands[0];
  double width = static_cast<double>(getWidth(getInput()));
  Scalar meanSquare = gram.dot(x, x) / width + getEps().convertToDouble();
  Scalar factor = getFactor().convertToDouble() / sqrt(meanSquare);
  return {gram.combine({{x, factor}})};
}

SmallVector<Value> RmsNormOp::buildRow(ImplicitLocOpBuilder &builder,
                                       ValueRange operands, Value) {
  if (hasGramForm())
    return buildGramRow(*this, builder, operands,
                        getComputeElementType(getInput()));
  RowBuilder rows(builder, getComputeElementType(getInput()));
  int64_t width = getWidth(getInput()), groups = getGroups();
  Value x = rows.reshape(operands[0], {groups, width / groups});
  Value inverse = inverseGroupRms(rows, x, getEps().convertToDouble());
  double factor = getFactor().convertToDouble();
  SmallVector<RowInput> inputs{x, perGroup(inverse)};
  if (getGain())
    inputs.push_back(operands[1]);
  Value y = rows.map(inputs, [&](Elements e) {
    Scalar normed = e[0] * (e[1] * factor);
    return e.size() == 3 ? normed * e[2] : normed;
  });
  return {rows.reshape(y, {width})};
}

int64_t InverseRmsOp::getNumRows() { return countRows(getInput().getType()); }
RowRole InverseRmsOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole InverseRmsOp::getResultRole(unsigned) { return RowRole::Row; }

int64_t InverseRmsOp::getColumnSpan() {
  return getWidth(getInput()) / getGroups();
}

SmallVector<Value> InverseRmsOp::buildRow(ImplicitLocOpBuilder &builder,
                                          ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getInput()));
  int64_t width = getWidth(getInput()), groups = getGroups();
  Value x = rows.reshape(operands[0], {groups, width / groups});
  return {inverseGroupRms(rows, x, getEps().convertToDouble())};
}

int64_t RmsNormVJPOp::getNumRows() { return countRows(getInput().getType()); }
RowRole RmsNormVJPOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole RmsNormVJPOp::getResultRole(unsigned) { return RowRole::Row; }

int64_t RmsNormVJPOp::getColumnSpan() {
  return getWidth(getInput()) / getGroups();
}

bool RmsNormVJPOp::hasGramForm() { return getGroups() == 1 && !getInverse(); }

SmallVector<GramValue>
RmsNormVJPOp::buildGramForm(GramBuilder &gram, ArrayRef<GramValue> operands) {
  GramRow x = operands[0], grad = operands[1];
  double width = static_cast<double>(getWidth(getInput()));
  Scalars sums = gram.gram({{x, x}, {x, grad}});
  Scalar inverse = 1.0 / sqrt(sums[0] / width + getEps().convertToDouble());
  Scalar factor = inverse * getFactor().convertToDouble();
  Scalar radial = sums[1] * inverse * inverse / width;
  return {gram.combine({{grad, factor}, {x, -(factor * radial)}})};
}

SmallVector<Value> RmsNormVJPOp::buildRow(ImplicitLocOpBuilder &builder,
                                          ValueRange operands, Value) {
  if (hasGramForm())
    return buildGramRow(*this, builder, operands,
                        getComputeElementType(getInput()));
  RowBuilder rows(builder, getComputeElementType(getInput()));
  int64_t width = getWidth(getInput()), groups = getGroups();
  int64_t groupWidth = width / groups;
  double factor = getFactor().convertToDouble();
  Value x = rows.reshape(operands[0], {groups, groupWidth});
  Value grad = rows.reshape(operands[1], {groups, groupWidth});
  Value inverse = getInverse()
                      ? operands[2]
                      : inverseGroupRms(rows, x, getEps().convertToDouble());
  Value dot = rows.groupSum({x, grad}, [](Elements e) { return e[0] * e[1]; });
  auto inputGrad = [&](Elements e) {
    // x / rms is x times the inverse, or a result by the factor.
    Scalar radial = getInverse() ? e[3] / (factor * factor * groupWidth)
                                 : e[3] * e[2] * e[2] / double(groupWidth);
    return (e[1] - e[0] * radial) * (e[2] * factor);
  };
  Value y = rows.map({x, grad, perGroup(inverse), perGroup(dot)}, inputGrad);
  return {rows.reshape(y, {width})};
}

//===----------------------------------------------------------------------===//
// gain
//===----------------------------------------------------------------------===//

int64_t GainOp::getNumRows() { return countRows(getInput().getType()); }
RowRole GainOp::getOperandRole(unsigned index) {
  return index == 0 ? RowRole::Row : RowRole::Whole;
}
RowRole GainOp::getResultRole(unsigned) { return RowRole::Row; }
std::optional<unsigned> GainOp::getSharedOperand(unsigned) { return 0; }
int64_t GainOp::getColumnSpan() { return getWidth(getGain()); }

SmallVector<Value> GainOp::buildRow(ImplicitLocOpBuilder &builder,
                                    ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getInput()));
  int64_t width = getWidth(getInput()), part = getWidth(getGain());
  Value x = rows.reshape(operands[0], {width / part, part});
  Value y = rows.map({x, operands[1]}, [](Elements e) { return e[0] * e[1]; });
  return {rows.reshape(y, {width})};
}

int64_t GainVJPOp::getNumRows() { return countRows(getInput().getType()); }
RowRole GainVJPOp::getOperandRole(unsigned index) {
  return index == 1 ? RowRole::Whole : RowRole::Row;
}
RowRole GainVJPOp::getResultRole(unsigned index) {
  return index == 0 ? RowRole::Row : RowRole::Sum;
}

SmallVector<Value> GainVJPOp::buildRow(ImplicitLocOpBuilder &builder,
                                       ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getInput()));
  int64_t width = getWidth(getInput()), part = getWidth(getGain());
  Value x = rows.reshape(operands[0], {width / part, part});
  Value grad = rows.reshape(operands[2], {width / part, part});
  auto product = [](Elements e) { return e[0] * e[1]; };
  Value inputGrad = rows.map({grad, operands[1]}, product);
  return {rows.reshape(inputGrad, {width}),
          rows.sumOverGroups({grad, x}, product)};
}

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

static constexpr double kSqrt2Inverse = 0.70710678118654752440;
static constexpr double kSqrt2PiInverse = 0.39894228040143267794;
static constexpr double kTanhScale = 0.79788456080286535588;
static constexpr double kTanhCubic = 0.044715;

/// tanh(sqrt(2/pi) (x + 0.044715 x^3)).
static Scalar geluTanh(Scalar x) {
  return tanh((x + x * x * x * kTanhCubic) * kTanhScale);
}

/// The standard normal distribution function.
static Scalar normalCdf(Scalar x) { return erf(x * kSqrt2Inverse) * 0.5 + 0.5; }

static Scalar gelu(Scalar x, bool approximate) {
  return approximate ? x * (geluTanh(x) * 0.5 + 0.5) : x * normalCdf(x);
}

static Scalar geluDerivative(Scalar x, bool approximate) {
  if (!approximate)
    return normalCdf(x) + x * exp(x * x * -0.5) * kSqrt2PiInverse;
  Scalar t = geluTanh(x);
  Scalar inner = (x * x * (3 * kTanhCubic) + 1.0) * kTanhScale;
  return t * 0.5 + 0.5 + x * 0.5 * (1.0 - t * t) * inner;
}

static Scalar relu(Scalar x) { return max(x, x.constant(0)); }

int64_t Relu2Op::getNumRows() { return countRows(getInput().getType()); }
RowRole Relu2Op::getOperandRole(unsigned index) {
  return getRowRole((*this)->getOperand(index).getType());
}
RowRole Relu2Op::getResultRole(unsigned) {
  return getRowRole(getResult().getType());
}
std::optional<unsigned> Relu2Op::getSharedOperand(unsigned) { return 0; }
SmallVector<Value> Relu2Op::buildRow(ImplicitLocOpBuilder &builder,
                                     ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getInput()));
  return {rows.map({operands[0]}, [](Elements e) {
    Scalar positive = relu(e[0]);
    return positive * positive;
  })};
}

int64_t Relu2VJPOp::getNumRows() { return countRows(getInput().getType()); }
RowRole Relu2VJPOp::getOperandRole(unsigned index) {
  return getRowRole((*this)->getOperand(index).getType());
}
RowRole Relu2VJPOp::getResultRole(unsigned index) {
  return getRowRole((*this)->getResult(index).getType());
}
std::optional<unsigned> Relu2VJPOp::getSharedOperand(unsigned) { return 1; }
SmallVector<Value> Relu2VJPOp::buildRow(ImplicitLocOpBuilder &builder,
                                        ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getInput()));
  return {rows.map({operands[0], operands[1]},
                   [](Elements e) { return relu(e[0]) * 2.0 * e[1]; })};
}

int64_t GeluOp::getNumRows() { return countRows(getInput().getType()); }
RowRole GeluOp::getOperandRole(unsigned index) {
  return getRowRole((*this)->getOperand(index).getType());
}
RowRole GeluOp::getResultRole(unsigned index) {
  return getRowRole((*this)->getResult(index).getType());
}
std::optional<unsigned> GeluOp::getSharedOperand(unsigned) { return 0; }
SmallVector<Value> GeluOp::buildRow(ImplicitLocOpBuilder &builder,
                                    ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getInput()));
  return {rows.map({operands[0]}, [&](Elements e) {
    return gelu(e[0], getApproximateTanh());
  })};
}

int64_t GeluVJPOp::getNumRows() { return countRows(getInput().getType()); }
RowRole GeluVJPOp::getOperandRole(unsigned index) {
  return getRowRole((*this)->getOperand(index).getType());
}
RowRole GeluVJPOp::getResultRole(unsigned index) {
  return getRowRole((*this)->getResult(index).getType());
}
std::optional<unsigned> GeluVJPOp::getSharedOperand(unsigned) { return 1; }
SmallVector<Value> GeluVJPOp::buildRow(ImplicitLocOpBuilder &builder,
                                       ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getInput()));
  return {rows.map({operands[0], operands[1]}, [&](Elements e) {
    return geluDerivative(e[0], getApproximateTanh()) * e[1];
  })};
}

int64_t SwigluOp::getNumRows() { return countRows(getGate().getType()); }
RowRole SwigluOp::getOperandRole(unsigned index) {
  return getRowRole((*this)->getOperand(index).getType());
}
RowRole SwigluOp::getResultRole(unsigned index) {
  return getRowRole((*this)->getResult(index).getType());
}
std::optional<unsigned> SwigluOp::getSharedOperand(unsigned) { return 0; }
SmallVector<Value> SwigluOp::buildRow(ImplicitLocOpBuilder &builder,
                                      ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getGate()));
  return {rows.map({operands[0], operands[1]},
                   [](Elements e) { return e[0] * sigmoid(e[0]) * e[1]; })};
}

int64_t SwigluVJPOp::getNumRows() { return countRows(getGate().getType()); }
RowRole SwigluVJPOp::getOperandRole(unsigned index) {
  return getRowRole((*this)->getOperand(index).getType());
}
RowRole SwigluVJPOp::getResultRole(unsigned index) {
  return getRowRole((*this)->getResult(index).getType());
}
std::optional<unsigned> SwigluVJPOp::getSharedOperand(unsigned index) {
  return index;
}
SmallVector<Value> SwigluVJPOp::buildRow(ImplicitLocOpBuilder &builder,
                                         ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getGate()));
  return rows.maps({operands[0], operands[1], operands[2]},
                   [](Elements e) -> Scalars {
                     Scalar s = sigmoid(e[0]), silu = e[0] * s;
                     Scalar slope = s * ((1.0 - s) * e[0] + 1.0);
                     return {e[2] * e[1] * slope, e[2] * silu};
                   });
}

int64_t ResidualAddOp::getNumRows() {
  return countRows(getResidual().getType());
}
RowRole ResidualAddOp::getOperandRole(unsigned index) {
  return getRowRole((*this)->getOperand(index).getType());
}
RowRole ResidualAddOp::getResultRole(unsigned index) {
  return getRowRole((*this)->getResult(index).getType());
}
std::optional<unsigned> ResidualAddOp::getSharedOperand(unsigned) { return 0; }
bool ResidualAddOp::hasGramForm() {
  return getResidual().getType().getRank() > 1;
}
SmallVector<GramValue>
ResidualAddOp::buildGramForm(GramBuilder &gram, ArrayRef<GramValue> operands) {
  Scalar one = gram.constant(1);
  return {gram.combine({{operands[0], one}, {operands[1], one}}, std::nullopt,
                       /*cancels=*/!gram.usesSums())};
}
SmallVector<Value> ResidualAddOp::buildRow(ImplicitLocOpBuilder &builder,
                                           ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getResidual()));
  return {rows.map({operands[0], operands[1]},
                   [](Elements e) { return e[0] + e[1]; })};
}
