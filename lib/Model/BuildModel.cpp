// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ConfigFields.h"
#include "Parameters.h"
#include "nag/Model/Build.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace nag;
using namespace nag::model;

namespace {

/// A run of equal layers: one function, one nag.repeat.
struct LayerRun {
  int64_t first;
  int64_t count;
  std::optional<int64_t> window;
  bool isRouted;
};

/// A result of a model function.
using NamedType = std::pair<StringRef, Type>;

/// What the body of a layer function works with.
struct LayerScope {
  /// Parameters by ParameterSpec::getKey.
  llvm::StringMap<Value> weights;
  Value cos, sin, gateScale;
  std::optional<int64_t> window;
  /// Of a routed layer: the thresholds [2] of its sub-layers and the rate,
  /// where it takes them.
  bool isRouted = false;
  Value thresholds, rate;
};

/// What the body of a sub-layer reads: the branch's input, and, where that is
/// the rows of executed tokens, the direction of all and the route.
struct BranchInput {
  Value rows;
  Value all;
  Value indices, offsets;
};

/// What a layer returns beside the residual.
struct LayerReport {
  /// Of each sub-layer, [B, T] and [B + 1].
  SmallVector<Value> gates, offsets;
  /// Soft shares of skipping tokens, rank 0, for the auxiliary loss.
  SmallVector<Value> softSkips;
};

/// The values that every model function starts from.
struct ModelScope {
  Value tokens, targets, gateScale, thresholds, rate, auxWeight;
  llvm::StringMap<Value> weights;
  SmallVector<Value> stacks;
};

/// What running all layers leaves beside the residual: stacks of gates and
/// offsets per run, and the sum of the auxiliary losses.
struct RunReport {
  SmallVector<Value> gates, offsets;
  Value aux;
};

class ModelBuilder {
public:
  ModelBuilder(MLIRContext &context, const ModelConfig &c)
      : builder(&context), config(c), parameters(getParameters(builder, c)),
        element(getElementType(builder, c)), compute(getComputeType(element)),
        isNag(c.residual == Residual::Nag),
        usesRate(c.modPolicy == ModPolicy::Capacity && c.hasSchedule()),
        usesAux(c.isRouted() && c.modAux > 0),
        usesThresholds(c.isRouted() &&
                       (c.modPolicy != ModPolicy::Capacity || c.modAux > 0)) {}

  OwningOpRef<ModuleOp> build();

private:
  // Types and attributes.
  RankedTensorType tensor(ArrayRef<int64_t> shape, Type type) {
    return RankedTensorType::get(shape, type);
  }
  RankedTensorType activations(int64_t width) {
    return tensor({config.batch, config.seq, width}, element);
  }
  RankedTensorType tokensType() {
    return tensor({config.batch, config.seq}, builder.getI32Type());
  }
  RankedTensorType tableType() {
    return tensor({config.seq, config.headDim() / 2}, compute);
  }
  RankedTensorType gatesType(int64_t layers) {
    return tensor({layers, 2, config.batch, config.seq}, compute);
  }
  RankedTensorType offsetsType(int64_t layers) {
    return tensor({layers, 2, config.batch + 1}, builder.getI32Type());
  }
  RankedTensorType thresholdsType() {
    return tensor({2 * config.layers}, compute);
  }
  RankedTensorType scalarType() { return tensor({}, compute); }
  RoutingAttr routing();
  Type residualType();
  Location named(const Twine &name);
  NamedAttribute nameAttr(StringRef name);

  // Functions.
  func::FuncOp createFunction(StringRef name, ArrayRef<Type> arguments,
                              ArrayRef<Type> results,
                              ArrayRef<std::string> labels);
  SmallVector<LayerRun> findRuns();
  StringRef getLayerName(const LayerRun &run);
  void buildLayer(const LayerRun &run);
  void buildLoss();
  void buildLogits();
  void buildAdapt();
  ModelScope openModelFunction(StringRef name, bool hasTargets,
                               ArrayRef<NamedType> results);

