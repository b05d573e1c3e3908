// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Emission.h"

#include "CallVJP.h"
#include "nag/Dialect/Nag/Transforms/HostSignature.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace nag;

namespace {

/// On an op that the backward pass computes again in the function of the first
/// computation: keeps the two from being merged.
constexpr StringLiteral kRecomputedAttrName = "nag.recomputed";

/// Copies ops of a joint function on demand.
class Copier {
public:
  Copier(OpBuilder &opBuilder, bool shouldMarkCopies = false)
      : builder(opBuilder), markCopies(shouldMarkCopies) {}

  void map(Value from, Value to) { mapping.map(from, to); }
  void map(ValueRange from, ValueRange to) { mapping.map(from, to); }

  /// The copy of `value`; copies the ops it depends on first, in their order.
  Value get(Value value) {
    require(value);
    return mapping.lookup(value);
  }

  SmallVector<Value> get(ValueRange values) {
    for (Value value : values)
      require(value);
    return llvm::map_to_vector(
        values, [&](Value value) { return mapping.lookup(value); });
  }

  /// Copies `op` after what it reads.
  void copy(Operation *op) {
    for (Value value : getReadValues(op))
      require(value);
    builder.clone(*op, mapping);
  }

private:
  void require(Value value) {
    llvm::SetVector<Operation *> missing;
    SmallVector<Value> pending = {value};
    while (!pending.empty()) {
      Value next = pending.pop_back_val();
      if (!mapping.contains(next) && missing.insert(next.getDefiningOp()))
        llvm::append_range(pending, getReadValues(next.getDefiningOp()));
    }
    SmallVector<Operation *> ordered = missing.takeVector();
    llvm::sort(ordered, [](Operation *a, Operation *b) {
      return a->isBeforeInBlock(b);
    });
    for (Operation *op : ordered) {
      Operation *copied = builder.clone(*op, mapping);
      if (markCopies && !isFreeToRecompute(op))
        copied->setAttr(kRecomputedAttrName, builder.getUnitAttr());
    }
  }

  OpBuilder &builder;
  bool markCopies;
  IRMapping mapping;
};

/// A new function at the end of the module, empty but for its arguments.
func::FuncOp addFunction(SymbolTable &symbols, Location loc, StringRef name,
                         TypeRange arguments) {
  OpBuilder builder(loc.getContext());
  auto function = func::FuncOp::create(builder, loc, name,
                                       builder.getFunctionType(arguments, {}));
  symbols.insert(function);
  function.addEntryBlock();
  return function;
}

/// Ends the function; its results are `values`.
void addReturn(OpBuilder &builder, func::FuncOp function, ValueRange values) {
  func::ReturnOp::create(builder, function.getLoc(), values);
  function.setType(
      builder.getFunctionType(function.getArgumentTypes(), values.getTypes()));
}

/// Emits the two functions of a callee's derivative.
class DerivativeEmitter {
public:
  DerivativeEmitter(const JointFunction &jointFunction,
                    const ResidualPlan &residualPlan, SymbolTable &table)
      : joint(jointFunction), plan(residualPlan), symbols(table),
        request(jointFunction.getRequest()),
        neededArguments(residualPlan.neededArguments) {
    // A saved argument of a plain call need not come back as a residual.
    for (Value value : plan.saved) {
      auto argument = dyn_cast<BlockArgument>(value);
      if (argument && !request.shape.isCarry(argument.getArgNumber()))
        neededArguments.set(argument.getArgNumber());
      else
        residuals.push_back(value);
    }
  }

  Derivative emit() {
    Derivative derivative;
    ordinal = chooseOrdinal();
    derivative.forward = emitForward();
    derivative.backward = emitBackward();
    derivative.numResiduals = residualTypes.size();
    derivative.neededArguments = neededArguments;
    return derivative;
  }

private:
  /// What the names of the pair end with, so that both have the same: nothing,
  /// then .2, .3 for other ways in which the function is used.
  std::string chooseOrdinal() {
    std::string name = joint.getRequest().getFunction().getName().str();
    std::string end;
    for (int count = 2; symbols.lookup(name + ".forward" + end) ||
                        symbols.lookup(name + ".backward" + end);
         ++count)
      end = "." + std::to_string(count);
    return end;
  }

  func::FuncOp add(StringRef suffix, TypeRange arguments) {
    func::FuncOp original = request.function;
    func::FuncOp function =
        addFunction(symbols, original.getLoc(),
                    (original.getName() + suffix + ordinal).str(), arguments);
    function.setPrivate();
    return function;
  }

