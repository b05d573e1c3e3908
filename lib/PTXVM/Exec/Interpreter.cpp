// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The instruction loop: which lanes of a warp run, and until when.
#include "State.h"

namespace ptxvm {

/// Taken branches before a warp lets the others of its block run.
static constexpr uint64_t branchQuantum = 4096;

bool BlockRunner::runWarp(Warp &warp) {
  bool progress = false;
  uint64_t last = warp.branches + branchQuantum;
  while (Fragment *fragment = nextFragment(warp)) {
    progress = true;
    uint32_t mask = fragment->mask;
    enter(warp, *fragment);
    runFragment(warp, *fragment);
    if (launch.stop)
      break;
    if (warp.branches >= last) {
      runAnother(warp, mask);
      break;
    }
  }
  return progress;
}

/// A fragment may spin until another one of its warp moves on.
void BlockRunner::runAnother(Warp &warp, uint32_t ranBefore) {
  for (Fragment &other : warp.fragments)
    if (other.state == Fragment::Ready && (other.mask & ranBefore) == 0) {
      enter(warp, other);
      return runFragment(warp, other);
    }
}

bool BlockRunner::overLimit(Warp &warp, const Inst &inst) {
  uint64_t limit = launch.options.branchLimit;
  if (limit == 0 || warp.branches < limit)
    return false;
  unsigned lane = static_cast<unsigned>(__builtin_ctz(warp.active));
  block.report(FindingKind::StepLimit, inst.line, warp.thread(lane), 0,
               "more than " + std::to_string(limit) + " branches in one warp");
  launch.abort(LaunchStatus::Hung, "branch limit reached");
  return true;
}

/// Runs until the fragment ends, waits, splits, or meets others. References to
/// the fragment are dead once a called helper returned true.
void BlockRunner::runFragment(Warp &warp, Fragment &fragment) {
  const Inst *code = program.code.data();
  InstructionCount *executions = counts.data();
  uint32_t codeBegin = launch.kernelCode->codeBegin;
  bool multiple = warp.fragments.size() > 1, checks = checksRegisters;
  uint64_t turn = warp.branches + branchQuantum;
  const Inst *first = code + fragment.pc, *at = first;
  InstructionCount *count = executions + (fragment.pc - codeBegin);
  for (;;) {
    if (__builtin_expect(at->leader, false) && multiple && at != first) {
      fragment.pc = static_cast<uint32_t>(at - code);
      return;
    }
    uint32_t mask =
        fragment.mask & (warp.predicate(at->guard) ^ at->guardInvert);
    ++count->warps;
    count->lanes += mask == allLanes
                        ? warpSize
                        : static_cast<uint64_t>(__builtin_popcount(mask));
    if (checks)
      checkRegisters(warp, *at, static_cast<uint32_t>(at - code), mask);
    if (at->control == Control::None) {
      if (mask)
        at->run(warp, *at, mask);
      ++at, ++count;
      continue;
    }
    fragment.pc = static_cast<uint32_t>(at - code);
    if (control(warp, fragment, *at, mask, turn))
      return;
    at = code + fragment.pc;
    count = executions + (fragment.pc - codeBegin);
  }
}

/// Executes an instruction that moves a fragment. True when the fragment has
/// to be left; it may be dead then. `turn`: the warp's branches at which others
/// have their turn.
bool BlockRunner::control(Warp &warp, Fragment &fragment, const Inst &inst,
                          uint32_t mask, uint64_t turn) {
  switch (inst.control) {
  case Control::Branch: {
    ++warp.branches;
    bool leave = branch(warp, fragment, inst, mask) || warp.branches >= turn ||
                 launch.stop;
    return overLimit(warp, inst) || leave;
  }
  case Control::BranchIndexed:
    branchIndexed(warp, fragment, inst, mask);
    return true;
  case Control::WarpSync:
    return warpSync(warp, fragment, inst, mask) || launch.stop;
  case Control::Barrier:
  case Control::BarrierArrive:
    return arriveAt(warp, fragment, inst, mask);
  case Control::Call:
    return call(warp, fragment, inst, mask);
  case Control::Return:
    leaveFunction(warp, fragment, mask);
    return true;
  case Control::Exit:
    if (mask)
      exitLanes(warp, fragment, mask);
    else
      ++fragment.pc;
    return true;
  case Control::Trap:
    if (!mask) {
      ++fragment.pc;
      return true;
    }
    block.report(FindingKind::Trap, inst.line,
                 warp.thread(static_cast<unsigned>(__builtin_ctz(mask))), 0,
                 "trap executed");
    launch.abort(LaunchStatus::Trap, "trap executed");
    return true;
  case Control::None:
    break;
  }
  return true;
}

} // namespace ptxvm