  // The model's outside.
  Value embed(const ModelScope &scope);
  Value runLayers(const ModelScope &scope, Value residual, RunReport &report);
  Value stackRuns(ArrayRef<Value> runs, StringRef name);
  Value denseOffsets(int64_t layers);
  Value addAuxiliaryLoss(const ModelScope &scope, Value loss, Value sum);
  Value unembed(const ModelScope &scope, Value residual);

  // One layer.
  Value buildSubLayer(const LayerScope &scope, StringRef name, Value residual,
                      function_ref<Value(const BranchInput &)> branch,
                      LayerReport &report);
  Value pickThreshold(const LayerScope &scope, int64_t subLayer);
  void fillBody(BlockOp block, function_ref<Value(const BranchInput &)> branch);
  Value addSoftSkips(ArrayRef<Value> shares, Value sum);
  Value join(ArrayRef<Value> parts, StringRef name);
  Value linear(const LayerScope &scope, Value input, StringRef key);
  Value positionAndNorm(const LayerScope &scope, Value input, Value indices,
                        StringRef which, int64_t heads);
  Value attention(const LayerScope &scope, const BranchInput &input);
  Value mlp(const LayerScope &scope, Value input);

  Value rmsNorm(Value input, StringRef name) {
    return RmsNormOp::create(
        builder, named(name), input, Value(), builder.getI64IntegerAttr(1),
        builder.getF64FloatAttr(1), builder.getF64FloatAttr(config.eps));
  }

  OpBuilder builder;
  const ModelConfig &config;
  SmallVector<ParameterSpec> parameters;
  FloatType element;
  Type compute;
  bool isNag;
  /// Whether model functions take the rate of a capacity, the weight of the
  /// auxiliary loss and the thresholds.
  bool usesRate, usesAux, usesThresholds;
  ModuleOp module;
};

} // namespace

Location ModelBuilder::named(const Twine &name) {
  return NameLoc::get(builder.getStringAttr(name));
}

NamedAttribute ModelBuilder::nameAttr(StringRef name) {
  return builder.getNamedAttr(kNameAttrName, builder.getStringAttr(name));
}

Type ModelBuilder::residualType() {
  RankedTensorType type = activations(config.width);
  if (!isNag)
    return type;
  return StreamType::get(builder.getContext(), type.getShape(), element);
}

/// A function at the end of the module whose arguments are named `labels`; the
/// builder points into it.
func::FuncOp ModelBuilder::createFunction(StringRef name,
                                          ArrayRef<Type> arguments,
                                          ArrayRef<Type> results,
                                          ArrayRef<std::string> labels) {
  builder.setInsertionPointToEnd(module.getBody());
  auto type = builder.getFunctionType(arguments, results);
  auto function = func::FuncOp::create(builder, named(name), name, type);
  Block *entry = function.addEntryBlock();
  for (auto [argument, label] : llvm::zip_equal(entry->getArguments(), labels))
    argument.setLoc(named(label));
  builder.setInsertionPointToStart(entry);
  return function;
}

SmallVector<LayerRun> ModelBuilder::findRuns() {
  SmallVector<LayerRun> runs;
  for (auto [layer, window] : llvm::enumerate(config.windows())) {
    bool isRouted = config.isRouted(layer);
    if (runs.empty() || runs.back().window != window ||
        runs.back().isRouted != isRouted)
      runs.push_back({static_cast<int64_t>(layer), 0, window, isRouted});
    ++runs.back().count;
  }
  return runs;
}

StringRef ModelBuilder::getLayerName(const LayerRun &run) {
  bool isShort = run.window && config.windows().back() != run.window;
  if (run.isRouted)
    return isShort ? "layer_short_routed" : "layer_routed";
  return isShort ? "layer_short" : "layer";
}

Value ModelBuilder::linear(const LayerScope &scope, Value input,
                           StringRef key) {
  StringRef name = key.split('.').second.split('.').first;
  return LinearOp::create(builder, named(name.drop_front(2)), input,
                          scope.weights.lookup(key));
}

