// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -nag-build-optimizer: @accumulate, @apply, @constrain and @train_step for the
// parameters of the loss.
#include "GlobalNorm.h"
#include "nag/Dialect/Nag/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/StringSet.h"

namespace nag {
#define GEN_PASS_DEF_NAGBUILDOPTIMIZER
#include "nag/Dialect/Nag/Transforms/Passes.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

namespace {

/// A parameter of the loss function and the settings of its group.
struct Parameter {
  ParamAttr attr;
  GroupAttr group;
  RankedTensorType type;
  RankedTensorType momentType;

  StringRef name() const { return attr.getName(); }
};

/// An argument or a result of a function that is being put together.
struct Slot {
  Type type;
  DictionaryAttr attrs;
};

/// The functions that this pass adds.
constexpr StringLiteral kAccumulate = "accumulate";
constexpr StringLiteral kApply = "apply";
constexpr StringLiteral kConstrain = "constrain";
constexpr StringLiteral kTrainStep = "train_step";
constexpr StringLiteral kGradients = "gradients";

/// The scalars of @apply, in the order of its last arguments.
constexpr StringLiteral kApplyScalars[] = {"lr", "step", "grad_scale", "clip"};

/// Reads what the optimizer needs to know from the module and checks it.
class ParameterReader {
public:
  explicit ParameterReader(ModuleOp module)
      : groups(module->getAttrOfType<DictionaryAttr>(kGroupsAttrName)) {}

  FailureOr<SmallVector<Parameter>> read(func::FuncOp loss);

private:
  FailureOr<Parameter> readArgument(func::FuncOp loss, unsigned index,
                                    ParamAttr attr);
  FailureOr<GroupAttr> lookupGroup(func::FuncOp loss, ParamAttr attr);
  std::string listGroups() const;

  DictionaryAttr groups;
  llvm::StringSet<> names;
};

std::string ParameterReader::listGroups() const {
  if (!groups || groups.empty())
    return "no groups";
  std::string list;
  llvm::raw_string_ostream os(list);
  llvm::interleaveComma(groups, os, [&](NamedAttribute group) {
    os << "'" << group.getName().strref() << "'";
  });
  return list;
}

FailureOr<GroupAttr> ParameterReader::lookupGroup(func::FuncOp loss,
                                                  ParamAttr attr) {
  Attribute found = groups ? groups.get(attr.getGroup()) : Attribute();
  if (!found)
    return loss.emitError() << "expected the group '" << attr.getGroup()
                            << "' of parameter '" << attr.getName() << "' in "
                            << kGroupsAttrName << ", but got " << listGroups();
  auto group = dyn_cast<GroupAttr>(found);
  if (!group)
    return loss.emitError() << "expected #nag.group of group '"
                            << attr.getGroup() << "', but got " << found;
  return group;
}

FailureOr<Parameter> ParameterReader::readArgument(func::FuncOp loss,
                                                   unsigned index,
                                                   ParamAttr attr) {
  auto type = dyn_cast<RankedTensorType>(loss.getArgumentTypes()[index]);
  if (!type || !isa<FloatType>(type.getElementType()))
    return loss.emitError()
           << "expected a tensor of floats as parameter '" << attr.getName()
           << "', but got " << loss.getArgumentTypes()[index];
  if (!names.insert(attr.getName()).second)
    return loss.emitError() << "expected one parameter named '"
                            << attr.getName() << "', but got two";
  int64_t rowRank = type.getRank() - attr.isStacked();
  if (attr.getConstraint() != Constraint::None && rowRank < 1)
    return loss.emitError() << "expected rows in the constrained parameter '"
                            << attr.getName() << "', but got " << type;
  FailureOr<GroupAttr> group = lookupGroup(loss, attr);
  if (failed(group))
    return failure();
  auto moment = RankedTensorType::get(type.getShape(),
                                      getComputeType(type.getElementType()));
  return Parameter{attr, *group, type, moment};
}

FailureOr<SmallVector<Parameter>> ParameterReader::read(func::FuncOp loss) {
  SmallVector<Parameter> parameters;
  for (unsigned i = 0, e = loss.getNumArguments(); i != e; ++i) {
    auto attr = loss.getArgAttrOfType<ParamAttr>(i, kParamAttrName);
    if (!attr)
      continue;
    FailureOr<Parameter> parameter = readArgument(loss, i, attr);
    if (failed(parameter))
      return failure();
    parameters.push_back(*parameter);
    Type expected = parameters.front().momentType.getElementType();
    if (parameter->momentType.getElementType() != expected)
      return loss.emitError() << "expected parameters that compute in "
                              << expected << ", but got " << parameter->type
                              << " as '" << attr.getName() << "'";
  }
  if (parameters.empty())
    return loss.emitError()
           << "expected a " << kParamAttrName << " argument of @"
           << loss.getName() << ", but got none";
  return parameters;
}

/// Adds the functions to the module.
class OptimizerBuilder {
public:
  OptimizerBuilder(ModuleOp root, func::FuncOp lossFunction,
                   ArrayRef<Parameter> table)
      : builder(lossFunction.getLoc(), lossFunction.getContext()), module(root),
        loss(lossFunction), parameters(table) {}

