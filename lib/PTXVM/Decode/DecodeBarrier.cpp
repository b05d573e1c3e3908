// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Barriers and fences.
#include "../Exec/Handlers.h"
#include "Decoder.h"

namespace ptxvm {

void Decoder::decodeBarrierWarp() {
  if (!take(".sync"))
    return fail("expected .sync");
  if (!expectOperands(1, 1))
    return;
  Inst inst = prepared(InstructionClass::Barrier);
  inst.run = handlers::warpBarrier;
  inst.src[1] = source(0, 4);
  setWarpSync(inst);
  program.code.push_back(inst);
}

/// bar.{sync,arrive,red} and barrier.{...}: operands are result, barrier,
/// thread count, predicate, as far as the form has them.
void Decoder::decodeBarrier() {
  if (take(".warp"))
    return decodeBarrierWarp();
  if (take(".cluster"))
    return fail("thread-block clusters are not supported");
  take(".cta");
  bool aligned = take(".aligned") || current->opcode == "bar";
  bool isArrive = take(".arrive"), isRed = take(".red");
  if (!isArrive && !isRed && !take(".sync"))
    return fail("expected .sync, .arrive or .red");
  Inst inst = prepared(InstructionClass::Barrier);
  inst.control = isArrive ? Control::BarrierArrive : Control::Barrier;
  inst.flags = aligned ? barrier::aligned : 0;
  BarrierReduction reduction = BarrierReduction::None;
  if (isRed) {
    reduction = take(".popc")  ? BarrierReduction::PopCount
                : take(".and") ? BarrierReduction::And
                : take(".or")  ? BarrierReduction::Or
                               : BarrierReduction::None;
    bool isCount = reduction == BarrierReduction::PopCount;
    if (reduction == BarrierReduction::None ||
        takeType() != (isCount ? Type::U32 : Type::Pred))
      return fail("expected .popc.u32, .and.pred or .or.pred");
  }
  inst.op = static_cast<uint8_t>(reduction);
  size_t next = isRed ? 1 : 0, total = current->operands.size();
  if (!expectOperands(isRed ? 3 : isArrive ? 2 : 1, isRed ? 4 : 2))
    return;
  inst.src[0] = source(next++, 4);
  if (total - next > (isRed ? 1u : 0u)) {
    inst.src[1] = source(next++, 4);
    inst.flags |= barrier::hasCount;
  }
  if (isRed) {
    inst.dst = reduction == BarrierReduction::PopCount
                   ? destination(0, 4)
                   : predicateDestination(operand(0));
    inst.src[2] = predicateSource(operand(next));
    if (operand(next).negated)
      inst.flags |= barrier::invertPredicate;
  }
  program.code.push_back(inst);
}

void Decoder::decodeFence() {
  static constexpr std::string_view known[] = {
      ".gl",      ".cta",     ".sys",
      ".gpu",     ".sc",      ".acq_rel",
      ".cluster", ".proxy",   ".alias",
      ".async",   ".global",  ".shared::cta",
      ".acquire", ".release", ".sync_restrict::shared::cta"};
  for (std::string_view modifier : known)
    take(modifier);
  emit(handlers::fence, InstructionClass::Barrier);
}

} // namespace ptxvm
