// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// convert-nag-to-vector: attention on buffers becomes loops and vector code.
#include "CachedAttention.h"
#include "TileEmitter.h"
#include "nag/Conversion/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace nag {
#define GEN_PASS_DEF_CONVERTNAGTOVECTOR
#include "nag/Conversion/Passes.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

namespace {

LogicalResult verifyShape(Operation *op, const TileShape &shape) {
  bool fits = shape.lanes >= 8 && llvm::isPowerOf2_64(shape.lanes) &&
              shape.rows > 0 && shape.lanes % shape.rows == 0 &&
              shape.keys > shape.lanes && shape.keys % shape.lanes == 0;
  if (fits)
    return success();
  return op->emitError()
         << "expected 'lanes' to be a power of two from 8 on and a multiple of "
            "'rows', and 'keys' a larger multiple of 'lanes', "
            "but got lanes = "
         << shape.lanes << ", rows = " << shape.rows
         << ", keys = " << shape.keys;
}

struct ConvertNagToVectorPass
    : nag::impl::ConvertNagToVectorBase<ConvertNagToVectorPass> {
  using ConvertNagToVectorBase::ConvertNagToVectorBase;

  void runOnOperation() override {
    TileShape shape{lanes, rows, keys};
    if (failed(verifyShape(getOperation(), shape)))
      return signalPassFailure();
    SmallVector<Operation *> targets;
    getOperation()->walk([&](DestinationStyleOpInterface op) {
      if (isa<StreamAttentionOp, StreamAttentionVJPOp, StreamCachedAttentionOp>(
              op))
        targets.push_back(op);
    });
    for (Operation *op : targets)
      if (failed(convert(op, shape)))
        return signalPassFailure();
  }

private:
  LogicalResult convert(Operation *op, const TileShape &shape) {
    if (op->getNumResults() != 0)
      return op->emitOpError("expected buffers, but got tensors; bufferize it "
                             "first");
    OpBuilder builder(op);
    if (auto forward = dyn_cast<StreamAttentionOp>(op))
      emitAttention(builder, forward, shape);
    else if (auto cached = dyn_cast<StreamCachedAttentionOp>(op))
      emitCachedAttention(builder, cached);
    else
      emitAttentionVJP(builder, cast<StreamAttentionVJPOp>(op), shape);
    op->erase();
    return success();
  }
};

} // namespace
