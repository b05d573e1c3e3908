// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Verifiers of the residual stream and its gates.
#include "Verify.h"

#include "nag/Dialect/Nag/IR/NagDialect.h"

using namespace mlir;
using namespace nag;
using namespace nag::verifier;

/// The gate parameters that nag.gate, nag.gate_vjp and nag.modulate share:
/// vectors of length C and scalars.
static LogicalResult verifyGate(Operation *op, StringRef vectorLabel,
                                StringRef scalarLabel, int64_t directions,
                                Value bias, Value logits, Value beta,
                                Value alpha) {
  if (failed(expectShape(op, vectorLabel, "bias", {directions}, bias)) ||
      failed(expectShape(op, vectorLabel, "logits", {directions}, logits)) ||
      failed(expectShape(op, scalarLabel, "beta", {}, beta)))
    return failure();
  return expectShape(op, scalarLabel, "alpha", {}, alpha);
}

/// `weight` is [C, D] with D the width of what it meets.
static LogicalResult verifyGateWeight(Operation *op, StringRef label,
                                      Value weight, int64_t width) {
  if (failed(expectRank(op, label, "weight", 2, weight)))
    return failure();
  return expectShape(op, label, "weight",
                     {tensorType(weight).getShape().front(), width}, weight);
}

LogicalResult EncodeOp::verify() {
  Type element = getStream().getType().getLogNormType().getElementType();
  return expectType(*this, "C1", "gain", RankedTensorType::get({}, element),
                    getGain().getType());
}

LogicalResult EncodeVJPOp::verify() {
  if (failed(expectType(*this, "C1", "direction_grad", getInput().getType(),
                        getDirectionGrad().getType())))
    return failure();
  return expectType(*this, "C2", "log_norm_grad", laneType(getInput()),
                    getLogNormGrad().getType());
}

/// Arguments and yielded value of a block's body.
static LogicalResult verifyBody(BlockOp op) {
  StreamType stream = op.getStream().getType();
  Block &block = op.getBody().front();
  SmallVector<Type> arguments{stream.getDirectionType()};
  Type branch = stream.getDirectionType();
  if (op.getRouting()) {
    Type integer = IntegerType::get(op.getContext(), 32);
    int64_t rows = op.getMaxRows();
    branch = RankedTensorType::get({rows, stream.getWidth()},
                                   stream.getElementType());
    arguments.append(
        {branch, RankedTensorType::get({rows}, integer),
         RankedTensorType::get({stream.getShape().front() + 1}, integer)});
  }
  if (failed(
          expectTrue(op, "C1", block.getNumArguments() == arguments.size(),
                     "a body with " + Twine(arguments.size()) +
                         (arguments.size() == 1 ? " argument" : " arguments"),
                     Twine(block.getNumArguments()))))
    return failure();
  for (auto [type, argument] : llvm::zip_equal(arguments, block.getArguments()))
    if (failed(expectType(op, "C1", "body argument", type, argument.getType())))
      return failure();
  Operation *yield = block.getTerminator();
  if (failed(expectTrue(op, "C2", yield->getNumOperands() == 1,
                        "a body that yields 1 value",
                        Twine(yield->getNumOperands()))))
    return failure();
  return expectType(op, "C2", "branch", branch, yield->getOperand(0).getType());
}

static LogicalResult verifyRouting(BlockOp op) {
  std::optional<RoutingAttr> routing = op.getRouting();
  Value dial = op.getDial();
  StreamType stream = op.getStream().getType();
  size_t numResults = routing ? 1 : 0;
  if (failed(expectTrue(op, "C8", op.getOffsets().size() == numResults,
                        Twine(numResults) + " results for offsets",
                        Twine(op.getOffsets().size()))))
    return failure();
  if (!routing)
    return expectTrue(op, "C8", !dial, "no dial without routing", "one");
  if (failed(expectTrue(op, "C10", stream.getShape().size() == 3,
                        "a routed stream of rank 3",
                        "rank " + Twine(stream.getShape().size()))) ||
      failed(expectTrue(op, "C8",
                        dial || routing->getPolicy() == Policy::Capacity,
                        "a dial with the policy '" +
                            stringifyPolicy(routing->getPolicy()) + "'",
                        "none")))
    return failure();
  Type element = stream.getLogNormType().getElementType();
  if (dial &&
      failed(expectType(op, "C8", "dial", RankedTensorType::get({}, element),
                        dial.getType())))
    return failure();
  return success();
}

