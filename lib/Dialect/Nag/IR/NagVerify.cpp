// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Verifiers. Every error starts with the label its constraint has in the op's
// documentation, then says what was expected and what was found.
#include "Verify.h"

#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Interfaces/FunctionInterfaces.h"

using namespace mlir;
using namespace nag;
using namespace nag::verifier;

namespace {

LogicalResult verifyEps(Operation *op, StringRef label, const APFloat &eps) {
  return expectTrue(op, label, !eps.isNegative() && eps.isFinite(),
                    "a finite 'eps' of 0 or more",
                    std::to_string(eps.convertToDouble()));
}

/// The gate parameters that nag.gate, nag.gate_vjp and nag.modulate share:
/// vectors of length C and scalars.
LogicalResult verifyGate(Operation *op, StringRef vectorLabel,
                         StringRef scalarLabel, int64_t directions, Value bias,
                         Value logits, Value beta, Value alpha) {
  if (failed(expectShape(op, vectorLabel, "bias", {directions}, bias)) ||
      failed(expectShape(op, vectorLabel, "logits", {directions}, logits)) ||
      failed(expectShape(op, scalarLabel, "beta", {}, beta)))
    return failure();
  return expectShape(op, scalarLabel, "alpha", {}, alpha);
}

/// `weight` is [C, D] with D the width of what it meets.
LogicalResult verifyGateWeight(Operation *op, StringRef label, Value weight,
                               int64_t width) {
  if (failed(expectRank(op, label, "weight", 2, weight)))
    return failure();
  return expectShape(op, label, "weight",
                     {tensorType(weight).getShape().front(), width}, weight);
}

LogicalResult verifyTokens(Operation *op, StringRef label, Value targets,
                           ArrayRef<int64_t> shape) {
  return expectShape(op, label, "targets", shape, targets);
}

LogicalResult verifyVocabulary(Operation *op, Value logits, Value targets,
                               int64_t vocab) {
  if (failed(verifyTokens(op, "C1", targets,
                          tensorType(logits).getShape().drop_back())))
    return failure();
  int64_t padded = widthOf(logits);
  return expectTrue(op, "C2", vocab >= 1 && vocab <= padded,
                    "'vocab' in [1, " + Twine(padded) + "]", Twine(vocab));
}

/// A route is none, or indices [M] and offsets [B + 1] for M query rows.
LogicalResult verifyRoute(Operation *op, StringRef label, OperandRange route,
                          Value query) {
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
LogicalResult verifyKeys(Operation *op, Value query, Value key, Value value,
                         OperandRange route, int64_t width) {
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

LogicalResult verifyAttention(Operation *op, Value query, Value key,
                              Value value, OperandRange route, int64_t heads,
                              int64_t kvHeads, std::optional<int64_t> window) {
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

LogicalResult verifyGroups(Operation *op, Value input, int64_t groups) {
  return expectTrue(op, "C1", groups > 0 && widthOf(input) % groups == 0,
                    "'groups' to divide " + Twine(widthOf(input)),
                    Twine(groups));
}

} // namespace

//===----------------------------------------------------------------------===//
// Residual stream
//===----------------------------------------------------------------------===//

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

//===----------------------------------------------------------------------===//
// Transformer parts
//===----------------------------------------------------------------------===//

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

/// The gradient of a weight: of the operands' type `like`, or the f32 sum that
/// products of bf16 are.
static LogicalResult verifyWeightGrad(Operation *op, StringRef label,
                                      Value like, Value grad) {
  Type element = tensorType(like).getElementType();
  RankedTensorType type = tensorType(grad);
  if (element.isBF16() && type.getElementType().isF32())
    return success();
  return expectType(op, label, "weight_grad", type.clone(element), type);
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
  return expectTrue(op, "C2", widthOf(input) % widthOf(gain) == 0,
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

//===----------------------------------------------------------------------===//
// Loss and optimizer
//===----------------------------------------------------------------------===//

LogicalResult CrossEntropyOp::verify() {
  return verifyVocabulary(*this, getLogits(), getTargets(), getVocab());
}

LogicalResult TokenLossOp::verify() {
  return verifyVocabulary(*this, getLogits(), getTargets(), getVocab());
}

LogicalResult TokenLossVJPOp::verify() {
  if (failed(verifyVocabulary(*this, getLogits(), getTargets(), getVocab())) ||
      failed(expectType(*this, "C3", "lse", laneType(getLogits()),
                        getLse().getType())))
    return failure();
  return expectType(*this, "C3", "losses_grad", laneType(getLogits()),
                    getLossesGrad().getType());
}

LogicalResult TargetCountOp::verify() { return success(); }

/// (C1) to (C4) of nag.head_loss.
static LogicalResult verifyHead(Operation *op, Value input, Value weight,
                                Value targets, Value logScale, int64_t vocab) {
  if (failed(verifyTokens(op, "C1", targets,
                          tensorType(input).getShape().drop_back())) ||
      failed(expectRank(op, "C3", "weight", 2, weight)))
    return failure();
  int64_t padded = tensorType(weight).getDimSize(0);
  if (failed(expectTrue(op, "C2", vocab >= 1 && vocab <= padded,
                        "'vocab' in [1, " + Twine(padded) + "]",
                        Twine(vocab))) ||
      failed(expectShape(op, "C3", "weight", {padded, widthOf(input)}, weight)))
    return failure();
  if (!logScale)
    return success();
  return expectType(op, "C4", "log_scale", laneType(input), logScale.getType());
}

LogicalResult HeadLossOp::verify() {
  return verifyHead(*this, getInput(), getWeight(), getTargets(), getLogScale(),
                    getVocab());
}

LogicalResult HeadLossVJPOp::verify() {
  if (failed(verifyHead(*this, getInput(), getWeight(), getTargets(),
                        getLogScale(), getVocab())))
    return failure();
  if (failed(expectType(*this, "C5", "losses_grad", laneType(getInput()),
                        getLossesGrad().getType())) ||
      failed(expectType(*this, "C6", "losses", laneType(getInput()),
                        getLosses().getType())) ||
      failed(expectType(*this, "C6", "input_grad", getInput().getType(),
                        getInputGrad().getType())) ||
      (getLogScale() &&
       failed(expectType(*this, "C6", "log_scale_grad", laneType(getInput()),
                         getLogScaleGrad().getType()))))
    return failure();
  return verifyWeightGrad(*this, "C7", getWeight(), getWeightGrad());
}

LogicalResult MaskedMeanOp::verify() {
  return verifyTokens(*this, "C1", getTargets(),
                      tensorType(getValues()).getShape());
}

LogicalResult MaskedMeanVJPOp::verify() {
  return expectType(*this, "C1", "mean_grad", getCount().getType(),
                    getMeanGrad().getType());
}

LogicalResult SquaredNormOp::verify() { return success(); }

LogicalResult GlobalNormOp::verify() {
  return expectTrue(*this, "C1", !getInputs().empty(), "at least one operand",
                    "none");
}

LogicalResult ClipFactorOp::verify() {
  if (failed(expectType(*this, "C1", "limit", getNorm().getType(),
                        getLimit().getType())))
    return failure();
  return expectType(*this, "C1", "scale", getNorm().getType(),
                    getScale().getType());
}

LogicalResult AdamWOp::verify() {
  ArrayRef<int64_t> shape = tensorType(getParameter()).getShape();
  if (failed(expectShape(*this, "C1", "moment1", shape, getMoment1())) ||
      failed(expectShape(*this, "C1", "moment2", shape, getMoment2())))
    return failure();
  return expectShape(*this, "C1", "gradient", shape, getGradient());
}

LogicalResult ConstrainOp::verify() {
  return expectTrue(*this, "C1", tensorType(getInput()).getRank() > 0,
                    "'input' of rank 1 or more", "rank 0");
}

//===----------------------------------------------------------------------===//
// Programs
//===----------------------------------------------------------------------===//

LogicalResult KernelOp::verifyRegions() {
  Block &block = getBody().front();
  if (failed(expectTrue(
          *this, "C1", block.getArgumentTypes() == getInputs().getTypes(),
          "body arguments of the operands' types", "a different list")))
    return failure();
  return expectTrue(
      *this, "C2",
      block.getTerminator()->getOperandTypes() == getOutputs().getTypes(),
      "to yield values of the results' types", "a different list");
}

/// Compares a function's arguments or results with what a call needs.
static LogicalResult expectSignature(Operation *op, StringRef label,
                                     StringRef what, ArrayRef<Type> expected,
                                     ArrayRef<Type> actual) {
  if (failed(expectTrue(op, label, expected.size() == actual.size(),
                        "a callee with " + Twine(expected.size()) + " " + what,
                        Twine(actual.size()))))
    return failure();
  for (auto [index, types] : llvm::enumerate(llvm::zip(expected, actual)))
    if (std::get<0>(types) != std::get<1>(types))
      return op->emitOpError()
             << "(" << label << ") expected " << std::get<0>(types)
             << " as number " << index << " of the callee's " << what
             << ", but got " << std::get<1>(types);
  return success();
}

static FunctionOpInterface lookupFunction(Operation *op,
                                          SymbolTableCollection &symbols,
                                          SymbolRefAttr name) {
  auto function =
      symbols.lookupNearestSymbolFrom<FunctionOpInterface>(op, name);
  if (!function)
    op->emitOpError() << "(C1) expected the name of a function, but got "
                      << name;
  return function;
}

/// The type of one slice of a stack.
static Type sliceType(Type stacked) {
  auto type = cast<RankedTensorType>(stacked);
  return RankedTensorType::get(type.getShape().drop_front(),
                               type.getElementType());
}

static LogicalResult verifyStack(RepeatOp op, StringRef name, TypeRange types,
                                 int64_t least, int64_t most) {
  for (Type type : types) {
    auto shape = cast<RankedTensorType>(type).getShape();
    bool fits =
        !shape.empty() && shape.front() >= least && shape.front() <= most;
    if (!fits)
      return op.emitOpError() << "(C4) expected " << name << " with "
                              << (least == most ? "" : "at least ") << least
                              << " slices, but got " << type;
  }
  return success();
}

LogicalResult RepeatOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FunctionOpInterface callee = lookupFunction(*this, symbols, getCalleeAttr());
  if (!callee)
    return failure();
  int64_t count = getCount(), first = getFirst();
  if (failed(expectTrue(*this, "C5", count > 0 && first >= 0,
                        "a positive count and 'first' of 0 or more",
                        Twine(count) + " and " + Twine(first))) ||
      failed(verifyStack(*this, "a stacked operand", getStacked().getTypes(),
                         first + count, std::numeric_limits<int64_t>::max())) ||
      failed(verifyStack(*this, "a stacked result",
                         getStackedResults().getTypes(), count, count)))
    return failure();
  SmallVector<Type> arguments(getCarry().getTypes());
  llvm::append_range(arguments,
                     llvm::map_range(getStacked().getTypes(), sliceType));
  llvm::append_range(arguments, getShared().getTypes());
  if (failed(expectSignature(*this, "C2", "arguments", arguments,
                             callee.getArgumentTypes())))
    return failure();
  SmallVector<Type> results(getCarryResults().getTypes());
  llvm::append_range(
      results, llvm::map_range(getStackedResults().getTypes(), sliceType));
  if (failed(expectSignature(*this, "C3", "results", results,
                             callee.getResultTypes())))
    return failure();
  return expectTrue(*this, "C3",
                    getCarry().getTypes() == getCarryResults().getTypes(),
                    "carry results of the carry's types", "a different list");
}

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FunctionOpInterface kernel = lookupFunction(*this, symbols, getKernelAttr());
  if (!kernel)
    return failure();
  // Once lowered, the kernel takes pointers and no longer tells its shapes.
  bool onTensors = llvm::all_of(kernel.getArgumentTypes(), [](Type type) {
    return isa<RankedTensorType>(type);
  });
  if (!onTensors)
    return success();
  SmallVector<Type> arguments(getInputs().getTypes());
  llvm::append_range(arguments, getOutputs().getTypes());
  if (failed(expectSignature(*this, "C2", "arguments", arguments,
                             kernel.getArgumentTypes())))
    return failure();
  return expectSignature(*this, "C2", "results",
                         llvm::to_vector(getOutputs().getTypes()),
                         kernel.getResultTypes());
}

//===----------------------------------------------------------------------===//
// Discardable attributes
//===----------------------------------------------------------------------===//

/// A parameter must be a float tensor; a stack needs a leading dimension.
static LogicalResult verifyParam(Operation *op, unsigned index,
                                 Attribute attribute, Type type) {
  auto param = dyn_cast<ParamAttr>(attribute);
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!param)
    return op->emitError() << "expected #nag.param on argument " << index
                           << ", but got " << attribute;
  if (!tensor || !isa<FloatType>(tensor.getElementType()))
    return op->emitError() << "expected parameter '" << param.getName()
                           << "' of a float tensor type, but got " << type;
  if (param.isStacked() && tensor.getRank() == 0)
    return op->emitError()
           << "expected a leading layer dimension of parameter '"
           << param.getName() << "', but got " << type;
  if (param.getInit().getKind() == InitKind::Power && !param.isStacked())
    return op->emitError() << "expected a stack for the 'power' initialisation "
                              "of parameter '"
                           << param.getName() << "', but got " << type;
  return success();
}

LogicalResult NagDialect::verifyRegionArgAttribute(Operation *op, unsigned,
                                                   unsigned index,
                                                   NamedAttribute attribute) {
  auto function = dyn_cast<FunctionOpInterface>(op);
  if (!function || attribute.getName() != kParamAttrName)
    return success();
  return verifyParam(op, index, attribute.getValue(),
                     function.getArgumentTypes()[index]);
}

static LogicalResult verifyOptimizerGroups(Operation *op, Attribute value) {
  auto groups = dyn_cast<DictionaryAttr>(value);
  if (!groups)
    return op->emitError() << "expected a dictionary in '" << kGroupsAttrName
                           << "', but got " << value;
  for (NamedAttribute group : groups)
    if (!isa<GroupAttr>(group.getValue()))
      return op->emitError()
             << "expected #nag.group for optimizer group '"
             << group.getName().getValue() << "', but got " << group.getValue();
  return success();
}

LogicalResult NagDialect::verifyOperationAttribute(Operation *op,
                                                   NamedAttribute attribute) {
  if (attribute.getName() == kGroupsAttrName)
    return verifyOptimizerGroups(op, attribute.getValue());
  if (attribute.getName() == kConfigAttrName &&
      !isa<DictionaryAttr>(attribute.getValue()))
    return op->emitError() << "expected a dictionary in '" << kConfigAttrName
                           << "', but got " << attribute.getValue();
  return success();
}