/// Rotary embedding and the norm per head of queries or keys (section 7);
/// `indices` says where rows of executed tokens stand.
Value ModelBuilder::positionAndNorm(const LayerScope &scope, Value input,
                                    Value indices, StringRef which,
                                    int64_t heads) {
  Value rotated = RotaryOp::create(builder, named(which + "_rotary"), input,
                                   scope.cos, scope.sin, indices, heads);
  if (config.qkNorm == QkNorm::None)
    return rotated;
  Value gain = scope.weights.lookup(("attn." + which + "_norm.weight").str());
  return RmsNormOp::create(builder, named(which + "_norm"), rotated, gain,
                           builder.getI64IntegerAttr(heads),
                           builder.getF64FloatAttr(config.qkScale),
                           builder.getF64FloatAttr(config.eps));
}

Value ModelBuilder::attention(const LayerScope &scope,
                              const BranchInput &input) {
  bool keysOfAll = input.all && config.modKv == ModKv::All;
  Value keyed = keysOfAll ? input.all : input.rows;
  Value keyIndices = keysOfAll ? Value() : input.indices;
  Value query =
      positionAndNorm(scope, linear(scope, input.rows, "attn.c_q.weight"),
                      input.indices, "q", config.heads);
  Value key = positionAndNorm(scope, linear(scope, keyed, "attn.c_k.weight"),
                              keyIndices, "k", config.kvHeads);
  Value value = linear(scope, keyed, "attn.c_v.weight");
  SmallVector<Value> route;
  if (input.indices)
    route = {input.indices, input.offsets};
  IntegerAttr window;
  if (scope.window)
    window = builder.getI64IntegerAttr(*scope.window);
  auto mixed =
      AttentionOp::create(builder, named("attention"), query, key, value, route,
                          builder.getI64IntegerAttr(config.heads),
                          builder.getI64IntegerAttr(config.kvHeads), window);
  return linear(scope, mixed.getResult(), "attn.c_proj.weight");
}

Value ModelBuilder::mlp(const LayerScope &scope, Value input) {
  Value up = linear(scope, input, "mlp.c_fc.weight");
  Value hidden;
  switch (config.mlp) {
  case Mlp::Relu2:
    hidden = Relu2Op::create(builder, named("relu2"), up);
    break;
  case Mlp::Gelu:
    hidden = GeluOp::create(builder, named("gelu"), up.getType(), up,
                            /*approximate_tanh=*/UnitAttr());
    break;
  case Mlp::Swiglu:
    hidden = SwigluOp::create(builder, named("swiglu"),
                              linear(scope, input, "mlp.c_gate.weight"), up);
    break;
  }
  return linear(scope, hidden, "mlp.c_proj.weight");
}

RoutingAttr ModelBuilder::routing() {
  constexpr Policy policies[] = {Policy::Threshold, Policy::Threshold,
                                 Policy::Capacity, Policy::Rate};
  Policy policy = policies[static_cast<size_t>(config.modPolicy)];
  return RoutingAttr::get(
      builder.getContext(), policy,
      policy == Policy::Threshold ? Real(0) : Real(config.modRate),
      config.modKv == ModKv::All ? KeyValues::All : KeyValues::Routed);
}

/// Threshold `subLayer` (0: attention, 1: MLP) of a layer, rank 0. Thresholds
/// are those of full gates: while alpha warms up, they are scaled like these.
Value ModelBuilder::pickThreshold(const LayerScope &scope, int64_t subLayer) {
  auto at = [&](int64_t value) {
    return SmallVector<OpFoldResult>{builder.getIndexAttr(value)};
  };
  Value full = tensor::ExtractSliceOp::create(builder, named("tau"),
                                              scalarType(), scope.thresholds,
                                              at(subLayer), at(1), at(1));
  return arith::MulFOp::create(builder, named("tau"), full, scope.gateScale);
}