  void buildAccumulate();
  func::FuncOp buildApply();
  void buildConstrain();
  void buildTrainStep(func::FuncOp gradients, func::FuncOp apply);

private:
  Slot named(Type type, const Twine &name);
  Slot parameterSlot(const Parameter &parameter);
  void appendParameters(SmallVectorImpl<Slot> &slots);
  void appendPrefixed(SmallVectorImpl<Slot> &slots, StringRef prefix);
  void appendMoments(SmallVectorImpl<Slot> &slots);
  func::FuncOp createFunction(StringRef name, ArrayRef<Slot> arguments,
                              ArrayRef<Slot> results);
  SmallVector<Slot> lossResults();
  RankedTensorType scalarType();
  void updateParameters(ValueRange arguments, Value factor,
                        MutableArrayRef<SmallVector<Value>> updated);

  ImplicitLocOpBuilder builder;
  ModuleOp module;
  func::FuncOp loss;
  ArrayRef<Parameter> parameters;
};

} // namespace

Slot OptimizerBuilder::named(Type type, const Twine &name) {
  auto attr = builder.getNamedAttr(kNameAttrName, builder.getStringAttr(name));
  return {type, builder.getDictionaryAttr(attr)};
}

Slot OptimizerBuilder::parameterSlot(const Parameter &parameter) {
  auto attr = builder.getNamedAttr(kParamAttrName, parameter.attr);
  return {parameter.type, builder.getDictionaryAttr(attr)};
}

void OptimizerBuilder::appendParameters(SmallVectorImpl<Slot> &slots) {
  for (const Parameter &parameter : parameters)
    slots.push_back(parameterSlot(parameter));
}

void OptimizerBuilder::appendPrefixed(SmallVectorImpl<Slot> &slots,
                                      StringRef prefix) {
  for (const Parameter &parameter : parameters)
    slots.push_back(named(parameter.type, prefix + parameter.name()));
}

void OptimizerBuilder::appendMoments(SmallVectorImpl<Slot> &slots) {
  for (StringRef prefix : {"m:", "v:"})
    for (const Parameter &parameter : parameters)
      slots.push_back(named(parameter.momentType, prefix + parameter.name()));
}

RankedTensorType OptimizerBuilder::scalarType() {
  return RankedTensorType::get({},
                               parameters.front().momentType.getElementType());
}

/// An empty function at the end of the module; the builder points into it.
func::FuncOp OptimizerBuilder::createFunction(StringRef name,
                                              ArrayRef<Slot> arguments,
                                              ArrayRef<Slot> results) {
  auto type = [](const Slot &slot) { return slot.type; };
  auto functionType = builder.getFunctionType(
      llvm::map_to_vector(arguments, type), llvm::map_to_vector(results, type));
  builder.setInsertionPointToEnd(module.getBody());
  auto function = func::FuncOp::create(builder, name, functionType);
  for (auto [index, slot] : llvm::enumerate(arguments))
    if (slot.attrs)
      function.setArgAttrs(index, slot.attrs);
  for (auto [index, slot] : llvm::enumerate(results))
    if (slot.attrs)
      function.setResultAttrs(index, slot.attrs);
  builder.setInsertionPointToStart(function.addEntryBlock());
  return function;
}

void OptimizerBuilder::buildAccumulate() {
  SmallVector<Slot> arguments, results;
  appendPrefixed(arguments, "grad:");
  appendPrefixed(arguments, "acc:");
  appendPrefixed(results, "acc:");
  func::FuncOp function = createFunction(kAccumulate, arguments, results);
  SmallVector<Value> sums;
  size_t count = parameters.size();
  for (size_t i = 0; i != count; ++i)
    sums.push_back(AccumulateOp::create(
        builder, function.getArgument(count + i), function.getArgument(i)));
  func::ReturnOp::create(builder, sums);
}

/// `arguments` are those of @apply; `updated` receives the new parameters,
/// first and second moments.
void OptimizerBuilder::updateParameters(
    ValueRange arguments, Value factor,
    MutableArrayRef<SmallVector<Value>> updated) {
  size_t count = parameters.size();
  Value lr = arguments[4 * count], step = arguments[4 * count + 1];
  for (auto [i, parameter] : llvm::enumerate(parameters)) {
    auto adamw = AdamWOp::create(
        builder, arguments[i], arguments[count + i], arguments[2 * count + i],
        arguments[3 * count + i], lr, step, factor, parameter.group);
    Value value = adamw.getNewParameter();
    if (parameter.attr.getConstraint() != Constraint::None)
      value =
          ConstrainOp::create(builder, value, parameter.attr.getConstraint());
    updated[0].push_back(value);
    updated[1].push_back(adamw.getNewMoment1());
    updated[2].push_back(adamw.getNewMoment2());
  }
}

func::FuncOp OptimizerBuilder::buildApply() {
  SmallVector<Slot> arguments, results;
  appendPrefixed(results, "");
  appendMoments(results);
  results.push_back(named(scalarType(), "grad_norm"));
  appendParameters(arguments);
  appendMoments(arguments);
  appendPrefixed(arguments, "grad:");
  for (StringRef scalar : kApplyScalars)
    arguments.push_back(named(scalarType(), scalar));

  func::FuncOp function = createFunction(kApply, arguments, results);
  ValueRange values = function.getArguments();
  size_t count = parameters.size();
  Value norm = buildGlobalNorm(builder, builder.getLoc(),
                               values.slice(3 * count, count));
  auto clip = ClipFactorOp::create(builder, norm, /*limit=*/values.back(),
                                   /*scale=*/values[4 * count + 2]);
  SmallVector<Value> updated[3];
  updateParameters(values, clip.getFactor(), updated);
  auto returned =
      llvm::to_vector(llvm::concat<Value>(updated[0], updated[1], updated[2]));
  returned.push_back(clip.getScaledNorm());
  func::ReturnOp::create(builder, returned);
  return function;
}

void OptimizerBuilder::buildConstrain() {
  SmallVector<Slot> arguments, results;
  SmallVector<Constraint> constraints;
  for (const Parameter &parameter : parameters) {
    if (parameter.attr.getConstraint() == Constraint::None)
      continue;
    constraints.push_back(parameter.attr.getConstraint());
    arguments.push_back(parameterSlot(parameter));
    results.push_back(named(parameter.type, parameter.name()));
  }
  func::FuncOp function = createFunction(kConstrain, arguments, results);
  SmallVector<Value> constrained;
  for (auto [argument, constraint] :
       llvm::zip_equal(function.getArguments(), constraints))
    constrained.push_back(ConstrainOp::create(builder, argument, constraint));
  func::ReturnOp::create(builder, constrained);
}

SmallVector<Slot> OptimizerBuilder::lossResults() {
  SmallVector<Slot> results;
  for (auto [index, type] : llvm::enumerate(loss.getResultTypes()))
    results.push_back(
        {type, function_interface_impl::getResultAttrDict(loss, index)});
  return results;
}

/// Arguments: those of the loss, the moments, the scalars. Results: those of
/// the loss, then those of @apply.
void OptimizerBuilder::buildTrainStep(func::FuncOp gradients,
                                      func::FuncOp apply) {
  SmallVector<Slot> arguments, results = lossResults();
  for (unsigned i = 0, e = loss.getNumArguments(); i != e; ++i)
    arguments.push_back({loss.getArgumentTypes()[i],
                         function_interface_impl::getArgAttrDict(loss, i)});
  appendMoments(arguments);
  for (StringRef scalar : kApplyScalars)
    arguments.push_back(named(scalarType(), scalar));
  for (auto [index, type] : llvm::enumerate(apply.getResultTypes()))
    results.push_back(
        {type, function_interface_impl::getResultAttrDict(apply, index)});

  func::FuncOp function = createFunction(kTrainStep, arguments, results);
  auto lossArguments =
      function.getArguments().take_front(loss.getNumArguments());
  auto gradient = func::CallOp::create(builder, gradients, lossArguments);
  SmallVector<Value> operands;
  for (auto [index, argument] : llvm::enumerate(lossArguments))
    if (loss.getArgAttr(index, kParamAttrName))
      operands.push_back(argument);
  auto state = function.getArguments().drop_front(loss.getNumArguments());
  size_t numMoments = 2 * parameters.size();
  llvm::append_range(operands, state.take_front(numMoments));
  llvm::append_range(operands,
                     gradient.getResults().take_back(parameters.size()));
  llvm::append_range(operands, state.drop_front(numMoments));
  auto applied = func::CallOp::create(builder, apply, operands);
  SmallVector<Value> returned(
      gradient.getResults().take_front(loss.getNumResults()));
  llvm::append_range(returned, applied.getResults());
  func::ReturnOp::create(builder, returned);
}

/// @gradients takes what the loss takes and returns its results and then one
/// gradient per parameter.
static LogicalResult checkGradients(func::FuncOp gradients, func::FuncOp loss,
                                    ArrayRef<Parameter> parameters) {
  SmallVector<Type> results(loss.getResultTypes());
  for (const Parameter &parameter : parameters)
    results.push_back(parameter.type);
  auto expected =
      FunctionType::get(loss.getContext(), loss.getArgumentTypes(), results);
  if (gradients.getFunctionType() == expected)
    return success();
  return gradients.emitError()
         << "expected @" << gradients.getName() << " of type " << expected
         << ", but got " << gradients.getFunctionType();
}

namespace {
struct BuildOptimizer : nag::impl::NagBuildOptimizerBase<BuildOptimizer> {
  using NagBuildOptimizerBase::NagBuildOptimizerBase;

