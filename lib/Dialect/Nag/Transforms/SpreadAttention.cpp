// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -nag-spread-attention: routed attention as attention of all tokens' places.
#include "nag/Dialect/Nag/Transforms/RoutingPasses.h"

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace nag {
#define GEN_PASS_DEF_NAGSPREADATTENTION
#include "nag/Dialect/Nag/Transforms/RoutingPasses.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

static LogicalResult spread(AttentionOp op) {
  RankedTensorType key = op.getKey().getType();
  if (key.getRank() != 3)
    return op.emitOpError("expected keys of all tokens (kv = all) on this "
                          "target, but got those of executed tokens alone");
  if (!op.getLse().use_empty())
    return op.emitOpError("expected to be spread before it is differentiated, "
                          "but its log-sum-exp is used");
  ImplicitLocOpBuilder builder(op.getLoc(), op);
  RankedTensorType query = op.getQuery().getType();
  auto whole = RankedTensorType::get(
      {key.getDimSize(0), key.getDimSize(1), query.getDimSize(1)},
      query.getElementType());
  Value zeros = arith::ConstantOp::create(builder, builder.getZeroAttr(whole));
  Value indices = op.getRoute()[0], offsets = op.getRoute()[1];
  Value queries =
      PutOp::create(builder, op.getQuery(), zeros, indices, offsets);
  auto attention = AttentionOp::create(
      builder, queries, op.getKey(), op.getValue(), ValueRange(),
      op.getHeadsAttr(), op.getKvHeadsAttr(), op.getWindowAttr());
  auto taken = TakeOp::create(builder, attention.getResult(), indices, offsets);
  op.getResult().replaceAllUsesWith(taken.getRows());
  op.erase();
  return success();
}

namespace {
struct SpreadAttention : nag::impl::NagSpreadAttentionBase<SpreadAttention> {
  void runOnOperation() override {
    WalkResult result = getOperation()->walk([](AttentionOp op) -> WalkResult {
      return op.getRoute().empty() ? success() : spread(op);
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};
} // namespace