void ModelBuilder::fillBody(BlockOp block,
                            function_ref<Value(const BranchInput &)> branch) {
  OpBuilder::InsertionGuard guard(builder);
  StreamType stream = block.getStream().getType();
  SmallVector<Type> types{stream.getDirectionType()};
  SmallVector<Location> locs{named("r")};
  if (block.getRouting()) {
    Type integer = builder.getI32Type();
    int64_t rows = block.getMaxRows();
    types.append({tensor({rows, config.width}, element),
                  tensor({rows}, integer),
                  tensor({config.batch + 1}, integer)});
    locs.append({named("rows"), named("indices"), named("offsets")});
  }
  Block *body = builder.createBlock(&block.getBody(), {}, types, locs);
  BranchInput input;
  input.rows = body->getArgument(0);
  if (block.getRouting()) {
    input.all = input.rows;
    input.rows = body->getArgument(1);
    input.indices = body->getArgument(2);
    input.offsets = body->getArgument(3);
  }
  YieldOp::create(builder, named("yield"), branch(input));
}

/// One sub-layer around `branch`; what a NAG sub-layer tells of itself is
/// appended to the report.
Value ModelBuilder::buildSubLayer(
    const LayerScope &scope, StringRef name, Value residual,
    function_ref<Value(const BranchInput &)> branch, LayerReport &report) {
  if (!isNag) {
    BranchInput normed;
    normed.rows = rmsNorm(residual, (name + "_norm").str());
    return ResidualAddOp::create(builder, named("x"), residual, branch(normed));
  }
  auto weight = [&](StringRef part) {
    return scope.weights.lookup((name + "_branch." + part).str());
  };
  auto stream = cast<StreamType>(residual.getType());
  SmallVector<Type> results{stream, stream.getLogNormType()};
  Value dial, threshold;
  if (scope.thresholds)
    threshold = pickThreshold(scope, report.gates.size());
  if (scope.isRouted) {
    results.push_back(tensor({config.batch + 1}, builder.getI32Type()));
    dial = config.modPolicy == ModPolicy::Capacity ? scope.rate : threshold;
  }
  auto block = BlockOp::create(
      builder, named("x"), results, residual, weight("m_down.weight"),
      weight("m_down.bias"), weight("coef"), weight("beta"), weight("alpha"),
      scope.gateScale, dial, builder.getF64FloatAttr(config.eps),
      scope.isRouted ? routing() : RoutingAttr());
  fillBody(block, branch);
  report.gates.push_back(block.getGates());
  llvm::append_range(report.offsets, block.getOffsets());
  if (scope.isRouted && usesAux)
    report.softSkips.push_back(SoftSkipOp::create(
        builder, named("soft_skip"), block.getGates(), threshold,
        builder.getF64FloatAttr(config.modTemperature)));
  return block.getResult();
}

/// `sum` plus (share - rate)^2 of each sub-layer.
Value ModelBuilder::addSoftSkips(ArrayRef<Value> shares, Value sum) {
  Location loc = named("aux");
  auto rate = DenseElementsAttr::get(
      scalarType(), builder.getFloatAttr(compute, config.modRate));
  for (Value share : shares) {
    Value miss = arith::SubFOp::create(
        builder, loc, share, arith::ConstantOp::create(builder, loc, rate));
    Value square = arith::MulFOp::create(builder, loc, miss, miss);
    sum = arith::AddFOp::create(builder, loc, sum, square);
  }
  return sum;
}

/// Tensors of both sub-layers, one dimension in front of theirs.
Value ModelBuilder::join(ArrayRef<Value> parts, StringRef name) {
  SmallVector<Value> slices;
  for (Value part : parts) {
    auto type = cast<RankedTensorType>(part.getType());
    SmallVector<int64_t> shape(type.getShape());
    shape.insert(shape.begin(), 1);
    SmallVector<ReassociationIndices> groups{{0, 1}};
    for (int64_t dim = 2; dim <= type.getRank(); ++dim)
      groups.push_back({dim});
    slices.push_back(tensor::ExpandShapeOp::create(
        builder, named(name.take_front()), tensor(shape, type.getElementType()),
        part, groups));
  }
  return tensor::ConcatOp::create(builder, named(name), /*dim=*/0, slices);
}

