// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One layer: two sub-layers, attention and MLP, each around a branch.
#include "ModelBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace nag;
using namespace nag::model;

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
