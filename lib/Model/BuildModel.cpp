// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ConfigFields.h"
#include "Parameters.h"
#include "nag/Model/Build.h"

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
};

/// A result of a model function.
using NamedType = std::pair<StringRef, Type>;

/// What the body of a layer function works with.
struct LayerScope {
  /// Parameters by ParameterSpec::getKey.
  llvm::StringMap<Value> weights;
  Value cos, sin, gateScale;
  std::optional<int64_t> window;
};

/// The values that every model function starts from.
struct ModelScope {
  Value tokens, targets, gateScale;
  llvm::StringMap<Value> weights;
  SmallVector<Value> stacks;
};

class ModelBuilder {
public:
  ModelBuilder(MLIRContext &context, const ModelConfig &c)
      : builder(&context), config(c), parameters(getParameters(builder, c)),
        element(getElementType(builder, c)), compute(getComputeType(element)),
        isNag(c.residual == Residual::Nag) {}

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
  ModelScope openModelFunction(StringRef name, bool hasTargets,
                               ArrayRef<NamedType> results);

  // The model's outside.
  Value embed(const ModelScope &scope);
  Value runLayers(const ModelScope &scope, Value residual,
                  SmallVectorImpl<Value> &gates);
  Value stackGates(ArrayRef<Value> gates);
  Value unembed(const ModelScope &scope, Value residual);

  // One layer.
  Value buildSubLayer(const LayerScope &scope, StringRef name, Value residual,
                      function_ref<Value(Value)> branch,
                      SmallVectorImpl<Value> &gates);
  Value joinGates(ArrayRef<Value> gates);
  Value linear(const LayerScope &scope, Value input, StringRef key);
  Value positionAndNorm(const LayerScope &scope, Value input, StringRef which,
                        int64_t heads);
  Value attention(const LayerScope &scope, Value input);
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
    if (runs.empty() || runs.back().window != window)
      runs.push_back({static_cast<int64_t>(layer), 0, window});
    ++runs.back().count;
  }
  return runs;
}

StringRef ModelBuilder::getLayerName(const LayerRun &run) {
  bool isShort = run.window && config.windows().back() != run.window;
  return isShort ? "layer_short" : "layer";
}

Value ModelBuilder::linear(const LayerScope &scope, Value input,
                           StringRef key) {
  StringRef name = key.split('.').second.split('.').first;
  return LinearOp::create(builder, named(name.drop_front(2)), input,
                          scope.weights.lookup(key));
}

/// Rotary embedding and the norm per head of queries or keys (section 7).
Value ModelBuilder::positionAndNorm(const LayerScope &scope, Value input,
                                    StringRef which, int64_t heads) {
  Value rotated = RotaryOp::create(builder, named(which + "_rotary"), input,
                                   scope.cos, scope.sin, heads);
  if (config.qkNorm == QkNorm::None)
    return rotated;
  Value gain = scope.weights.lookup(("attn." + which + "_norm.weight").str());
  return RmsNormOp::create(builder, named(which + "_norm"), rotated, gain,
                           builder.getI64IntegerAttr(heads),
                           builder.getF64FloatAttr(config.qkScale),
                           builder.getF64FloatAttr(config.eps));
}