void ModelBuilder::buildLayer(const LayerRun &run) {
  SmallVector<Type> arguments{residualType()}, results{residualType()};
  SmallVector<std::string> labels{"x"}, keys;
  auto add = [&](StringRef label, Type type) {
    arguments.push_back(type);
    labels.push_back(label.str());
  };
  bool takesThresholds = run.isRouted && usesThresholds;
  bool hasAux = run.isRouted && usesAux;
  if (hasAux) {
    add("aux", scalarType());
    results.push_back(scalarType());
  }
  size_t firstWeight = arguments.size();
  for (const ParameterSpec &parameter : parameters) {
    if (!parameter.isStacked())
      continue;
    add(parameter.getLabel(), parameter.getSliceType());
    keys.push_back(parameter.getKey().str());
  }
  if (takesThresholds)
    add("thresholds", tensor({2}, compute));
  size_t firstShared = arguments.size();
  add("cos", tableType());
  add("sin", tableType());
  if (isNag) {
    add("gate_scale", scalarType());
    results.push_back(tensor({2, config.batch, config.seq}, compute));
  }
  if (run.isRouted) {
    if (usesRate)
      add("skip_rate", scalarType());
    results.push_back(tensor({2, config.batch + 1}, builder.getI32Type()));
  }
  func::FuncOp function =
      createFunction(getLayerName(run), arguments, results, labels);
  function.setPrivate();

  LayerScope scope;
  scope.window = run.window;
  scope.isRouted = run.isRouted;
  for (auto [index, key] : llvm::enumerate(keys))
    scope.weights[key] = function.getArgument(firstWeight + index);
  if (takesThresholds)
    scope.thresholds = function.getArgument(firstShared - 1);
  scope.cos = function.getArgument(firstShared);
  scope.sin = function.getArgument(firstShared + 1);
  if (isNag)
    scope.gateScale = function.getArgument(firstShared + 2);
  if (run.isRouted && usesRate)
    scope.rate = function.getArguments().back();
  LayerReport report;
  Value x = buildSubLayer(
      scope, "attn", function.getArgument(0),
      [&](const BranchInput &input) { return attention(scope, input); },
      report);
  x = buildSubLayer(
      scope, "mlp", x,
      [&](const BranchInput &input) { return mlp(scope, input.rows); }, report);
  SmallVector<Value> returned{x};
  if (hasAux)
    returned.push_back(addSoftSkips(report.softSkips, function.getArgument(1)));
  if (isNag)
    returned.push_back(join(report.gates, "gates"));
  if (run.isRouted)
    returned.push_back(join(report.offsets, "offsets"));
  func::ReturnOp::create(builder, named("return"), returned);
}

/// @loss, which has targets, says what the parameters are; @logits has their
/// names.
ModelScope ModelBuilder::openModelFunction(StringRef name, bool hasTargets,
                                           ArrayRef<NamedType> results) {
  SmallVector<Type> types;
  SmallVector<std::string> labels;
  SmallVector<NamedAttribute> attributes;
  auto add = [&](StringRef label, Type type) {
    types.push_back(type);
    labels.push_back(label.str());
    attributes.push_back(nameAttr(label));
  };
  add("tokens", tokensType());
  if (hasTargets)
    add("targets", tokensType());
  if (isNag)
    add("gate_scale", scalarType());
  if (usesThresholds)
    add("thresholds", thresholdsType());
  if (usesRate)
    add("skip_rate", scalarType());
  if (usesAux)
    add("aux_weight", scalarType());
  size_t numInputs = types.size();
  for (const ParameterSpec &parameter : parameters) {
    add(parameter.getLabel(), parameter.type);
    attributes.back() =
        hasTargets ? builder.getNamedAttr(kParamAttrName, parameter.attr)
                   : nameAttr(parameter.attr.getName());
  }
  auto resultTypes = llvm::to_vector_of<Type>(llvm::make_second_range(results));
  func::FuncOp function = createFunction(name, types, resultTypes, labels);
  for (auto [index, result] : llvm::enumerate(results))
    function.setResultAttr(index, kNameAttrName,
                           builder.getStringAttr(result.first));
  for (auto [index, attribute] : llvm::enumerate(attributes))
    function.setArgAttr(index, attribute.getName(), attribute.getValue());

  ModelScope scope;
  scope.tokens = function.getArgument(0);
  if (hasTargets)
    scope.targets = function.getArgument(1);
  size_t next = hasTargets ? 2 : 1;
  for (auto [isUsed, place] :
       {std::pair(isNag, &scope.gateScale),
        std::pair(usesThresholds, &scope.thresholds),
        std::pair(usesRate, &scope.rate), std::pair(usesAux, &scope.auxWeight)})
    if (isUsed)
      *place = function.getArgument(next++);
  for (auto [parameter, value] : llvm::zip_equal(
           parameters, function.getArguments().drop_front(numInputs))) {
    scope.weights[parameter.getKey()] = value;
    if (parameter.isStacked())
      scope.stacks.push_back(value);
  }
  return scope;
}

