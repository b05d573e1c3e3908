// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Floating-point operations per op. Contractions are exact; row-wise ops count
// the arithmetic of their definition per element, an addition, a product, a
// comparison or a transcendental function as one.
#include "nag/Dialect/Nag/IR/NagDialect.h"

using namespace mlir;
using namespace nag;

static int64_t elements(Value value) {
  if (auto stream = dyn_cast<StreamType>(value.getType()))
    return ShapedType::getNumElements(stream.getShape());
  return cast<RankedTensorType>(value.getType()).getNumElements();
}

static int64_t lastDim(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape().back();
}

/// Pairs (t, j) with j <= t and t - j <= window, for t < length.
static int64_t visiblePairs(int64_t length, std::optional<uint64_t> window) {
  int64_t all = length * (length + 1) / 2;
  int64_t reach = window ? static_cast<int64_t>(*window) : length;
  int64_t hidden = std::max<int64_t>(length - 1 - reach, 0);
  return all - hidden * (hidden + 1) / 2;
}

bool LinearOp::isContraction() { return true; }
bool WeightGradOp::isContraction() { return true; }
bool HeadLossOp::isContraction() { return true; }
bool HeadLossVJPOp::isContraction() { return true; }
bool AttentionOp::isContraction() { return true; }
bool AttentionVJPOp::isContraction() { return true; }

int64_t LinearOp::getFlops() {
  return 2 * elements(getInput()) * lastDim(getResult());
}

int64_t WeightGradOp::getFlops() {
  return 2 * elements(getInput()) * lastDim(getResultGrad());
}

/// Pairs of a query and a key that it sees. Routed queries count as the mean
/// query does (getPairCost): their positions are known at run time only.
template <typename AttentionLike> static int64_t countPairs(AttentionLike op) {
  ArrayRef<int64_t> query = op.getQuery().getType().getShape();
  if (op.getRoute().empty())
    return visiblePairs(query[1], op.getWindow()) * query[0];
  ArrayRef<int64_t> key = op.getKey().getType().getShape();
  int64_t batch =
      cast<RankedTensorType>(op.getRoute()[1].getType()).getDimSize(0) - 1;
  int64_t length = key.size() == 3 ? key[1] : query[0] / batch;
  return static_cast<int64_t>(double(visiblePairs(length, op.getWindow())) /
                              double(length) * double(query[0]));
}

/// Two products per visible pair and head dimension, and five operations for
/// the scaled, shifted exponential and the running sums.
static int64_t getPairFlops(AttentionOp op) {
  return 4 * lastDim(op.getQuery()) + 5 * static_cast<int64_t>(op.getHeads());
}

/// Five products: scores, dv, dp, dq, dk.
static int64_t getPairFlops(AttentionVJPOp op) {
  return 10 * lastDim(op.getQuery()) + 5 * static_cast<int64_t>(op.getHeads());
}

template <typename AttentionLike>
static std::optional<PairCost> getRoutedPairs(AttentionLike op) {
  if (op.getRoute().empty())
    return std::nullopt;
  PairCost cost;
  cost.flops = getPairFlops(op);
  cost.meanPairs = countPairs(op);
  if (op.getWindow())
    cost.window = static_cast<int64_t>(*op.getWindow());
  cost.routesKeys = op.getKey().getType().getRank() == 2;
  return cost;
}

std::optional<PairCost> AttentionOp::getPairCost() {
  return getRoutedPairs(*this);
}
std::optional<PairCost> AttentionVJPOp::getPairCost() {
  return getRoutedPairs(*this);
}

int64_t AttentionOp::getFlops() {
  return countPairs(*this) * getPairFlops(*this);
}

/// Beside the pairs, the row sums of do * o.
int64_t AttentionVJPOp::getFlops() {
  return countPairs(*this) * getPairFlops(*this) + 2 * elements(getQuery());
}

int64_t EncodeOp::getFlops() { return 3 * elements(getInput()); }
int64_t EncodeVJPOp::getFlops() { return 9 * elements(getInput()); }
int64_t GateOp::getFlops() { return 6 * elements(getActivations()); }
int64_t GateVJPOp::getFlops() { return 14 * elements(getActivations()); }
int64_t SoftmaxVJPOp::getFlops() { return 8 * elements(getLogits()); }
int64_t RotateOp::getFlops() { return 15 * elements(getBranch()); }
int64_t RotateVJPOp::getFlops() { return 38 * elements(getBranch()); }
int64_t TemperOp::getFlops() { return elements(getInput()); }
int64_t TemperVJPOp::getFlops() { return 3 * elements(getInput()); }