Value ModelBuilder::attention(const LayerScope &scope, Value input) {
  Value query = positionAndNorm(scope, linear(scope, input, "attn.c_q.weight"),
                                "q", config.heads);
  Value key = positionAndNorm(scope, linear(scope, input, "attn.c_k.weight"),
                              "k", config.kvHeads);
  Value value = linear(scope, input, "attn.c_v.weight");
  IntegerAttr window;
  if (scope.window)
    window = builder.getI64IntegerAttr(*scope.window);
  auto mixed =
      AttentionOp::create(builder, named("attention"), query, key, value,
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

/// One sub-layer around `branch`; a NAG sub-layer's gates are appended.
Value ModelBuilder::buildSubLayer(const LayerScope &scope, StringRef name,
                                  Value residual,
                                  function_ref<Value(Value)> branch,
                                  SmallVectorImpl<Value> &gates) {
  if (!isNag) {
    Value normed = rmsNorm(residual, (name + "_norm").str());
    return ResidualAddOp::create(builder, named("x"), residual, branch(normed));
  }
  SmallVector<Value> operands{residual};
  for (StringRef part :
       {"m_down.weight", "m_down.bias", "coef", "beta", "alpha"})
    operands.push_back(scope.weights.lookup((name + "_branch." + part).str()));
  operands.push_back(scope.gateScale);
  auto stream = cast<StreamType>(residual.getType());
  auto block = BlockOp::create(
      builder, named("x"), TypeRange{stream, stream.getLogNormType()}, operands,
      builder.getNamedAttr("eps", builder.getF64FloatAttr(config.eps)));
  OpBuilder::InsertionGuard guard(builder);
  Block *body = builder.createBlock(&block.getBody(), {},
                                    stream.getDirectionType(), named("r"));
  YieldOp::create(builder, named("yield"), branch(body->getArgument(0)));
  gates.push_back(block.getGates());
  return block.getResult();
}

/// Gates [B,T] of both sub-layers as [2,B,T].
Value ModelBuilder::joinGates(ArrayRef<Value> gates) {
  SmallVector<Value> slices;
  for (Value gate : gates)
    slices.push_back(tensor::ExpandShapeOp::create(
        builder, named("g"), tensor({1, config.batch, config.seq}, compute),
        gate, ArrayRef<ReassociationIndices>{{0, 1}, {2}}));
  return tensor::ConcatOp::create(builder, named("gates"), /*dim=*/0, slices);
}

void ModelBuilder::buildLayer(const LayerRun &run) {
  SmallVector<Type> arguments{residualType()}, results{residualType()};
  SmallVector<std::string> labels{"x"}, keys;
  for (const ParameterSpec &parameter : parameters) {
    if (!parameter.isStacked())
      continue;
    arguments.push_back(parameter.getSliceType());
    labels.push_back(parameter.getLabel());
    keys.push_back(parameter.getKey().str());
  }
  arguments.append({tableType(), tableType()});
  labels.append({"cos", "sin"});
  if (isNag) {
    arguments.push_back(tensor({}, compute));
    labels.push_back("gate_scale");
    results.push_back(tensor({2, config.batch, config.seq}, compute));
  }
  func::FuncOp function =
      createFunction(getLayerName(run), arguments, results, labels);
  function.setPrivate();

  LayerScope scope;
  scope.window = run.window;
  for (auto [index, key] : llvm::enumerate(keys))
    scope.weights[key] = function.getArgument(index + 1);
  scope.cos = function.getArgument(keys.size() + 1);
  scope.sin = function.getArgument(keys.size() + 2);
  if (isNag)
    scope.gateScale = function.getArguments().back();
  SmallVector<Value> gates;
  Value x = buildSubLayer(
      scope, "attn", function.getArgument(0),
      [&](Value input) { return attention(scope, input); }, gates);
  x = buildSubLayer(
      scope, "mlp", x, [&](Value input) { return mlp(scope, input); }, gates);
  SmallVector<Value> returned{x};
  if (isNag)
    returned.push_back(joinGates(gates));
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
    add("gate_scale", tensor({}, compute));
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
  if (isNag)
    scope.gateScale = function.getArgument(numInputs - 1);
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

/// Runs all layers on the residual; `gates` receives [count,2,B,T] per run.
Value ModelBuilder::runLayers(const ModelScope &scope, Value residual,
                              SmallVectorImpl<Value> &gates) {
  auto table = RotaryTableOp::create(
      builder, named("rotary"), tableType(), tableType(),
      builder.getF64FloatAttr(config.ropeBase), builder.getI64IntegerAttr(0));
  SmallVector<Value> shared{table.getCos(), table.getSin()};
  if (isNag)
    shared.push_back(scope.gateScale);
  for (const LayerRun &run : findRuns()) {
    SmallVector<Type> stackedResults;
    if (isNag)
      stackedResults.push_back(gatesType(run.count));
    auto repeat = RepeatOp::create(builder, named("x"), residual.getType(),
                                   stackedResults, getLayerName(run), run.count,
                                   residual, scope.stacks, shared, run.first,
                                   /*reverse=*/false);
    residual = repeat.getCarryResults().front();
    llvm::append_range(gates, repeat.getStackedResults());
  }
  return residual;
}

/// The gates of all runs as [2*layers,B,T].
Value ModelBuilder::stackGates(ArrayRef<Value> gates) {
  Value all = gates.front();
  if (gates.size() > 1)
    all =
        tensor::ConcatOp::create(builder, named("all_gates"), /*dim=*/0, gates);
  return tensor::CollapseShapeOp::create(
      builder, named("gates"), all,
      ArrayRef<ReassociationIndices>{{0, 1}, {2}, {3}});
}

Value ModelBuilder::unembed(const ModelScope &scope, Value residual) {
  Value weight = scope.weights.lookup(config.tied ? kEmbedding : kHead);
  if (isNag)
    return DecodeOp::create(builder, named("logits"), residual, weight);
  return LinearOp::create(builder, named("logits"),
                          rmsNorm(residual, "final_norm"), weight);
}

void ModelBuilder::buildLoss() {
  SmallVector<NamedType> results{{"loss", tensor({}, compute)}};
  if (isNag)
    results.push_back(
        {"gates",
         tensor({2 * config.layers, config.batch, config.seq}, compute)});
  ModelScope scope = openModelFunction("loss", /*hasTargets=*/true, results);
  SmallVector<Value> gates;
  Value residual = runLayers(scope, embed(scope), gates);
  SmallVector<Value> returned{
      CrossEntropyOp::create(builder, named("loss"), unembed(scope, residual),
                             scope.targets, config.vocab)};
  if (isNag)
    returned.push_back(stackGates(gates));
  func::ReturnOp::create(builder, named("return"), returned);
}

void ModelBuilder::buildLogits() {
  NamedType result{"logits", activations(config.paddedVocab)};
  ModelScope scope = openModelFunction("logits", /*hasTargets=*/false, result);
  SmallVector<Value> gates;
  Value residual = runLayers(scope, embed(scope), gates);
  func::ReturnOp::create(builder, named("return"), unembed(scope, residual));
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

/// `nag.config`: the fields of the configuration.
static DictionaryAttr getConfigAttr(Builder &builder,
                                    const ModelConfig &config) {
  SmallVector<NamedAttribute> attributes;
  for (const Field &field : fields())
    attributes.push_back(
        builder.getNamedAttr(field.name, getFieldAttr(builder, field, config)));
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
  return owned;
}

void nag::model::loadModelDialects(MLIRContext &context) {
  context.loadDialect<NagDialect, func::FuncDialect, tensor::TensorDialect>();
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
