// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -nag-differentiate: reverse-mode differentiation, function by function.
#include "Differentiate/Emission.h"
#include "nag/Dialect/Nag/Transforms/DifferentiableModels.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace nag {
#define GEN_PASS_DEF_NAGDIFFERENTIATE
#include "nag/Dialect/Nag/Transforms/Passes.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;
using llvm::BitVector;

namespace {

struct Differentiate : nag::impl::NagDifferentiateBase<Differentiate> {
  using NagDifferentiateBase::NagDifferentiateBase;

  void getDependentDialects(DialectRegistry &registry) const override {
    NagDifferentiateBase::getDependentDialects(registry);
    registerDifferentiableExternalModels(registry);
  }

  void runOnOperation() override {
    SymbolTable table(getOperation());
    symbols = &table;
    known.clear();
    if (failed(addGradients()))
      signalPassFailure();
  }

private:
  LogicalResult addGradients() {
    auto target = symbols->lookup<func::FuncOp>(function);
    if (!target)
      return getOperation().emitError()
             << "expected a function '@" << function
             << "' to differentiate, but the module has none";
    std::string name = result;
    if (name.empty())
      name = seeded ? function + ".gradients" : "gradients";
    if (Operation *other = symbols->lookup(name))
      return other->emitError() << "expected no '@" << name
                                << "' before differentiation, but got one";
    if (failed(verifyCallGraph(target, *symbols)))
      return failure();
    FailureOr<DerivativeRequest> request =
        seeded ? requestAll(target) : requestParameters(target);
    if (failed(request))
      return failure();
    return addGradients(*request, name);
  }

  LogicalResult addGradients(const DerivativeRequest &request, StringRef name) {
    FailureOr<JointFunction> joint = build(request);
    if (failed(joint))
      return failure();
    FailureOr<ResidualPlan> plan = makePlan(*joint);
    if (failed(plan))
      return failure();
    emitGradients(*joint, *plan, {name, seeded}, *symbols);
    return success();
  }

  FailureOr<JointFunction> build(const DerivativeRequest &request) {
    return buildJoint(request, *symbols, [&](const DerivativeRequest &callee) {
      return getDerivative(callee);
    });
  }

  FailureOr<ResidualPlan> makePlan(const JointFunction &joint) {
    FailureOr<ResidualPlan> plan = planResiduals(joint, recompute);
    if (failed(plan))
      return failure();
    if (explain)
      explainPlan(joint, *plan);
    return plan;
  }

  FailureOr<Derivative> getDerivative(const DerivativeRequest &request) {
    for (auto &[knownRequest, derivative] : known)
      if (knownRequest == request)
        return derivative;
    FailureOr<JointFunction> joint = build(request);
    if (failed(joint))
      return failure();
    FailureOr<ResidualPlan> plan = makePlan(*joint);
    if (failed(plan))
      return failure();
    Derivative derivative = emitDerivative(*joint, *plan, *symbols);
    known.emplace_back(request, derivative);
    return derivative;
  }

  static DerivativeRequest emptyRequest(func::FuncOp target) {
    unsigned numArguments = target.getNumArguments();
    return {target, CallShape{0, numArguments, 0}, BitVector(numArguments),
            BitVector(target.getNumResults()), BitVector(numArguments, true)};
  }

  /// The gradient of the first result by the parameters.
  FailureOr<DerivativeRequest> requestParameters(func::FuncOp target) {
    DerivativeRequest request = emptyRequest(target);
    for (unsigned index = 0; index < target.getNumArguments(); ++index)
      request.arguments[index] =
          target.getArgAttr(index, kParamAttrName) != nullptr;
    if (request.arguments.none())
      return target.emitError()
             << "expected an argument of '@" << function << "' with '"
             << kParamAttrName << "', but got none";
    Type loss = target.getNumResults() ? target.getResultTypes().front()
                                       : NoneType::get(&getContext());
    auto tensor = dyn_cast<RankedTensorType>(loss);
    if (!tensor || tensor.getRank() != 0 ||
        !isa<FloatType>(tensor.getElementType()))
      return target.emitError()
             << "expected a rank-0 float tensor as the first result of '@"
             << function << "', but got " << loss;
    request.results.set(0);
    return request;
  }

  /// Every float result by every float argument.
  FailureOr<DerivativeRequest> requestAll(func::FuncOp target) {
    DerivativeRequest request = emptyRequest(target);
    for (auto [index, type] : llvm::enumerate(target.getArgumentTypes()))
      request.arguments[index] = isDifferentiableType(type);
    for (auto [index, type] : llvm::enumerate(target.getResultTypes()))
      request.results[index] = isDifferentiableType(type);
    if (request.arguments.none() || request.results.none())
      return target.emitError()
             << "expected a float argument and a float result of '@" << function
             << "', but got type " << target.getFunctionType();
    return request;
  }

  SymbolTable *symbols = nullptr;
  /// The callees' derivatives so far; a program has few.
  std::vector<std::pair<DerivativeRequest, Derivative>> known;
};

} // namespace