LogicalResult BlockOp::verify() {
  StreamType stream = getStream().getType();
  if (failed(verifyRouting(*this)) || failed(verifyBody(*this)) ||
      failed(expectType(*this, "C3", "gates", stream.getLogNormType(),
                        getGates().getType())) ||
      failed(verifyGateWeight(*this, "C4", getWeight(), stream.getWidth())))
    return failure();
  int64_t directions = tensorType(getWeight()).getShape().front();
  if (failed(verifyGate(*this, "C5", "C6", directions, getBias(), getLogits(),
                        getBeta(), getAlpha())) ||
      failed(verifyEps(*this, "C7", getEps())))
    return failure();
  bool readsAll = !getBody().front().getArgument(0).use_empty();
  return expectTrue(*this, "C9",
                    !getRouting() || !readsAll ||
                        getRouting()->getKv() == KeyValues::All,
                    "a body that leaves the direction of all tokens alone with "
                    "kv = routed",
                    "one that reads it");
}

LogicalResult ModulateOp::verify() {
  if (failed(
          verifyGateWeight(*this, "C1", getWeight(), widthOf(getDirection()))))
    return failure();
  return verifyGate(*this, "C2", "C3",
                    tensorType(getWeight()).getShape().front(), getBias(),
                    getLogits(), getBeta(), getAlpha());
}

LogicalResult GateOp::verify() {
  return verifyGate(*this, "C1", "C2", widthOf(getActivations()), getBias(),
                    getLogits(), getBeta(), getAlpha());
}

LogicalResult GateVJPOp::verify() {
  if (failed(verifyGate(*this, "C1", "C2", widthOf(getActivations()), getBias(),
                        getLogits(), getBeta(), getAlpha())))
    return failure();
  return expectType(*this, "C3", "gates_grad", laneType(getActivations()),
                    getGatesGrad().getType());
}

LogicalResult SoftmaxVJPOp::verify() {
  return expectType(*this, "C1", "result_grad", getLogits().getType(),
                    getResultGrad().getType());
}

LogicalResult RotateOp::verify() {
  StreamType stream = getStream().getType();
  if (failed(expectType(*this, "C1", "branch", stream.getDirectionType(),
                        getBranch().getType())) ||
      failed(expectType(*this, "C2", "gates", stream.getLogNormType(),
                        getGates().getType())))
    return failure();
  return verifyEps(*this, "C3", getEps());
}

LogicalResult RotateVJPOp::verify() {
  if (failed(expectType(*this, "C1", "branch", getDirection().getType(),
                        getBranch().getType())) ||
      failed(expectType(*this, "C1", "direction_grad", getDirection().getType(),
                        getDirectionGrad().getType())) ||
      failed(expectType(*this, "C2", "gates", laneType(getDirection()),
                        getGates().getType())) ||
      failed(expectType(*this, "C2", "log_norm_grad", laneType(getDirection()),
                        getLogNormGrad().getType())))
    return failure();
  return verifyEps(*this, "C3", getEps());
}

LogicalResult DecodeOp::verify() {
  int64_t rows = tensorType(getWeight()).getShape().front();
  return expectShape(*this, "C1", "weight",
                     {rows, getStream().getType().getWidth()}, getWeight());
}

LogicalResult TemperOp::verify() {
  return expectType(*this, "C1", "log_scale", laneType(getInput()),
                    getLogScale().getType());
}

LogicalResult TemperVJPOp::verify() {
  if (failed(expectType(*this, "C1", "log_scale", laneType(getInput()),
                        getLogScale().getType())))
    return failure();
  return expectType(*this, "C2", "result_grad", getInput().getType(),
                    getResultGrad().getType());
}
