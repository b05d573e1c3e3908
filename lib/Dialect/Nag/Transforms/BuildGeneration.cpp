// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -nag-build-generation: @prefill and @decode from @logits.
#include "GenerationClone.h"
#include "nag/Dialect/Nag/Transforms/GenerationPasses.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

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

/// The sizes of the caches: those of all layers' attention.
static LogicalResult measureCaches(func::FuncOp logits,
                                   GenerationShape &shape) {
  auto module = logits->getParentOfType<ModuleOp>();
  int64_t layers = 0, widest = 0;
  bool isWindowed = true;
  for (auto repeat : logits.getOps<RepeatOp>()) {
    if (repeat.getReverse() || int64_t(repeat.getFirst()) != layers)
      return repeat.emitOpError("expected repeats that cover the layers in "
                                "order, but got first = ")
             << repeat.getFirst() << " after " << layers << " layers";
    layers += repeat.getCount();
    auto layer = module.lookupSymbol<func::FuncOp>(repeat.getCallee());
    SmallVector<AttentionOp> found;
    layer.walk([&](AttentionOp op) { found.push_back(op); });
    if (found.size() != 1)
      return layer.emitOpError("expected one nag.attention per layer, but got ")
             << found.size();
    auto key = found[0].getKey().getType();
    if (key.getRank() != 3)
      return found[0].emitOpError(
          "expected keys of all tokens (kv = all) to keep, but got those of "
          "executed tokens alone");
    int64_t width = key.getShape().back();
    if (shape.keyType &&
        (shape.keyWidth != width || shape.keyType != key.getElementType()))
      return found[0].emitOpError("expected keys of one width and type in all "
                                  "layers, but got ")
             << key;
    shape.keyWidth = width;
    shape.keyType = key.getElementType();
    isWindowed &= found[0].getWindow().has_value();
    widest = std::max<int64_t>(widest, found[0].getWindow().value_or(0));
  }
  if (layers == 0)
    return logits.emitOpError("expected a nag.repeat of layers, but got none");
  shape.layers = layers;
  shape.cacheRows = shape.capacity;
  if (isWindowed && widest < shape.capacity)
    shape.cacheRows = std::max<int64_t>(widest, 1);
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
        failed(measureCaches(logits, shape)) ||
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
