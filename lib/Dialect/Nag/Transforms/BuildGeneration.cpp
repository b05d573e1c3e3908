// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -nag-build-generation: @prefill and @decode from @logits.
#include "GenerationClone.h"
#include "nag/Dialect/Nag/Transforms/GenerationPasses.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

namespace nag {
#define GEN_PASS_DEF_NAGBUILDGENERATION
#include "nag/Dialect/Nag/Transforms/GenerationPasses.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

/// Tokens are chosen as they come.
static LogicalResult checkPolicies(ModuleOp module) {
  WalkResult result = module.walk([](BlockOp op) -> WalkResult {
    if (!op.getRouting() || op.getRouting()->getPolicy() != Policy::Capacity)
      return WalkResult::advance();
    return op.emitOpError("expected the policy threshold or rate to generate "
                          "with, but got capacity, which chooses among tokens "
                          "that are still to come");
  });
  return failure(result.wasInterrupted());
}

namespace {
/// Adds up what the caches of all layers need.
class CacheMeasure {
public:
  CacheMeasure(GenerationShape &sizes, double share)
      : shape(sizes), budget(share) {}

  LogicalResult run(func::FuncOp logits);

private:
  LogicalResult addLayers(func::FuncOp layer, int64_t count);
  LogicalResult addAttention(AttentionOp op, int64_t count);

  GenerationShape &shape;
  double budget;
  bool routesKeys = false;
  /// Rows of all layers where every token leaves its keys behind, and where
  /// the rate's share does not.
  int64_t allRows = 0, expectedRows = 0;
};
} // namespace

LogicalResult CacheMeasure::run(func::FuncOp logits) {
  auto module = logits->getParentOfType<ModuleOp>();
  for (auto repeat : logits.getOps<RepeatOp>()) {
    if (repeat.getReverse() ||
        int64_t(repeat.getFirst()) != shape.countLayers())
      return repeat.emitOpError("expected repeats that cover the layers in "
                                "order, but got first = ")
             << repeat.getFirst() << " after " << shape.countLayers()
             << " layers";
    auto layer = module.lookupSymbol<func::FuncOp>(repeat.getCallee());
    if (failed(addLayers(layer, repeat.getCount())))
      return failure();
  }
  if (shape.reach.empty())
    return logits.emitOpError("expected a nag.repeat of layers, but got none");
  shape.cacheRows = std::max<int64_t>(*llvm::max_element(shape.reach), 1);
  if (budget > 0 && !routesKeys)
    return logits.emitOpError("expected 'budget' only where keys are those of "
                              "executed tokens (kv = routed), but got ")
           << llvm::formatv("{0}", budget).str();
  if (!routesKeys)
    return success();
  int64_t rows =
      budget > 0 ? int64_t(std::ceil(budget * double(allRows))) : expectedRows;
  // Every layer may execute the same token.
  shape.sharedRows = std::max(rows, shape.countLayers());
  return success();
}

LogicalResult CacheMeasure::addLayers(func::FuncOp layer, int64_t count) {
  SmallVector<AttentionOp> found;
  layer.walk([&](AttentionOp op) { found.push_back(op); });
  if (found.size() != 1)
    return layer.emitOpError("expected one nag.attention per layer, but got ")
           << found.size();
  return addAttention(found.front(), count);
}

LogicalResult CacheMeasure::addAttention(AttentionOp op, int64_t count) {
  auto key = op.getKey().getType();
  int64_t width = key.getShape().back();
  if (shape.keyType &&
      (shape.keyWidth != width || shape.keyType != key.getElementType()))
    return op.emitOpError("expected keys of one width and type in all layers, "
                          "but got ")
           << key;
  shape.keyWidth = width;
  shape.keyType = key.getElementType();
  int64_t reach = shape.capacity;
  if (op.getWindow())
    reach = std::min<int64_t>(reach, *op.getWindow());
  shape.reach.append(count, reach);
  double rate = 0;
  if (key.getRank() == 2) {
    routesKeys = true;
    if (auto block = op->getParentOfType<BlockOp>(); block.getRouting())
      rate = block.getRouting()->getRate().value;
  }
  allRows += count * reach;
  expectedRows += count * int64_t(std::ceil((1 - rate) * double(reach)));
  return success();
}

namespace {
struct BuildGeneration : nag::impl::NagBuildGenerationBase<BuildGeneration> {
  using NagBuildGenerationBase::NagBuildGenerationBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto logits = module.lookupSymbol<func::FuncOp>("logits");
    GenerationShape shape;
    shape.batch = batch;
    shape.prompt = prompt;
    shape.capacity = capacity;
    if (failed(checkOptions(module, logits)) || failed(checkPolicies(module)) ||
        failed(CacheMeasure(shape, budget).run(logits)) ||
        failed(
            buildGenerationFunction(logits, GenerationPhase::Prefill, shape)) ||
        failed(buildGenerationFunction(logits, GenerationPhase::Decode, shape)))
      signalPassFailure();
  }

private:
  LogicalResult checkOptions(ModuleOp module, func::FuncOp logits) {
    constexpr int64_t kMaxCapacity = 65536;
    if (!logits || logits.isExternal())
      return module.emitError("expected a function @logits, but got none");
    if (capacity < 1 || capacity > kMaxCapacity)
      return module.emitError("expected 'capacity' in [1, ")
             << kMaxCapacity << "], but got " << capacity.getValue();
    if (prompt < 1 || prompt > capacity)
      return module.emitError("expected 'prompt' in [1, capacity = ")
             << capacity.getValue() << "], but got " << prompt.getValue();
    if (!(budget >= 0 && budget <= 1))
      return module.emitError("expected 'budget' in [0, 1], but got ")
             << llvm::formatv("{0}", budget.getValue()).str();
    if (batch < 1)
      return module.emitError("expected 'batch' of 1 or more, but got ")
             << batch.getValue();
    for (StringRef name : {"prefill", "decode"})
      if (Operation *other = module.lookupSymbol(name))
        return other->emitError("expected no function @")
               << name << " beside @logits yet";
    return success();
  }
};
} // namespace
