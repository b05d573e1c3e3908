// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Verifiers of the parts of a transformer.
#include "Verify.h"

#include "nag/Dialect/Nag/IR/NagDialect.h"

using namespace mlir;
using namespace nag;
using namespace nag::verifier;

/// A route is none, or indices [M] and offsets [B + 1] for M query rows.
static LogicalResult verifyRoute(Operation *op, StringRef label,
                                 OperandRange route, Value query) {
  if (route.empty())
    return success();
  if (failed(expectTrue(op, label, route.size() == 2,
                        "indices and offsets as the route",
                        Twine(route.size()) + " operands")) ||
      failed(expectRank(op, label, "query", 2, query)) ||
      failed(expectShape(op, label, "indices",
                         {tensorType(query).getDimSize(0)}, route[0])))
    return failure();
  return expectRank(op, label, "offsets", 1, route[1]);
}

/// Shapes of keys and values: of all tokens, or of the routed ones.
static LogicalResult verifyKeys(Operation *op, Value query, Value key,
                                Value value, OperandRange route,
                                int64_t width) {
  SmallVector<int64_t> shape(tensorType(query).getShape());
  StringRef label = "C1";
  if (!route.empty() && tensorType(key).getRank() == 3) {
    label = "C6";
    shape = {tensorType(route[1]).getDimSize(0) - 1,
             tensorType(key).getDimSize(1), 0};
  }
  shape.back() = width;
  if (failed(expectShape(op, label, "key", shape, key)))
    return failure();
  return expectShape(op, label, "value", shape, value);
}

static LogicalResult verifyAttention(Operation *op, Value query, Value key,
                                     Value value, OperandRange route,
                                     int64_t heads, int64_t kvHeads,
                                     std::optional<int64_t> window) {
  if (failed(verifyRoute(op, "C6", route, query)) ||
      (route.empty() && failed(expectRank(op, "C1", "query", 3, query))) ||
      failed(expectTrue(op, "C2",
                        kvHeads > 0 && heads > 0 && heads % kvHeads == 0,
                        "'heads' a positive multiple of 'kv_heads'",
                        Twine(heads) + " and " + Twine(kvHeads))) ||
      failed(expectTrue(op, "C1", widthOf(query) % heads == 0,
                        "the width of 'query' a multiple of 'heads' = " +
                            Twine(heads),
                        Twine(widthOf(query)))) ||
      failed(verifyKeys(op, query, key, value, route,
                        widthOf(query) / heads * kvHeads)))
    return failure();
  return expectTrue(op, "C3", !window || *window >= 0, "'window' of 0 or more",
                    Twine(window.value_or(0)));
}

static LogicalResult verifyGroups(Operation *op, Value input, int64_t groups) {
  return expectTrue(op, "C1", groups > 0 && widthOf(input) % groups == 0,
                    "'groups' to divide " + Twine(widthOf(input)),
                    Twine(groups));
}

LogicalResult EmbeddingOp::verify() {
  return expectRank(*this, "C1", "table", 2, getTable());
}

LogicalResult EmbeddingVJPOp::verify() {
  return expectShape(*this, "C1", "tokens",
                     tensorType(getResultGrad()).getShape().drop_back(),
                     getTokens());
}

LogicalResult LinearOp::verify() {
  if (failed(expectRank(*this, "C1", "weight", 2, getWeight())))
    return failure();
  int64_t expected =
      tensorType(getWeight()).getDimSize(getTransposeWeight() ? 0 : 1);
  return expectTrue(*this, "C2", widthOf(getInput()) == expected,
                    "'input' of width " + Twine(expected),
                    Twine(widthOf(getInput())));
}

LogicalResult WeightGradOp::verify() {
  SmallVector<int64_t> shape(tensorType(getResultGrad()).getShape());
  shape.back() = widthOf(getInput());
  if (failed(expectShape(*this, "C1", "input", shape, getInput())))
    return failure();
  return verifyWeightGrad(*this, "C2", getInput(), getWeightGrad());
}

LogicalResult AttentionOp::verify() {
  return verifyAttention(*this, getQuery(), getKey(), getValue(), getRoute(),
                         getHeads(), getKvHeads(), getWindow());
}

