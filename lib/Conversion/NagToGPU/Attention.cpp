// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nag.attention, nag.attention_vjp and nag.cached_attention as launches of
// device functions.
#include "AttentionTiles.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/IR/NagGeneration.h"

#include "llvm/Support/FormatVariadic.h"

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
// Schedules
//===----------------------------------------------------------------------===//

namespace {
/// A launch of an op: the prefix of its fields, and what it keeps.
struct TiledLaunch {
  StringLiteral prefix;
  TileNeeds needs;
};
} // namespace

static SmallVector<TiledLaunch> getLaunches(const Sizes &sizes,
                                            ScheduleFamily family) {
  if (family == ScheduleFamily::Attention)
    return {{"", getForwardNeeds(sizes)}};
  return {{"key_", getKeyGradNeeds(sizes)},
          {"query_", getQueryGradNeeds(sizes)}};
}

static ScheduleAttr chooseSchedule(const Sizes &sizes, ScheduleFamily family) {
  SmallVector<int64_t> values;
  for (const TiledLaunch &launch : getLaunches(sizes, family)) {
    TileSizes tile = chooseTileSizes(sizes, launch.needs);
    values.append({tile.rows, tile.columns, tile.warps});
  }
  return ScheduleAttr::get(sizes.element.getContext(), family, values);
}

static std::string findFault(const Sizes &sizes, ScheduleAttr schedule,
                             const GPUChip &chip) {
  for (const TiledLaunch &launch : getLaunches(sizes, schedule.getFamily())) {
    TileSizes tile = TileSizes::from(schedule, launch.prefix.str());
    std::string fault = attention::findFault(sizes, launch.needs, tile);
    if (!fault.empty())
      return fault;
    int64_t bytes = createSchedule(sizes, launch.needs, tile)->getSharedBytes();
    if (bytes > chip.maxSharedBytes)
      return llvm::formatv("at most {0} bytes of shared memory on {1}, not {2}",
                           chip.maxSharedBytes, chip.name, bytes);
  }
  return "";
}

template <typename AttentionLike>
static FailureOr<SchedulePlan> plan(const GPUTarget &target, AttentionLike op,
                                    ScheduleFamily family, ScheduleAttr given) {
  if (failed(verify(op)))
    return failure();
  Sizes sizes = Sizes::of(op);
  SchedulePlan result;
  result.numOps = 1;
  result.schedule = given ? given : chooseSchedule(sizes, family);
  result.fault = findFault(sizes, result.schedule, *target.chip);
  return result;
}

FailureOr<SchedulePlan> nag::planAttention(const GPUTarget &target,
                                           ArrayRef<Operation *> ops,
                                           ScheduleAttr given) {
  if (auto op = dyn_cast<AttentionOp>(ops.front()))
    return plan(target, op, ScheduleFamily::Attention, given);
  if (auto op = dyn_cast<AttentionVJPOp>(ops.front()))
    return plan(target, op, ScheduleFamily::AttentionVJP, given);
  SchedulePlan fixed;
  if (auto op = dyn_cast<CachedAttentionOp>(ops.front())) {
    if (failed(verify(op)))
      return failure();
    fixed.numOps = 1;
  }
  return fixed;
}

/// The schedule that an op is given, else the one chosen.
template <typename AttentionLike>
static FailureOr<ScheduleAttr>
getSchedule(const GPUTarget &target, AttentionLike op, ScheduleFamily family) {
  auto given = getGivenSchedule(op, family);
  if (failed(given))
    return failure();
  FailureOr<SchedulePlan> chosen = plan(target, op, family, *given);
  if (failed(chosen) || failed(verifySchedule(op, *chosen)))
    return failure();
  return chosen->schedule;
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

static LogicalResult emit(KernelLowering &kernel, AttentionOp op) {
  auto schedule =
      getSchedule(kernel.getTarget(), op, ScheduleFamily::Attention);
  if (failed(schedule))
    return failure();
  Forward buffers{
      kernel.getBuffer(op.getQuery()), kernel.getBuffer(op.getKey()),
      kernel.getBuffer(op.getValue()), kernel.getBuffer(op.getResult()),
      kernel.getBuffer(op.getLse()),   getBuffers(kernel, op.getRoute())};
  emitForward(kernel, Sizes::of(op), buffers, *schedule);
  return success();
}

static LogicalResult emit(KernelLowering &kernel, AttentionVJPOp op) {
  auto schedule =
      getSchedule(kernel.getTarget(), op, ScheduleFamily::AttentionVJP);
  if (failed(schedule))
    return failure();
  Sizes sizes = Sizes::of(op);
  Value delta = kernel.allocateScratch(
      MemRefType::get(cast<RankedTensorType>(op.getLse().getType()).getShape(),
                      Float32Type::get(op.getContext())));
  Backward buffers{
      kernel.getBuffer(op.getQuery()),      kernel.getBuffer(op.getKey()),
      kernel.getBuffer(op.getValue()),      kernel.getBuffer(op.getLse()),
      kernel.getBuffer(op.getResultGrad()), delta,
      kernel.getBuffer(op.getQueryGrad()),  kernel.getBuffer(op.getKeyGrad()),
      kernel.getBuffer(op.getValueGrad()),  getBuffers(kernel, op.getRoute())};
  emitDelta(kernel, sizes, kernel.getBuffer(op.getResult()), buffers);
  emitBackward(kernel, sizes, buffers, *schedule);
  return success();
}

static LogicalResult emit(KernelLowering &kernel, CachedAttentionOp op) {
  if (failed(verify(op)))
    return failure();
  Sizes sizes = Sizes::of(op);
  auto cache = cast<RankedTensorType>(op.getKeyCache().getType());
  sizes.batch = cache.getDimSize(0);
  sizes.length = cache.getDimSize(1);
  SmallVector<Value> buffers;
  for (Value tensor :
       {Value(op.getQuery()), Value(op.getKey()), Value(op.getValue()),
        Value(op.getKeyCache()), Value(op.getValueCache()),
        Value(op.getPositions()), Value(op.getResult())})
    buffers.push_back(kernel.getBuffer(tensor));
  llvm::append_range(buffers, getBuffers(kernel, op.getRoute()));
  if (op.getRows())
    buffers.push_back(kernel.getBuffer(op.getRows()));
  emitCached(kernel, sizes, {op.getCapacity(), bool(op.getRows())}, buffers);
  return success();
}

FailureOr<unsigned> nag::emitAttention(KernelLowering &kernel,
                                       ArrayRef<Operation *> ops) {
  LogicalResult emitted = success();
  if (auto op = dyn_cast<AttentionOp>(ops.front()))
    emitted = emit(kernel, op);
  else if (auto vjp = dyn_cast<AttentionVJPOp>(ops.front()))
    emitted = emit(kernel, vjp);
  else if (auto cached = dyn_cast<CachedAttentionOp>(ops.front()))
    emitted = emit(kernel, cached);
  else
    return 0u;
  if (failed(emitted))
    return failure();
  return 1u;
}