Value ModelBuilder::embed(const ModelScope &scope) {
  Value rows = EmbeddingOp::create(builder, named("rows"), scope.tokens,
                                   scope.weights.lookup(kEmbedding));
  if (!isNag)
    return rows;
  return EncodeOp::create(builder, named("x"), rows,
                          scope.weights.lookup(kEncodeGain));
}

/// Runs all layers on the residual. The report receives [count,2,B,T] gates and
/// [count,2,B+1] offsets per run.
Value ModelBuilder::runLayers(const ModelScope &scope, Value residual,
                              RunReport &report) {
  auto table = RotaryTableOp::create(
      builder, named("rotary"), tableType(), tableType(),
      builder.getF64FloatAttr(config.ropeBase), builder.getI64IntegerAttr(0));
  SmallVector<Value> shared{table.getCos(), table.getSin()};
  if (isNag)
    shared.push_back(scope.gateScale);
  SmallVector<Value> routedShared = shared, routedStacks = scope.stacks;
  if (usesRate)
    routedShared.push_back(scope.rate);
  if (usesThresholds)
    routedStacks.push_back(tensor::ExpandShapeOp::create(
        builder, named("thresholds"), tensor({config.layers, 2}, compute),
        scope.thresholds, ArrayRef<ReassociationIndices>{{0, 1}}));
  if (usesAux)
    report.aux = arith::ConstantOp::create(builder, named("aux"),
                                           builder.getZeroAttr(scalarType()));
  for (const LayerRun &run : findRuns()) {
    SmallVector<Value> carry{residual};
    if (run.isRouted && usesAux)
      carry.push_back(report.aux);
    SmallVector<Type> stackedResults;
    if (isNag)
      stackedResults.push_back(gatesType(run.count));
    if (run.isRouted)
      stackedResults.push_back(offsetsType(run.count));
    auto repeat = RepeatOp::create(
        builder, named("x"), ValueRange(carry).getTypes(), stackedResults,
        getLayerName(run), run.count, carry,
        run.isRouted ? routedStacks : scope.stacks,
        run.isRouted ? routedShared : shared, run.first, /*reverse=*/false);
    residual = repeat.getCarryResults().front();
    if (carry.size() > 1)
      report.aux = repeat.getCarryResults().back();
    if (isNag)
      report.gates.push_back(repeat.getStackedResults().front());
    if (config.isRouted())
      report.offsets.push_back(run.isRouted ? repeat.getStackedResults().back()
                                            : denseOffsets(run.count));
  }
  return residual;
}

/// The offsets of layers that execute every token.
Value ModelBuilder::denseOffsets(int64_t layers) {
  SmallVector<int32_t> ends;
  for (int64_t i = 0; i < 2 * layers; ++i)
    for (int64_t sequence = 0; sequence <= config.batch; ++sequence)
      ends.push_back(sequence * config.seq);
  return arith::ConstantOp::create(
      builder, named("offsets"),
      DenseElementsAttr::get(offsetsType(layers), ArrayRef<int32_t>(ends)));
}

