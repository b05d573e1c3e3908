// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nag.attention, nag.attention_vjp and nag.cached_attention as launches of
// device functions.
#include "AttentionTiles.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/IR/NagGeneration.h"

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

//===----------------------------------------------------------------------===//
// Plans
//===----------------------------------------------------------------------===//

static ScheduleFamily getFamily(AttentionOp) {
  return ScheduleFamily::Attention;
}
static ScheduleFamily getFamily(AttentionVJPOp) {
  return ScheduleFamily::AttentionVJP;
}
static ScheduleFamily getFamily(CachedAttentionOp) {
  return ScheduleFamily::CachedAttention;
}

template <typename AttentionLike> static Sizes getSizes(AttentionLike op) {
  return Sizes::of(op);
}
/// Keys are those of a cache.
static Sizes getSizes(CachedAttentionOp op) {
  Sizes sizes = Sizes::of(op);
  auto cache = cast<RankedTensorType>(op.getKeyCache().getType());
  sizes.batch = cache.getDimSize(0);
  sizes.length = cache.getDimSize(1);
  return sizes;
}

/// Null, with an error, where no kernel takes the op.
template <typename AttentionLike>
static std::unique_ptr<LaunchModel> createModel(const GPUTarget &target,
                                                ArrayRef<Operation *> ops,
                                                AttentionLike op) {
  if (failed(verify(op)))
    return nullptr;
  return attention::createModel(target, ops.take_front(1), getSizes(op),
                                getFamily(op));
}

FailureOr<LaunchPlan> nag::planAttention(const GPUTarget &target,
                                         ArrayRef<Operation *> ops) {
  LaunchPlan plan;
  if (auto op = dyn_cast<AttentionOp>(ops.front()))
    plan = {1, ::createModel(target, ops, op)};
  else if (auto vjp = dyn_cast<AttentionVJPOp>(ops.front()))
    plan = {1, ::createModel(target, ops, vjp)};
  else if (auto cached = dyn_cast<CachedAttentionOp>(ops.front()))
    plan = {1, ::createModel(target, ops, cached)};
  if (plan.numOps > 0 && !plan.model)
    return failure();
  return plan;
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

/// The buffers of an op's indices and offsets.
static SmallVector<Value> getBuffers(KernelLowering &kernel,
                                     OperandRange route) {
  return llvm::map_to_vector(
      route, [&](Value tensor) { return kernel.getBuffer(tensor); });
}

static void emit(KernelLowering &kernel, AttentionOp op,
                 ScheduleAttr schedule) {
  Forward buffers{
      kernel.getBuffer(op.getQuery()), kernel.getBuffer(op.getKey()),
      kernel.getBuffer(op.getValue()), kernel.getBuffer(op.getResult()),
      kernel.getBuffer(op.getLse()),   getBuffers(kernel, op.getRoute())};
  emitForward(kernel, getSizes(op), buffers, schedule);
}

static void emit(KernelLowering &kernel, AttentionVJPOp op,
                 ScheduleAttr schedule) {
  Sizes sizes = getSizes(op);
  Value delta = kernel.allocateScratch(
      MemRefType::get(cast<RankedTensorType>(op.getLse().getType()).getShape(),
                      Float32Type::get(op.getContext())));
  Backward buffers{kernel.getBuffer(op.getQuery()),
                   kernel.getBuffer(op.getKey()),
                   kernel.getBuffer(op.getValue()),
                   kernel.getBuffer(op.getResult()),
                   kernel.getBuffer(op.getResultGrad()),
                   kernel.getBuffer(op.getLse()),
                   delta,
                   kernel.getBuffer(op.getQueryGrad()),
                   kernel.getBuffer(op.getKeyGrad()),
                   kernel.getBuffer(op.getValueGrad()),
                   getBuffers(kernel, op.getRoute())};
  emitBackward(kernel, sizes, buffers, schedule);
}

static void emit(KernelLowering &kernel, CachedAttentionOp op,
                 ScheduleAttr schedule) {
  SmallVector<Value> buffers;
  for (Value tensor :
       {Value(op.getQuery()), Value(op.getKey()), Value(op.getValue()),
        Value(op.getKeyCache()), Value(op.getValueCache()),
        Value(op.getPositions()), Value(op.getResult())})
    buffers.push_back(kernel.getBuffer(tensor));
  llvm::append_range(buffers, getBuffers(kernel, op.getRoute()));
  if (op.getRows())
    buffers.push_back(kernel.getBuffer(op.getRows()));
  emitCached(kernel, getSizes(op), {op.getCapacity(), bool(op.getRows())},
             buffers, schedule.get("warps"));
}

FailureOr<unsigned> nag::emitAttention(KernelLowering &kernel,
                                       ArrayRef<Operation *> ops) {
  auto emitOp = [&](ScheduleAttr schedule) {
    if (auto op = dyn_cast<AttentionOp>(ops.front()))
      emit(kernel, op, schedule);
    else if (auto vjp = dyn_cast<AttentionVJPOp>(ops.front()))
      emit(kernel, vjp, schedule);
    else
      emit(kernel, cast<CachedAttentionOp>(ops.front()), schedule);
  };
  return emitPlanned(kernel, planAttention(kernel.getTarget(), ops), emitOp);
}
