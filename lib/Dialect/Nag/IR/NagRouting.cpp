// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Depth routing: result types, constraints, costs and vector-Jacobian products.
#include "Verify.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace nag;
using namespace nag::verifier;

using InferredTypes = SmallVectorImpl<Type>;
using Cotangents = SmallVector<Cotangent>;

//===----------------------------------------------------------------------===//
// The attribute
//===----------------------------------------------------------------------===//

LogicalResult RoutingAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                  Policy, Real rate, KeyValues) {
  if (rate >= 0 && rate < 1)
    return success();
  return emitError() << "expected a rate in [0, 1), but got " << rate.value;
}

/// Rates such as 0.7 are no binary fractions: a whole number of skipped tokens
/// is missed by a rounding.
int64_t RoutingAttr::getKept(int64_t length) const {
  return length - static_cast<int64_t>(getRate() * double(length) + 1e-9);
}

static int64_t countMaxRows(RoutingAttr routing, bool hasDial,
                            ArrayRef<int64_t> shape) {
  bool isFixed = routing.getPolicy() == Policy::Capacity && !hasDial;
  return shape[0] * (isFixed ? routing.getKept(shape[1]) : shape[1]);
}

int64_t BlockOp::getMaxRows() {
  return countMaxRows(*getRouting(), bool(getDial()),
                      getStream().getType().getShape());
}

//===----------------------------------------------------------------------===//
// Result types
//===----------------------------------------------------------------------===//

static ArrayRef<int64_t> shapeOf(Value value) {
  return tensorType(value).getShape();
}

static Type elementOf(Value value) {
  return tensorType(value).getElementType();
}

static LogicalResult requireRank(std::optional<Location> loc, StringRef name,
                                 Value value, int64_t least, int64_t most) {
  int64_t rank = shapeOf(value).size();
  if (rank >= least && rank <= most)
    return success();
  return emitOptionalError(loc, "expected '", name, "' of rank ", least, " to ",
                           most, ", but got rank ", rank);
}

LogicalResult RouteOp::inferReturnTypes(MLIRContext *context,
                                        std::optional<Location> loc,
                                        Adaptor adaptor, InferredTypes &types) {
  if (failed(requireRank(loc, "scores", adaptor.getScores(), 2, 2)))
    return failure();
  if (!adaptor.getRouting())
    return emitOptionalError(loc, "expected a 'routing'");
  Type integer = IntegerType::get(context, 32);
  ArrayRef<int64_t> shape = shapeOf(adaptor.getScores());
  int64_t rows =
      countMaxRows(adaptor.getRouting(), bool(adaptor.getDial()), shape);
  types.assign({RankedTensorType::get({rows}, integer),
                RankedTensorType::get({shape[0] + 1}, integer)});
  return success();
}

LogicalResult TakeOp::inferReturnTypes(MLIRContext *,
                                       std::optional<Location> loc,
                                       Adaptor adaptor, InferredTypes &types) {
  Value source = adaptor.getSource();
  if (failed(requireRank(loc, "source", source, 2, 3)) ||
      failed(requireRank(loc, "indices", adaptor.getIndices(), 1, 1)))
    return failure();
  SmallVector<int64_t> shape(shapeOf(source).drop_front(2));
  shape.insert(shape.begin(), shapeOf(adaptor.getIndices()).front());
  types.assign(
      {RankedTensorType::get(shape, elementOf(source)), source.getType()});
  return success();
}

LogicalResult PutOp::inferReturnTypes(MLIRContext *, std::optional<Location>,
                                      Adaptor adaptor, InferredTypes &types) {
  types.push_back(adaptor.getRest().getType());
  return success();
}

LogicalResult SoftSkipOp::inferReturnTypes(MLIRContext *,
                                           std::optional<Location>,
                                           Adaptor adaptor,
                                           InferredTypes &types) {
  types.push_back(
      RankedTensorType::get({}, getComputeType(elementOf(adaptor.getGates()))));
  return success();
}

LogicalResult SoftSkipVJPOp::inferReturnTypes(MLIRContext *,
                                              std::optional<Location>,
                                              Adaptor adaptor,
                                              InferredTypes &types) {
  types.push_back(adaptor.getGates().getType());
  return success();
}

LogicalResult QuantileOp::inferReturnTypes(MLIRContext *,
                                           std::optional<Location> loc,
                                           Adaptor adaptor,
                                           InferredTypes &types) {
  Value values = adaptor.getValues();
  if (failed(requireRank(loc, "values", values, 2, 8)))
    return failure();
  types.push_back(
      RankedTensorType::get(shapeOf(values).take_front(), elementOf(values)));
  return success();
}

//===----------------------------------------------------------------------===//
// Constraints
//===----------------------------------------------------------------------===//

LogicalResult RouteOp::verify() {
  if (getDial())
    return expectType(*this, "C2", "dial",
                      RankedTensorType::get({}, elementOf(getScores())),
                      getDial().getType());
  return expectTrue(*this, "C2", getRouting().getPolicy() == Policy::Capacity,
                    "a dial with the policy '" +
                        stringifyPolicy(getRouting().getPolicy()) + "'",
                    "none");
}