/// [count,2,...] of all runs as [2*layers,...].
Value ModelBuilder::stackRuns(ArrayRef<Value> runs, StringRef name) {
  Value all = runs.front();
  if (runs.size() > 1)
    all = tensor::ConcatOp::create(builder, named("all_" + name), /*dim=*/0,
                                   runs);
  SmallVector<ReassociationIndices> groups{{0, 1}};
  for (int64_t dim = 2, e = cast<RankedTensorType>(all.getType()).getRank();
       dim < e; ++dim)
    groups.push_back({dim});
  return tensor::CollapseShapeOp::create(builder, named(name), all, groups);
}

/// The loss plus aux_weight times the mean over routed sub-layers.
Value ModelBuilder::addAuxiliaryLoss(const ModelScope &scope, Value loss,
                                     Value sum) {
  Location loc = named("aux");
  int64_t routed = 2 * (config.layers - 2 * config.modExempt);
  auto share = DenseElementsAttr::get(
      scalarType(), builder.getFloatAttr(compute, 1.0 / double(routed)));
  Value mean = arith::MulFOp::create(
      builder, loc, sum, arith::ConstantOp::create(builder, loc, share));
  Value weighted = arith::MulFOp::create(builder, loc, mean, scope.auxWeight);
  return arith::AddFOp::create(builder, named("total"), loss, weighted);
}

Value ModelBuilder::unembed(const ModelScope &scope, Value residual) {
  Value weight = scope.weights.lookup(config.tied ? kEmbedding : kHead);
  if (isNag)
    return DecodeOp::create(builder, named("logits"), residual, weight);
  return LinearOp::create(builder, named("logits"),
                          rmsNorm(residual, "final_norm"), weight);
}

void ModelBuilder::buildLoss() {
  SmallVector<NamedType> results{{"loss", scalarType()}};
  if (isNag)
    results.push_back(
        {"gates",
         tensor({2 * config.layers, config.batch, config.seq}, compute)});
  if (config.isRouted())
    results.push_back({"offsets", tensor({2 * config.layers, config.batch + 1},
                                         builder.getI32Type())});
  ModelScope scope = openModelFunction("loss", /*hasTargets=*/true, results);
  RunReport report;
  Value residual = runLayers(scope, embed(scope), report);
  Value loss =
      CrossEntropyOp::create(builder, named("loss"), unembed(scope, residual),
                             scope.targets, config.vocab);
  if (usesAux)
    loss = addAuxiliaryLoss(scope, loss, report.aux);
  SmallVector<Value> returned{loss};
  if (isNag)
    returned.push_back(stackRuns(report.gates, "gates"));
  if (config.isRouted())
    returned.push_back(stackRuns(report.offsets, "offsets"));
  func::ReturnOp::create(builder, named("return"), returned);
}

void ModelBuilder::buildLogits() {
  NamedType result{"logits", activations(config.paddedVocab)};
  ModelScope scope = openModelFunction("logits", /*hasTargets=*/false, result);
  RunReport report;
  Value residual = runLayers(scope, embed(scope), report);
  func::ReturnOp::create(builder, named("return"), unembed(scope, residual));
}

