// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The functions of a model and what lies outside its layers.
#include "ModelBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace nag;
using namespace nag::model;

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