  void runOnOperation() override {
    if (failed(build(getOperation())))
      signalPassFailure();
  }

private:
  FailureOr<func::FuncOp> lookupLoss(ModuleOp module);
  LogicalResult checkNamesAreFree(ModuleOp module);
  LogicalResult build(ModuleOp module);
};
} // namespace

FailureOr<func::FuncOp> BuildOptimizer::lookupLoss(ModuleOp module) {
  auto loss = module.lookupSymbol<func::FuncOp>(function);
  if (loss && !loss.isExternal())
    return loss;
  return module.emitError()
         << "expected a function @" << function << " with a body, but got none";
}

LogicalResult BuildOptimizer::checkNamesAreFree(ModuleOp module) {
  for (StringRef name : {kAccumulate, kApply, kConstrain, kTrainStep})
    if (Operation *found = module.lookupSymbol(name))
      return found->emitError() << "expected no symbol @" << name
                                << ", which this pass adds, but got one";
  return success();
}

LogicalResult BuildOptimizer::build(ModuleOp module) {
  FailureOr<func::FuncOp> loss = lookupLoss(module);
  if (failed(loss) || failed(checkNamesAreFree(module)))
    return failure();
  FailureOr<SmallVector<Parameter>> parameters =
      ParameterReader(module).read(*loss);
  if (failed(parameters))
    return failure();
  auto gradients = module.lookupSymbol<func::FuncOp>(kGradients);
  if (gradients && failed(checkGradients(gradients, *loss, *parameters)))
    return failure();
  OptimizerBuilder optimizer(module, *loss, *parameters);
  optimizer.buildAccumulate();
  func::FuncOp apply = optimizer.buildApply();
  optimizer.buildConstrain();
  if (gradients)
    optimizer.buildTrainStep(gradients, apply);
  return success();
}
