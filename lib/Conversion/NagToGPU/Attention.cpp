// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nag.attention and nag.attention_vjp as launches of device functions.
#include "Attention.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"

using namespace mlir;
using namespace nag;
using namespace nag::attention;

/// Fails, with an error, where no kernel takes the op.
template <typename AttentionLike>
static LogicalResult verify(AttentionLike op) {
  Type element = op.getQuery().getType().getElementType();
  if (!element.isF32() && !element.isBF16())
    return op.emitOpError("expected elements of type f32 or bf16 for a GPU, "
                          "but got ")
           << element;
  if (op.getHeadDim() > kMaxHeadDim)
    return op.emitOpError("expected heads of at most ")
           << kMaxHeadDim << " elements for a GPU, but got " << op.getHeadDim();
  return success();
}

static LogicalResult emit(KernelLowering &kernel, AttentionOp op) {
  if (failed(verify(op)))
    return failure();
  Forward buffers{
      kernel.getBuffer(op.getQuery()), kernel.getBuffer(op.getKey()),
      kernel.getBuffer(op.getValue()), kernel.getBuffer(op.getResult()),
      kernel.getBuffer(op.getLse())};
  emitForward(kernel, Sizes::of(op), buffers);
  return success();
}

static LogicalResult emit(KernelLowering &kernel, AttentionVJPOp op) {
  if (failed(verify(op)))
    return failure();
  Sizes sizes = Sizes::of(op);
  Value delta = kernel.allocateScratch(
      MemRefType::get({sizes.batch, sizes.heads, sizes.length},
                      Float32Type::get(op.getContext())));
  Backward buffers{
      kernel.getBuffer(op.getQuery()),      kernel.getBuffer(op.getKey()),
      kernel.getBuffer(op.getValue()),      kernel.getBuffer(op.getLse()),
      kernel.getBuffer(op.getResultGrad()), delta,
      kernel.getBuffer(op.getQueryGrad()),  kernel.getBuffer(op.getKeyGrad()),
      kernel.getBuffer(op.getValueGrad())};
  emitDelta(kernel, sizes, kernel.getBuffer(op.getResult()), buffers.resultGrad,
            delta);
  emitBackward(kernel, sizes, buffers);
  return success();
}

FailureOr<unsigned> nag::emitAttention(KernelLowering &kernel,
                                       ArrayRef<Operation *> ops) {
  LogicalResult emitted = success();
  if (auto op = dyn_cast<AttentionOp>(ops.front()))
    emitted = emit(kernel, op);
  else if (auto vjp = dyn_cast<AttentionVJPOp>(ops.front()))
    emitted = emit(kernel, vjp);
  else
    return 0u;
  if (failed(emitted))
    return failure();
  return 1u;
}