int64_t ModulateOp::getFlops() {
  int64_t directions = getWeight().getType().getDimSize(0);
  return 2 * elements(getDirection()) * directions +
         6 * elements(getGates()) * directions;
}

int64_t DecodeOp::getFlops() {
  int64_t vocabulary = getWeight().getType().getDimSize(0);
  return 2 * elements(getStream()) * vocabulary + elements(getLogits());
}

/// A product and a sum per element and pair; a term and element of a
/// combination; an op of the body and row.
int64_t RowGramOp::getFlops() {
  int64_t flops = 0;
  for (int64_t right : getRight())
    flops += right == kOnes ? 1 : 2;
  return getRows().empty() ? 0 : flops * elements(getRows().front());
}
int64_t RowCombineOp::getFlops() {
  int64_t terms = 2 * getRows().size() - (getConstant() ? 0 : 1);
  return terms * elements(getResult());
}
int64_t RowScalarsOp::getFlops() {
  int64_t ops = 0;
  for (Operation &op : getBody().front().without_terminator())
    ops += !op.hasTrait<OpTrait::ConstantLike>();
  return getScalars().empty() ? 0 : ops * elements(getScalars().front());
}

int64_t EmbeddingOp::getFlops() { return 0; }
int64_t EmbeddingVJPOp::getFlops() { return elements(getResultGrad()); }
int64_t RotaryTableOp::getFlops() { return 4 * elements(getCos()); }
int64_t RotaryOp::getFlops() { return 3 * elements(getInput()); }
int64_t RmsNormVJPOp::getFlops() { return 8 * elements(getInput()); }
int64_t InverseRmsOp::getFlops() { return 2 * elements(getInput()); }
int64_t GainOp::getFlops() { return elements(getInput()); }
int64_t GainVJPOp::getFlops() { return 3 * elements(getInput()); }
int64_t Relu2Op::getFlops() { return 2 * elements(getInput()); }
int64_t Relu2VJPOp::getFlops() { return 3 * elements(getInput()); }
int64_t GeluOp::getFlops() { return 8 * elements(getInput()); }
int64_t GeluVJPOp::getFlops() { return 14 * elements(getInput()); }
int64_t SwigluOp::getFlops() { return 5 * elements(getUp()); }
int64_t SwigluVJPOp::getFlops() { return 11 * elements(getUp()); }
int64_t ResidualAddOp::getFlops() { return elements(getBranch()); }

int64_t RmsNormOp::getFlops() {
  return (getGain() ? 4 : 3) * elements(getInput());
}

int64_t CrossEntropyOp::getFlops() { return 4 * elements(getLogits()); }
int64_t TokenLossOp::getFlops() { return 4 * elements(getLogits()); }
int64_t TokenLossVJPOp::getFlops() { return 4 * elements(getLogits()); }

/// One product, or three; then the row-wise ops' work per logit.
int64_t HeadLossOp::getFlops() {
  int64_t logits = elements(getTargets()) * getWeight().getType().getDimSize(0);
  return logits * (2 * lastDim(getInput()) + (getLogScale() ? 5 : 4));
}
int64_t HeadLossVJPOp::getFlops() {
  int64_t logits = elements(getTargets()) * getWeight().getType().getDimSize(0);
  return logits * (6 * lastDim(getInput()) + (getLogScale() ? 12 : 8));
}

int64_t TargetCountOp::getFlops() { return elements(getTargets()); }
int64_t MaskedMeanOp::getFlops() { return 2 * elements(getValues()); }
int64_t MaskedMeanVJPOp::getFlops() { return elements(getTargets()); }
int64_t SquaredNormOp::getFlops() { return 2 * elements(getInput()); }
int64_t ClipFactorOp::getFlops() { return 4; }
int64_t AdamWOp::getFlops() { return 16 * elements(getParameter()); }
int64_t AccumulateOp::getFlops() { return elements(getValue()); }

int64_t GlobalNormOp::getFlops() {
  int64_t flops = 1;
  for (Value input : getInputs())
    flops += 2 * elements(input);
  return flops;
}

int64_t ConstrainOp::getFlops() {
  switch (getConstraint()) {
  case Constraint::None:
    return 0;
  case Constraint::ZeroMean:
    return 2 * elements(getInput());
  case Constraint::ZeroMeanUnitRms:
    return 5 * elements(getInput());
  }
  llvm_unreachable("all constraints are covered");
}
