// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -nag-contract-in-bf16: contractions of f32 tensors read and write bf16, but
// for weight gradients.
#include "nag/Dialect/Nag/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/TypeUtilities.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"

namespace nag {
#define GEN_PASS_DEF_NAGCONTRACTINBF16
#include "nag/Dialect/Nag/Transforms/Passes.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

/// The tensors that a contraction of f32 tensors multiplies; none where one has
/// another type.
static SmallVector<OpOperand *> collectFactors(Operation *op) {
  SmallVector<OpOperand *> factors;
  auto attention = dyn_cast<AttentionOp>(op);
  for (OpOperand &operand : op->getOpOperands()) {
    if (attention && llvm::is_contained(attention.getRoute(), operand.get()))
      continue;
    if (!getElementTypeOrSelf(operand.get().getType()).isF32())
      return {};
    factors.push_back(&operand);
  }
  return factors;
}

/// Gives `op` the result types that follow from its operands and converts the
/// results back for their users.
static LogicalResult updateResults(Operation *op) {
  SmallVector<Type> types;
  auto infer = cast<InferTypeOpInterface>(op);
  if (failed(infer.inferReturnTypes(
          op->getContext(), op->getLoc(), op->getOperands(),
          op->getRawDictionaryAttrs(), op->getPropertiesStorage(),
          op->getRegions(), types)))
    return op->emitOpError("expected result types for bf16 operands");
  OpBuilder builder(op->getContext());
  builder.setInsertionPointAfter(op);
  for (auto [result, type] : llvm::zip_equal(op->getResults(), types)) {
    Type wanted = result.getType();
    if (wanted == type)
      continue;
    result.setType(type);
    auto widened = arith::ExtFOp::create(builder, op->getLoc(), wanted, result);
    result.replaceAllUsesExcept(widened, widened);
  }
  return success();
}

/// Lets a gradient that is only widened leave as the f32 sum that it is.
static void widenGradient(Value grad) {
  auto isWidening = [](Operation *user) {
    return isa<arith::ExtFOp>(user) &&
           getElementTypeOrSelf(user->getResult(0).getType()).isF32();
  };
  if (!getElementTypeOrSelf(grad.getType()).isBF16() || grad.use_empty() ||
      !llvm::all_of(grad.getUsers(), isWidening))
    return;
  grad.setType(grad.getUsers().begin()->getResult(0).getType());
  for (Operation *user : llvm::make_early_inc_range(grad.getUsers())) {
    user->getResult(0).replaceAllUsesWith(grad);
    user->erase();
  }
}

namespace {
struct ContractInBF16Pass
    : nag::impl::NagContractInBF16Base<ContractInBF16Pass> {
  void runOnOperation() override {
    SmallVector<Operation *> contractions;
    getOperation()->walk([&](CostOpInterface op) {
      if (op.isContraction() && isa<InferTypeOpInterface>(*op))
        contractions.push_back(op);
    });
    for (Operation *op : contractions)
      if (failed(convert(op)))
        return signalPassFailure();
    SmallVector<Value> gradients;
    getOperation()->walk(
        [&](WeightGradOp op) { gradients.push_back(op.getWeightGrad()); });
    getOperation()->walk(
        [&](HeadLossVJPOp op) { gradients.push_back(op.getWeightGrad()); });
    llvm::for_each(gradients, widenGradient);
  }

private:
  LogicalResult convert(Operation *op) {
    SmallVector<OpOperand *> factors = collectFactors(op);
    if (factors.empty())
      return success();
    OpBuilder builder(op);
    for (OpOperand *factor : factors) {
      auto type = cast<RankedTensorType>(factor->get().getType());
      factor->set(arith::TruncFOp::create(builder, op->getLoc(),
                                          type.clone(builder.getBF16Type()),
                                          factor->get()));
    }
    return updateResults(op);
  }
};
} // namespace
