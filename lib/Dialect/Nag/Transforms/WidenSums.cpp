// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -nag-widen-sums: bf16 contractions and other sums over many rows, in f32.
#include "nag/Dialect/Nag/Transforms/Precision.h"
#include "nag/Interfaces/NagInterfaces.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/PatternMatch.h"

namespace nag {
#define GEN_PASS_DEF_NAGWIDENSUMS
#include "nag/Dialect/Nag/Transforms/Precision.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

/// The type of the same shape in f32, for a tensor of bf16; else null.
static RankedTensorType widenType(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || !tensor.getElementType().isBF16())
    return {};
  return tensor.clone(Float32Type::get(type.getContext()));
}

/// Row-wise ops compute in f32 whatever they store.
static bool sumsInBF16(Operation *op) {
  auto isNarrow = [](Type type) { return bool(widenType(type)); };
  return isa<CostOpInterface>(op) && !isa<RowwiseOpInterface>(op) &&
         (llvm::any_of(op->getOperandTypes(), isNarrow) ||
          llvm::any_of(op->getResultTypes(), isNarrow));
}

static void widen(IRRewriter &rewriter, Operation *op) {
  rewriter.setInsertionPoint(op);
  IRMapping wide;
  for (Value operand : op->getOperands())
    if (RankedTensorType type = widenType(operand.getType()))
      if (!wide.contains(operand))
        wide.map(operand,
                 arith::ExtFOp::create(rewriter, op->getLoc(), type, operand));
  Operation *computed = rewriter.clone(*op, wide);
  SmallVector<Value> results(computed->getResults());
  for (auto [result, replaced] : llvm::zip(results, op->getResults()))
    if (RankedTensorType type = widenType(result.getType())) {
      result.setType(type);
      result = arith::TruncFOp::create(rewriter, op->getLoc(),
                                       replaced.getType(), result);
    }
  rewriter.replaceOp(op, results);
}

namespace {
struct WidenSums : nag::impl::NagWidenSumsBase<WidenSums> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<Operation *> narrow;
    getOperation()->walk([&](Operation *op) {
      if (sumsInBF16(op))
        narrow.push_back(op);
    });
    for (Operation *op : narrow)
      widen(rewriter, op);
  }
};
} // namespace
