// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "JointFunction.h"

#include "Activity.h"
#include "CallVJP.h"

#include "nag/Dialect/Nag/Transforms/RoutingPasses.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/CSE.h"
#include "mlir/Transforms/RegionUtils.h"

using namespace mlir;
using namespace nag;
using llvm::BitVector;

bool DerivativeRequest::operator==(const DerivativeRequest &other) const {
  return function == other.function && shape.numCarry == other.shape.numCarry &&
         shape.numShared == other.shape.numShared &&
         arguments == other.arguments && results == other.results &&
         freeArguments == other.freeArguments;
}

JointFunction::JointFunction(OwningOpRef<func::FuncOp> joint,
                             const DerivativeRequest &derivativeRequest)
    : function(std::move(joint)), request(derivativeRequest) {}

ValueRange JointFunction::getArguments() const {
  return ValueRange(getBody().getArguments())
      .take_front(request.arguments.size());
}

ValueRange JointFunction::getCotangents() const {
  return ValueRange(getBody().getArguments())
      .drop_front(request.arguments.size());
}

ValueRange JointFunction::getResults() const {
  return ValueRange(getReturn()->getOperands())
      .take_front(request.results.size());
}

ValueRange JointFunction::getGradients() const {
  return ValueRange(getReturn()->getOperands())
      .drop_front(request.results.size());
}

namespace {

/// Turns a copy of a function into its joint function.
class JointBuilder {
public:
  JointBuilder(func::FuncOp joint, const DerivativeRequest &derivativeRequest,
               SymbolTable &table, DerivativeProvider provider)
      : function(joint), request(derivativeRequest), symbols(table),
        derivatives(provider), body(joint.getBody().front()),
        activity(joint, request.arguments, request.results, table),
        builder(body.getTerminator()) {}

  LogicalResult build() {
    SmallVector<Operation *> forward;
    for (Operation &op : body.without_terminator())
      forward.push_back(&op);
    seedResults();
    for (Operation *op : llvm::reverse(forward))
      if (failed(reverse(op)))
        return failure();
    readRounded(forward);
    returnGradients();
    for (Operation *op : replaced)
      op->erase();
    clean();
    return success();
  }

private:
  /// A value that the forward pass reads rounded only, the backward pass reads
  /// rounded, too: nobody has to keep it in full.
  void readRounded(ArrayRef<Operation *> forward) {
    SmallPtrSet<Operation *, 16> inForward(forward.begin(), forward.end());
    inForward.insert(body.getTerminator());
    for (Operation *op : forward) {
      auto rounding = dyn_cast<arith::TruncFOp>(op);
      if (!rounding || !isa<RankedTensorType>(rounding.getType()))
        continue;
      auto isOther = [&](Operation *user) {
        return inForward.contains(user) &&
               (!isa<arith::TruncFOp>(user) ||
                user->getResultTypes() != op->getResultTypes());
      };
      Value value = rounding.getIn();
      auto isBackward = [&](OpOperand &use) {
        return !inForward.contains(use.getOwner());
      };
      if (llvm::any_of(value.getUsers(), isOther) ||
          llvm::none_of(value.getUses(), isBackward))
        continue;
      OpBuilder::InsertionGuard guard(builder);
      builder.setInsertionPointAfter(op);
      auto widened = arith::ExtFOp::create(builder, op->getLoc(),
                                           value.getType(), rounding.getOut());
      value.replaceUsesWithIf(widened, isBackward);
    }
  }

  /// Adds an argument for each tensor of an active result's cotangent.
  void seedResults() {
    Operation *terminator = body.getTerminator();
    for (unsigned index : request.results.set_bits()) {
      Value result = terminator->getOperand(index);
      SmallVector<Value> tensors;
      for (Type type : getCotangentTypes(result.getType()))
        tensors.push_back(body.addArgument(type, result.getLoc()));
      ValueRange range = tensors;
      accumulate(result, takeCotangent(result.getType(), range));
    }
  }

  LogicalResult reverse(Operation *op) {
    auto given = llvm::map_to_vector(op->getResults(), [&](Value result) {
      return cotangents.lookup(result);
    });
    bool reached =
        llvm::any_of(given, [](Cotangent c) { return static_cast<bool>(c); });
    bool wanted = llvm::any_of(getReadValues(op), [&](Value value) {
      return activity.isActive(value);
    });
    if (!reached || !wanted)
      return success();
    if (std::optional<CallSite> call = getCallSite(op, symbols))
      return reverseCall(*call, given);
    return reverseOp(op, given);
  }