/// `whole` is [B, T, ...] for offsets [B + 1] and at most B*T indices.
static LogicalResult verifySequences(Operation *op, StringRef name, Value whole,
                                     Value indices, StringRef countLabel,
                                     Value offsets) {
  ArrayRef<int64_t> shape = shapeOf(whole);
  if (failed(expectTrue(op, "C1", shape.size() == 2 || shape.size() == 3,
                        "'" + name + "' of rank 2 or 3",
                        "rank " + Twine(shape.size()))) ||
      failed(expectShape(op, "C1", "offsets", {shape[0] + 1}, offsets)) ||
      failed(expectRank(op, countLabel, "indices", 1, indices)))
    return failure();
  int64_t count = shapeOf(indices).front(), tokens = shape[0] * shape[1];
  return expectTrue(op, countLabel, count <= tokens,
                    "at most " + Twine(tokens) + " indices", Twine(count));
}

LogicalResult TakeOp::verify() {
  return verifySequences(*this, "source", getSource(), getIndices(), "C2",
                         getOffsets());
}

LogicalResult PutOp::verify() {
  if (failed(verifySequences(*this, "rest", getRest(), getIndices(), "C3",
                             getOffsets())))
    return failure();
  SmallVector<int64_t> shape(shapeOf(getRest()).drop_front(2));
  shape.insert(shape.begin(), shapeOf(getIndices()).front());
  return expectType(*this, "C2", "rows",
                    RankedTensorType::get(shape, elementOf(getRest())),
                    getRows().getType());
}

static LogicalResult verifySoftSkip(Operation *op, Value gates,
                                    ArrayRef<std::pair<StringRef, Value>> lanes,
                                    const APFloat &temperature) {
  Type scalar = RankedTensorType::get({}, getComputeType(elementOf(gates)));
  for (auto [name, value] : lanes)
    if (failed(expectType(op, "C1", name, scalar, value.getType())))
      return failure();
  double value = temperature.convertToDouble();
  return expectTrue(op, "C2", value > 0 && temperature.isFinite(),
                    "a positive 'temperature'", std::to_string(value));
}

LogicalResult SoftSkipOp::verify() {
  return verifySoftSkip(*this, getGates(), {{"threshold", getThreshold()}},
                        getTemperature());
}

LogicalResult SoftSkipVJPOp::verify() {
  return verifySoftSkip(
      *this, getGates(),
      {{"threshold", getThreshold()}, {"share_grad", getShareGrad()}},
      getTemperature());
}

LogicalResult QuantileOp::verify() {
  return expectType(*this, "C2", "rate",
                    RankedTensorType::get({}, elementOf(getValues())),
                    getRate().getType());
}

//===----------------------------------------------------------------------===//
// Costs
//===----------------------------------------------------------------------===//

/// A comparison and a magnitude per token.
int64_t RouteOp::getFlops() {
  return 2 * ShapedType::getNumElements(shapeOf(getScores()));
}
int64_t TakeOp::getFlops() { return 0; }
int64_t PutOp::getFlops() { return 0; }
int64_t SoftSkipOp::getFlops() {
  return 5 * ShapedType::getNumElements(shapeOf(getGates()));
}
int64_t SoftSkipVJPOp::getFlops() {
  return 9 * ShapedType::getNumElements(shapeOf(getGates()));
}
int64_t QuantileOp::getFlops() {
  return 2 * ShapedType::getNumElements(shapeOf(getValues()));
}

//===----------------------------------------------------------------------===//
// Vector-Jacobian products
//===----------------------------------------------------------------------===//

static Value orZero(ImplicitLocOpBuilder &builder, Value cotangent, Type type) {
  if (cotangent)
    return cotangent;
  return arith::ConstantOp::create(builder, builder.getZeroAttr(type));
}

Cotangents TakeOp::buildVJP(OpBuilder &owner, ArrayRef<Cotangent> cotangents) {
  ImplicitLocOpBuilder builder(getLoc(), owner);
  Value rows = orZero(builder, cotangents[0].value, getRows().getType());
  Value rest = orZero(builder, cotangents[1].value, getRest().getType());
  Cotangents result(3);
  result[0].value =
      PutOp::create(builder, rows, rest, getIndices(), getOffsets());
  return result;
}

Cotangents PutOp::buildVJP(OpBuilder &owner, ArrayRef<Cotangent> cotangents) {
  auto take = TakeOp::create(owner, getLoc(), cotangents[0].value, getIndices(),
                             getOffsets());
  Cotangents result(4);
  result[0].value = take.getRows();
  result[1].value = take.getRest();
  return result;
}

Cotangents SoftSkipOp::buildVJP(OpBuilder &owner,
                                ArrayRef<Cotangent> cotangents) {
  Cotangents result(2);
  result[0].value =
      SoftSkipVJPOp::create(owner, getLoc(), getGates(), getThreshold(),
                            cotangents[0].value, getTemperatureAttr());
  return result;
}