  func::FuncOp emitForward() {
    func::FuncOp function = add(".forward", joint.getArguments().getTypes());
    auto builder = OpBuilder::atBlockEnd(&function.getBody().front());
    Copier copier(builder);
    copier.map(joint.getArguments(), function.getArguments());
    SmallVector<Value> returned = copier.get(joint.getResults());
    ImplicitLocOpBuilder b(function.getLoc(), builder);
    for (Value value : residuals)
      appendParts(b, copier.get(value), returned);
    residualTypes = llvm::to_vector(
        ValueRange(returned).drop_front(request.results.size()).getTypes());
    addReturn(builder, function, returned);
    return function;
  }

  /// A stream is saved as its direction and its log-norm.
  static void appendParts(ImplicitLocOpBuilder &b, Value value,
                          SmallVectorImpl<Value> &parts) {
    auto stream = dyn_cast<StreamType>(value.getType());
    if (!stream) {
      parts.push_back(value);
      return;
    }
    parts.push_back(
        b.createOrFold<DirectionOp>(stream.getDirectionType(), value));
    parts.push_back(b.createOrFold<LogNormOp>(stream.getLogNormType(), value));
  }

  func::FuncOp emitBackward() {
    func::FuncOp function = add(".backward", {});
    Block &body = function.getBody().front();
    auto builder = OpBuilder::atBlockEnd(&body);
    Copier copier(builder);
    SmallVector<Value> sums;
    mapBackwardArguments(body, builder, copier, sums);
    for (Operation *op : plan.backwardOps)
      copier.copy(op);
    SmallVector<Value> returned = orderGradients(builder, copier, sums);
    func::ReturnOp::create(builder, function.getLoc(), returned);
    function.setType(builder.getFunctionType(body.getArgumentTypes(),
                                             ValueRange(returned).getTypes()));
    return function;
  }

  /// Adds the backward function's arguments, in the order that Derivative
  /// documents.
  void mapBackwardArguments(Block &body, OpBuilder &builder, Copier &copier,
                            SmallVectorImpl<Value> &sums) {
    auto addArgument = [&](Type type) -> Value {
      return body.addArgument(type, request.getFunction().getLoc());
    };
    auto mapArgument = [&](Value value) {
      copier.map(value, addArgument(value.getType()));
    };
    auto [carryCotangents, otherCotangents] = splitCotangents();
    llvm::for_each(carryCotangents, mapArgument);
    for (unsigned index : request.arguments.set_bits())
      if (request.shape.isShared(index))
        for (Type type :
             getCotangentTypes(joint.getArguments()[index].getType()))
          sums.push_back(addArgument(type));
    mapResiduals(builder, copier, addArgument);
    forEachNeeded(/*shared=*/false, mapArgument);
    llvm::for_each(otherCotangents, mapArgument);
    forEachNeeded(/*shared=*/true, mapArgument);
  }

  void mapResiduals(OpBuilder &builder, Copier &copier,
                    llvm::function_ref<Value(Type)> addArgument) {
    for (Value value : residuals) {
      SmallVector<Value> parts =
          llvm::map_to_vector(getCotangentTypes(value.getType()), addArgument);
      copier.map(value, parts.size() == 1
                            ? parts.front()
                            : MakeStreamOp::create(builder, value.getLoc(),
                                                   parts[0], parts[1]));
    }
  }

  void forEachNeeded(bool shared, llvm::function_ref<void(Value)> visit) {
    for (unsigned index : neededArguments.set_bits())
      if (request.shape.isShared(index) == shared)
        visit(joint.getArguments()[index]);
  }

  /// Cotangents of the carry results, and of the others.
  std::pair<ValueRange, ValueRange> splitCotangents() const {
    size_t numCarry = 0;
    for (unsigned index : request.results.set_bits())
      if (request.shape.isCarry(index))
        numCarry +=
            getCotangentTypes(joint.getResults()[index].getType()).size();
    ValueRange all = joint.getCotangents();
    return {all.take_front(numCarry), all.drop_front(numCarry)};
  }

  /// Gradients of the carry, sums of the shared arguments, gradients of the
  /// slices.
  SmallVector<Value> orderGradients(OpBuilder &builder, Copier &copier,
                                    ArrayRef<Value> sums) {
    SmallVector<Value> carry, shared, stacked;
    ValueRange gradients = joint.getGradients();
    for (unsigned index : request.arguments.set_bits()) {
      size_t size =
          getCotangentTypes(joint.getArguments()[index].getType()).size();
      SmallVectorImpl<Value> &group = request.shape.isCarry(index)    ? carry
                                      : request.shape.isShared(index) ? shared
                                                                      : stacked;
      llvm::append_range(group, copier.get(gradients.take_front(size)));
      gradients = gradients.drop_front(size);
    }
    for (auto [gradient, sum] : llvm::zip_equal(shared, sums))
      carry.push_back(arith::AddFOp::create(
          builder, request.getFunction().getLoc(), sum, gradient));
    llvm::append_range(carry, stacked);
    return carry;
  }