LogicalResult AttentionVJPOp::verify() {
  if (failed(verifyAttention(*this, getQuery(), getKey(), getValue(),
                             getRoute(), getHeads(), getKvHeads(),
                             getWindow())))
    return failure();
  RankedTensorType query = tensorType(getQuery());
  if (failed(expectType(*this, "C4", "result", query, getResult().getType())) ||
      failed(expectType(*this, "C4", "result_grad", query,
                        getResultGrad().getType())))
    return failure();
  auto heads = static_cast<int64_t>(getHeads());
  SmallVector<int64_t> lse{query.getDimSize(0), heads, query.getDimSize(1)};
  if (!getRoute().empty())
    lse = {heads, query.getDimSize(0)};
  return expectShape(*this, "C5", "lse", lse, getLse());
}

LogicalResult RotaryTableOp::verify() {
  double base = getBase().convertToDouble();
  if (failed(expectTrue(*this, "C1", base > 0, "a positive 'base'",
                        std::to_string(base))) ||
      failed(expectRank(*this, "C2", "cos", 2, getCos())))
    return failure();
  return expectType(*this, "C2", "sin", getCos().getType(), getSin().getType());
}

LogicalResult RotaryOp::verify() {
  int64_t heads = getHeads();
  int64_t rank = getIndices() ? 2 : 3;
  if (failed(expectRank(*this, "C1", "input", rank, getInput())) ||
      failed(expectTrue(
          *this, "C1", heads > 0 && widthOf(getInput()) % (2 * heads) == 0,
          "the width of 'input' a multiple of twice 'heads' = " + Twine(heads),
          Twine(widthOf(getInput())))))
    return failure();
  if (getIndices() &&
      (failed(expectShape(*this, "C3", "indices",
                          {tensorType(getInput()).getDimSize(0)},
                          getIndices())) ||
       failed(expectRank(*this, "C2", "cos", 2, getCos()))))
    return failure();
  int64_t length = tensorType(getIndices() ? getCos() : getInput())
                       .getDimSize(getIndices() ? 0 : 1);
  SmallVector<int64_t> table = {length, widthOf(getInput()) / heads / 2};
  if (failed(expectShape(*this, "C2", "cos", table, getCos())))
    return failure();
  return expectShape(*this, "C2", "sin", table, getSin());
}

LogicalResult RmsNormOp::verify() {
  int64_t groups = getGroups();
  if (failed(verifyGroups(*this, getInput(), groups)))
    return failure();
  if (getGain() &&
      failed(expectShape(*this, "C2", "gain", {widthOf(getInput()) / groups},
                         getGain())))
    return failure();
  return verifyEps(*this, "C3", getEps());
}

LogicalResult InverseRmsOp::verify() {
  if (failed(verifyGroups(*this, getInput(), getGroups())))
    return failure();
  return verifyEps(*this, "C2", getEps());
}

LogicalResult RmsNormVJPOp::verify() {
  if (failed(verifyGroups(*this, getInput(), getGroups())) ||
      failed(expectType(*this, "C2", "result_grad", getInput().getType(),
                        getResultGrad().getType())))
    return failure();
  if (getInverse()) {
    SmallVector<int64_t> shape(tensorType(getInput()).getShape());
    shape.back() = getGroups();
    if (failed(expectShape(*this, "C4", "inverse", shape, getInverse())) ||
        failed(expectTrue(*this, "C4", !getFactor().isZero(),
                          "a 'factor' that is not zero with 'inverse'", "0")))
      return failure();
  }
  return verifyEps(*this, "C3", getEps());
}

static LogicalResult verifyGain(Operation *op, Value input, Value gain) {
  if (failed(expectRank(op, "C1", "gain", 1, gain)))
    return failure();
  bool divides = widthOf(gain) > 0 && widthOf(input) % widthOf(gain) == 0;
  return expectTrue(op, "C2", divides,
                    "the length of 'gain' to divide " + Twine(widthOf(input)),
                    Twine(widthOf(gain)));
}

LogicalResult GainOp::verify() {
  return verifyGain(*this, getInput(), getGain());
}

LogicalResult GainVJPOp::verify() {
  if (failed(verifyGain(*this, getInput(), getGain())))
    return failure();
  return expectType(*this, "C3", "result_grad", getInput().getType(),
                    getResultGrad().getType());
}

LogicalResult SwigluVJPOp::verify() {
  if (failed(expectType(*this, "C1", "up", getGate().getType(),
                        getUp().getType())))
    return failure();
  return expectType(*this, "C1", "result_grad", getGate().getType(),
                    getResultGrad().getType());
}