  LogicalResult reverseOp(Operation *op, ArrayRef<Cotangent> given) {
    auto differentiable = dyn_cast<DifferentiableOpInterface>(op);
    if (!differentiable)
      return op->emitOpError() << "is on the path of the derivative of '@"
                               << request.getFunction().getName()
                               << "', but has none (DifferentiableOpInterface)";
    if (readsActiveFromOutside(op))
      return op->emitOpError()
             << "reads a differentiated value from outside its region: pass it "
                "as an operand";
    SmallVector<Cotangent> computed = differentiable.buildVJP(builder, given);
    // The op has told why there is none.
    if (computed.size() != op->getNumOperands())
      return failure();
    accumulate(op->getOperands(), computed);
    return success();
  }

  bool readsActiveFromOutside(Operation *op) const {
    SmallVector<Value> read = getReadValues(op);
    return llvm::any_of(ArrayRef(read).drop_front(op->getNumOperands()),
                        [&](Value value) { return activity.isActive(value); });
  }

  LogicalResult reverseCall(const CallSite &call, ArrayRef<Cotangent> given) {
    CallActivity active = activity.getCallActivity(call);
    if (!active.any())
      return success();
    FailureOr<Derivative> derivative =
        derivatives({call.callee, call.shape, active.operands, active.results,
                     freeOperands(call)});
    if (failed(derivative))
      return failure();
    SmallVector<Value> operands(call.op->getOperands());
    accumulate(operands,
               buildCallVJP(call, active, *derivative, builder, given));
    replaced.push_back(call.op);
    return success();
  }

  /// Stacks and shared operands are passed again anyway; so are the arguments
  /// that the caller keeps.
  BitVector freeOperands(const CallSite &call) const {
    unsigned numOperands = call.op->getNumOperands();
    BitVector free(numOperands);
    if (isa<RepeatOp>(call.op)) {
      free.set(call.shape.numCarry, numOperands);
      return free;
    }
    for (auto [index, operand] : llvm::enumerate(call.op->getOperands())) {
      auto argument = dyn_cast<BlockArgument>(operand);
      free[index] = argument && request.freeArguments[argument.getArgNumber()];
    }
    return free;
  }

  void accumulate(ValueRange operands, ArrayRef<Cotangent> computed) {
    for (auto [operand, cotangent] : llvm::zip_equal(operands, computed))
      if (activity.isActive(operand))
        accumulate(operand, cotangent);
  }

  void accumulate(Value value, Cotangent cotangent) {
    Cotangent &sum = cotangents[value];
    sum.value = add(sum.value, cotangent.value, value.getLoc());
    sum.logNorm = add(sum.logNorm, cotangent.logNorm, value.getLoc());
  }

  Value add(Value sum, Value term, Location loc) {
    if (!sum || !term)
      return sum ? sum : term;
    if (Value joined = joinStacks(builder, loc, sum, term))
      return joined;
    return arith::AddFOp::create(builder, loc, sum, term);
  }

  void returnGradients() {
    auto terminator = cast<func::ReturnOp>(body.getTerminator());
    ImplicitLocOpBuilder b(terminator.getLoc(), builder);
    SmallVector<Value> returned(terminator.getOperands());
    for (unsigned index : request.arguments.set_bits()) {
      Value argument = body.getArgument(index);
      appendTensors(b, cotangents.lookup(argument), argument.getType(),
                    returned);
    }
    terminator.getOperandsMutable().assign(returned);
    function.setType(b.getFunctionType(body.getArgumentTypes(),
                                       terminator.getOperandTypes()));
  }

  /// Drops what no gradient needs and merges what was built twice, products of
  /// all rows and of some, too. Not what is cheap to make of those some.
  void clean() {
    takeComputedProducts(body);
    IRRewriter rewriter(function.getContext());
    DominanceInfo dominance(function);
    eliminateCommonSubExpressions(rewriter, dominance, function);
    (void)runRegionDCE(rewriter, function->getRegions());
  }

  func::FuncOp function;
  const DerivativeRequest &request;
  SymbolTable &symbols;
  DerivativeProvider derivatives;
  Block &body;
  Activity activity;
  OpBuilder builder;
  llvm::DenseMap<Value, Cotangent> cotangents;
  /// Calls that the forward functions replace; erased last, so that no new
  /// value takes the address of an old one.
  SmallVector<Operation *> replaced;
};

} // namespace

FailureOr<JointFunction> nag::buildJoint(const DerivativeRequest &request,
                                         SymbolTable &symbols,
                                         DerivativeProvider derivatives) {
  OwningOpRef<func::FuncOp> joint = request.getFunction().clone();
  if (failed(JointBuilder(*joint, request, symbols, derivatives).build()))
    return failure();
  return JointFunction(std::move(joint), request);
}