/// @adapt makes the thresholds threshold_keep times what they were plus
/// threshold_step times those that the share skip_rate of the gates stays
/// below.
void ModelBuilder::buildAdapt() {
  std::pair<StringRef, Type> slots[] = {
      {"gates", tensor({2 * config.layers, config.batch, config.seq}, compute)},
      {"thresholds", thresholdsType()},
      {"skip_rate", scalarType()},
      {"threshold_keep", thresholdsType()},
      {"threshold_step", thresholdsType()}};
  SmallVector<Type> types;
  SmallVector<std::string> labels;
  for (auto [name, type] : slots) {
    types.push_back(type);
    labels.push_back(name.str());
  }
  func::FuncOp function =
      createFunction("adapt", types, thresholdsType(), labels);
  for (auto [index, slot] : llvm::enumerate(slots))
    function.setArgAttr(index, kNameAttrName,
                        builder.getStringAttr(slot.first));
  function.setResultAttr(0, kNameAttrName, builder.getStringAttr("thresholds"));
  Value old = function.getArgument(1);
  Location loc = named("thresholds");
  Value wanted =
      QuantileOp::create(builder, named("quantile"), function.getArgument(0),
                         function.getArgument(2));
  Value kept =
      arith::MulFOp::create(builder, loc, old, function.getArgument(3));
  Value added =
      arith::MulFOp::create(builder, loc, wanted, function.getArgument(4));
  Value moved = arith::AddFOp::create(builder, loc, kept, added);
  func::ReturnOp::create(builder, named("return"), moved);
}

static Attribute getFieldAttr(Builder &builder, const Field &field,
                              const ModelConfig &config) {
  llvm::json::Value value = field.read(config);
  if (field.isReal())
    return builder.getF64FloatAttr(*value.getAsNumber());
  if (std::optional<bool> flag = value.getAsBoolean())
    return builder.getBoolAttr(*flag);
  if (std::optional<StringRef> text = value.getAsString())
    return builder.getStringAttr(*text);
  return builder.getI64IntegerAttr(*value.getAsInteger());
}

/// `nag.config`: the fields of the configuration; those of routing only where
/// there is any.
static DictionaryAttr getConfigAttr(Builder &builder,
                                    const ModelConfig &config) {
  SmallVector<NamedAttribute> attributes;
  for (const Field &field : fields())
    if (config.isRouted() || !field.name.starts_with("mod_"))
      attributes.push_back(builder.getNamedAttr(
          field.name, getFieldAttr(builder, field, config)));
  return builder.getDictionaryAttr(attributes);
}

OwningOpRef<ModuleOp> ModelBuilder::build() {
  OwningOpRef<ModuleOp> owned = ModuleOp::create(builder.getUnknownLoc());
  module = *owned;
  module->setAttr(kConfigAttrName, getConfigAttr(builder, config));
  module->setAttr(kGroupsAttrName, getGroups(builder, config));
  for (const LayerRun &run : findRuns())
    if (!module.lookupSymbol(getLayerName(run)))
      buildLayer(run);
  buildLoss();
  buildLogits();
  if (config.isRouted())
    buildAdapt();
  return owned;
}

void nag::model::loadModelDialects(MLIRContext &context) {
  context.loadDialect<NagDialect, arith::ArithDialect, func::FuncDialect,
                      tensor::TensorDialect>();
}

OwningOpRef<ModuleOp> nag::model::buildModel(MLIRContext &context,
                                             const ModelConfig &config) {
  return ModelBuilder(context, config).build();
}

/// The JSON value of an attribute; nothing for one that no field has.
static std::optional<llvm::json::Value> toValue(Attribute attribute) {
  if (auto flag = dyn_cast<BoolAttr>(attribute))
    return flag.getValue();
  if (auto text = dyn_cast<StringAttr>(attribute))
    return text.getValue().str();
  if (auto integer = dyn_cast<IntegerAttr>(attribute))
    return integer.getValue().getSExtValue();
  if (auto number = dyn_cast<FloatAttr>(attribute))
    return number.getValueAsDouble();
  return std::nullopt;
}

llvm::Expected<ModelConfig> nag::model::readConfig(ModuleOp root,
                                                   StringRef origin) {
  auto attribute = root->getAttrOfType<DictionaryAttr>(kConfigAttrName);
  std::string source = (origin + ": " + kConfigAttrName).str();
  if (!attribute)
    return llvm::createStringError(
        source + ": expected a dictionary on the module, but got none");
  ConfigBuilder config;
  for (NamedAttribute field : attribute) {
    std::optional<llvm::json::Value> value = toValue(field.getValue());
    if (llvm::Error error =
            config.set(field.getName(), value ? *value : nullptr, source))
      return error;
  }
  return config.finish();
}