  const JointFunction &joint;
  const ResidualPlan &plan;
  SymbolTable &symbols;
  const DerivativeRequest &request;
  std::string ordinal;
  llvm::BitVector neededArguments;
  SmallVector<Value> residuals;
  SmallVector<Type> residualTypes;
};

/// Emits the function that runs both passes.
class GradientEmitter {
public:
  GradientEmitter(const JointFunction &jointFunction,
                  const ResidualPlan &residualPlan,
                  const GradientOptions &gradientOptions, SymbolTable &table)
      : joint(jointFunction), plan(residualPlan), options(gradientOptions),
        original(jointFunction.getRequest().function),
        function(addFunction(table, original.getLoc(), gradientOptions.name,
                             argumentTypes())),
        builder(OpBuilder::atBlockEnd(&function.getBody().front())) {}

  func::FuncOp emit() {
    Copier forward(builder);
    forward.map(joint.getArguments(), arguments());
    SmallVector<Value> returned;
    if (!options.seeded)
      returned = forward.get(joint.getResults());
    Copier backward(builder, /*shouldMarkCopies=*/true);
    backward.map(joint.getArguments(), arguments());
    for (Value value : plan.saved)
      backward.map(value, forward.get(value));
    mapCotangents(backward);
    for (Operation *op : plan.backwardOps)
      backward.copy(op);
    llvm::append_range(returned, backward.get(joint.getGradients()));
    addReturn(builder, function, returned);
    nameArguments();
    nameResults();
    return function;
  }

private:
  SmallVector<Type> argumentTypes() const {
    SmallVector<Type> types(joint.getArguments().getTypes());
    if (options.seeded)
      llvm::append_range(types, joint.getCotangents().getTypes());
    return types;
  }

  ValueRange arguments() {
    return ValueRange(function.getArguments())
        .take_front(joint.getArguments().size());
  }

  void mapCotangents(Copier &backward) {
    if (options.seeded) {
      backward.map(joint.getCotangents(),
                   ValueRange(function.getArguments())
                       .drop_front(joint.getArguments().size()));
      return;
    }
    Value cotangent = joint.getCotangents().front();
    auto type = cast<RankedTensorType>(cotangent.getType());
    auto one = DenseElementsAttr::get(
        type, builder.getFloatAttr(type.getElementType(), 1.0));
    backward.map(cotangent, arith::ConstantOp::create(
                                builder, function.getLoc(), type, one));
  }

  void nameArguments() {
    unsigned numArguments = joint.getArguments().size();
    for (unsigned index = 0; index < numArguments; ++index)
      function.setArgAttrs(index, original.getArgAttrDict(index));
    if (!options.seeded)
      return;
    auto setName = [&](unsigned index, const Twine &name) {
      function.setArgAttr(numArguments + index, kNameAttrName,
                          builder.getStringAttr(name));
    };
    nameParts(
        joint.getRequest().results, joint.getResults().getTypes(),
        [](unsigned index) { return "cotangent:" + std::to_string(index); },
        setName);
  }

  void nameResults() {
    unsigned numResults = options.seeded ? 0 : joint.getResults().size();
    for (unsigned index = 0; index < numResults; ++index)
      function.setResultAttrs(index, original.getResultAttrDict(index));
    auto setName = [&](unsigned index, const Twine &name) {
      function.setResultAttr(numResults + index, kNameAttrName,
                             builder.getStringAttr(name));
    };
    nameParts(
        joint.getRequest().arguments, joint.getArguments().getTypes(),
        [&](unsigned index) {
          return "grad:" + getArgumentBufferName(original, index);
        },
        setName);
  }

  /// Names the tensors of the values whose bits are set; a stream's two tensors
  /// by `.direction` and `.log_norm`.
  static void
  nameParts(const llvm::BitVector &bits, TypeRange types,
            llvm::function_ref<std::string(unsigned)> nameOf,
            llvm::function_ref<void(unsigned, const Twine &)> setName) {
    unsigned part = 0;
    for (unsigned index : bits.set_bits()) {
      std::string name = nameOf(index);
      if (isa<StreamType>(types[index])) {
        setName(part++, name + ".direction");
        setName(part++, name + ".log_norm");
      } else {
        setName(part++, name);
      }
    }
  }

  const JointFunction &joint;
  const ResidualPlan &plan;
  const GradientOptions &options;
  func::FuncOp original, function;
  OpBuilder builder;
};

} // namespace

Derivative nag::emitDerivative(const JointFunction &joint,
                               const ResidualPlan &plan, SymbolTable &symbols) {
  return DerivativeEmitter(joint, plan, symbols).emit();
}

func::FuncOp nag::emitGradients(const JointFunction &joint,
                                const ResidualPlan &plan,
                                const GradientOptions &options,
                                SymbolTable &symbols) {
  return GradientEmitter(joint, plan, options, symbols).emit();
}
