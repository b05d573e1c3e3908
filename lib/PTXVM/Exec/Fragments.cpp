// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Divergence: a warp is a set of fragments, lanes that share a program counter
// and a call stack. The deepest, then lowest fragment runs first, so that the
// others can catch up with it; fragments that meet are merged.
#include "../Checks/Checks.h"

#include <algorithm>

namespace ptxvm {

void BlockRunner::enter(Warp &warp, const Fragment &fragment) {
  warp.active = fragment.mask;
  warp.localBase = fragment.localBase;
  warp.frameOffset = fragment.regBase;
  warp.files[0] = warp.registers.data() + fragment.regBase;
}

void BlockRunner::mergeFragments(Warp &warp) {
  auto &list = warp.fragments;
  for (size_t a = 0; a < list.size(); ++a)
    for (size_t b = list.size() - 1; b > a; --b)
      if (list[a].state != Fragment::AtBarrier && list[a].meets(list[b])) {
        list[a].mask |= list[b].mask;
        list.erase(list.begin() + static_cast<std::ptrdiff_t>(b));
      }
}

/// The lanes a waiting warp-wide instruction needs.
static uint32_t lanesNeeded(const Warp &warp, const Fragment &fragment,
                            const Inst &inst) {
  if (inst.control == Control::Barrier ||
      inst.control == Control::BarrierArrive)
    return warp.live;
  Ref ref = inst.src[1];
  const uint8_t *file = ref >> 30 == 0
                            ? warp.registers.data() + fragment.regBase
                            : warp.files[ref >> 30];
  const uint32_t *members =
      reinterpret_cast<const uint32_t *>(file + (ref & 0x3fffffffu));
  uint32_t needed = 0;
  for (unsigned lane = 0; lane < warpSize; ++lane)
    if (fragment.mask >> lane & 1)
      needed |= members[lane];
  return needed & warp.live;
}

Fragment *BlockRunner::nextFragment(Warp &warp) {
  if (warp.fragments.size() > 1)
    mergeFragments(warp);
  Fragment *best = nullptr;
  for (Fragment &fragment : warp.fragments) {
    if (fragment.state == Fragment::AtWarpSync) {
      const Inst &inst = program.code[fragment.pc];
      if (lanesNeeded(warp, fragment, inst) & ~fragment.mask)
        continue;
      fragment.state = Fragment::Ready;
    }
    if (fragment.state != Fragment::Ready)
      continue;
    if (!best || fragment.stack.size() > best->stack.size() ||
        (fragment.stack.size() == best->stack.size() && fragment.pc < best->pc))
      best = &fragment;
  }
  return best;
}

void BlockRunner::split(Warp &warp, const Fragment &from, uint32_t mask,
                        uint32_t pc) {
  Fragment other = from;
  other.mask = mask;
  other.pc = pc;
  other.state = Fragment::Ready;
  warp.fragments.push_back(std::move(other));
}

/// True when the fragment must go back to the scheduler.
bool BlockRunner::branch(Warp &warp, Fragment &fragment, const Inst &inst,
                         uint32_t mask) {
  uint32_t stay = fragment.mask & ~mask;
  if (stay == 0) {
    fragment.pc = inst.ext;
  } else if (mask == 0) {
    ++fragment.pc;
  } else {
    uint32_t next = fragment.pc + 1;
    fragment.mask = mask;
    fragment.pc = inst.ext;
    split(warp, Fragment(fragment), stay, next);
    return true;
  }
  return warp.fragments.size() > 1;
}

void BlockRunner::branchIndexed(Warp &warp, Fragment &fragment,
                                const Inst &inst, uint32_t mask) {
  const uint32_t *index = warp.at<uint32_t>(inst.src[0]);
  const auto &table = program.branchTables[inst.ext];
  uint32_t targets[warpSize];
  uint32_t bad = 0;
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    if (!(mask >> lane & 1))
      continue;
    if (index[lane] >= table.size()) {
      bad |= 1u << lane;
      continue;
    }
    targets[lane] = table[index[lane]];
  }
  if (bad) {
    unsigned lane = static_cast<unsigned>(__builtin_ctz(bad));
    block.report(FindingKind::InvalidBranch, inst.line, warp.thread(lane), 0,
                 "branch index " + std::to_string(index[lane]) +
                     " outside a table of " + std::to_string(table.size()));
    launch.abort(LaunchStatus::Trap, "branch index outside its table");
    return;
  }
  Fragment original = fragment;
  uint32_t rest = mask;
  bool first = true;
  while (rest) {
    uint32_t target = targets[__builtin_ctz(rest)], group = 0;
    for (unsigned lane = 0; lane < warpSize; ++lane)
      if ((rest >> lane & 1) && targets[lane] == target)
        group |= 1u << lane;
    rest &= ~group;
    if (first) {
      fragment.mask = group;
      fragment.pc = target;
      first = false;
    } else {
      split(warp, original, group, target);
    }
  }
  if (uint32_t stay = original.mask & ~mask)
    split(warp, original, stay, original.pc + 1);
}

void BlockRunner::exitLanes(Warp &warp, Fragment &fragment, uint32_t mask) {
  warp.live &= ~mask;
  block.liveThreads -= static_cast<unsigned>(__builtin_popcount(mask));
  fragment.mask &= ~mask;
  ++fragment.pc;
  if (fragment.mask == 0) {
    size_t index = static_cast<size_t>(&fragment - warp.fragments.data());
    warp.fragments.erase(warp.fragments.begin() +
                         static_cast<std::ptrdiff_t>(index));
  }
  completeBarriers();
}

//===----------------------------------------------------------------------===//
// Warp-wide instructions and barriers
//===----------------------------------------------------------------------===//

/// Runs the instruction, or parks its lanes until the others come. True when
/// the fragment must go back to the scheduler.
bool BlockRunner::warpSync(Warp &warp, Fragment &fragment, const Inst &inst,
                           uint32_t mask) {
  if (mask == 0) {
    ++fragment.pc;
    return false;
  }
  uint32_t pc = fragment.pc;
  if (mask != warp.live && !warp.force) {
    Fragment view = fragment;
    view.mask = mask;
    if (lanesNeeded(warp, view, inst) & ~mask) {
      uint32_t skip = fragment.mask & ~mask;
      fragment.mask = mask;
      fragment.state = Fragment::AtWarpSync;
      if (skip)
        split(warp, Fragment(fragment), skip, pc + 1);
      return true;
    }
  }
  warp.force = false;
  inst.run(warp, inst, mask);
  ++fragment.pc;
  return false;
}

void BlockRunner::enterBarrier(Warp &warp, Fragment &fragment, const Inst &inst,
                               uint32_t mask, bool waits) {
  unsigned lane = static_cast<unsigned>(__builtin_ctz(mask));
  uint32_t id = warp.at<uint32_t>(inst.src[0])[lane];
  uint32_t expected =
      inst.flags & barrier::hasCount ? warp.at<uint32_t>(inst.src[1])[lane] : 0;
  bool badCount = (inst.flags & barrier::hasCount) &&
                  (expected == 0 || expected % warpSize != 0);
  if (id >= block.barriers.size() || badCount) {
    block.report(FindingKind::Trap, inst.line, warp.thread(lane), 0,
                 badCount ? "barrier thread count " + std::to_string(expected) +
                                " is not a positive multiple of 32"
                          : "barrier " + std::to_string(id) + " of 16");
    return launch.abort(LaunchStatus::Trap, "invalid barrier");
  }
  BarrierState &state = block.barriers[id];
  uint32_t count = static_cast<uint32_t>(__builtin_popcount(mask));
  state.expected = expected;
  state.arrivedLive += count;
  state.arrivedWhole += mask == warp.live ? warpSize : count;
  if (inst.op) {
    uint32_t value = warp.predicate(inst.src[2]);
    if (inst.flags & barrier::invertPredicate)
      value = ~value;
    state.popCount += static_cast<uint32_t>(__builtin_popcount(value & mask));
    state.all &= (~value & mask) == 0;
    state.any |= (value & mask) != 0;
  }
  if (block.checks)
    block.checks->arrive(warp, state);
  if (waits) {
    fragment.state = Fragment::AtBarrier;
    fragment.barrierId = id;
  }
}

/// True when the fragment must go back to the scheduler.
bool BlockRunner::arriveAt(Warp &warp, Fragment &fragment, const Inst &inst,
                           uint32_t mask) {
  if (mask == 0) {
    ++fragment.pc;
    return false;
  }
  uint32_t pc = fragment.pc;
  if (uint32_t skip = fragment.mask & ~mask) {
    size_t index = static_cast<size_t>(&fragment - warp.fragments.data());
    fragment.mask = mask;
    split(warp, Fragment(fragment), skip, pc + 1);
    return arriveAt(warp, warp.fragments[index], inst, mask);
  }
  if ((inst.flags & barrier::aligned) && mask != warp.live && !warp.force) {
    fragment.state = Fragment::AtWarpSync;
    return true;
  }
  warp.force = false;
  bool waits = inst.control == Control::Barrier;
  enterBarrier(warp, fragment, inst, mask, waits);
  if (!waits)
    ++fragment.pc;
  completeBarriers();
  return true;
}

void BlockRunner::completeBarriers() {
  for (uint32_t id = 0; id < block.barriers.size(); ++id) {
    const BarrierState &state = block.barriers[id];
    if (state.arrivedLive == 0)
      continue;
    bool complete = state.expected ? state.arrivedWhole >= state.expected
                                   : state.arrivedLive >= block.liveThreads;
    if (complete)
      releaseBarrier(id);
  }
}

void BlockRunner::releaseBarrier(uint32_t id) {
  const BarrierState state = block.barriers[id];
  block.barriers[id] = BarrierState();
  for (Warp &warp : block.warps)
    for (Fragment &fragment : warp.fragments) {
      if (fragment.state != Fragment::AtBarrier || fragment.barrierId != id)
        continue;
      const Inst &inst = program.code[fragment.pc];
      uint8_t *saved = warp.files[0];
      warp.files[0] = warp.registers.data() + fragment.regBase;
      switch (static_cast<BarrierReduction>(inst.op)) {
      case BarrierReduction::None:
        break;
      case BarrierReduction::PopCount:
        perLane(warp.at<uint32_t>(inst.dst), fragment.mask,
                [&](unsigned) { return state.popCount; });
        break;
      case BarrierReduction::And:
        mergePredicate(warp.predicate(inst.dst), fragment.mask,
                       state.all ? allLanes : 0);
        break;
      case BarrierReduction::Or:
        mergePredicate(warp.predicate(inst.dst), fragment.mask,
                       state.any ? allLanes : 0);
        break;
      }
      warp.files[0] = saved;
      fragment.state = Fragment::Ready;
      ++fragment.pc;
      if (block.checks)
        block.checks->release(warp, state);
    }
}

/// Nothing can run. A warp-wide instruction whose lanes will not come runs with
/// those it has, and is reported; without one, the block hangs for good.
bool BlockRunner::resolveStall() {
  for (Warp &warp : block.warps)
    for (Fragment &fragment : warp.fragments) {
      if (fragment.state != Fragment::AtWarpSync)
        continue;
      const Inst &inst = program.code[fragment.pc];
      uint32_t missing = lanesNeeded(warp, fragment, inst) & ~fragment.mask;
      unsigned lane = static_cast<unsigned>(__builtin_ctz(missing | 1u << 31));
      bool isBarrier = inst.control != Control::WarpSync;
      if (launch.checks(Check::Barriers))
        block.report(
            FindingKind::DivergentBarrier, inst.line,
            warp.thread(static_cast<unsigned>(__builtin_ctz(fragment.mask))), 0,
            std::string(isBarrier ? "barrier" : "warp-wide instruction") +
                " not reached by thread " + std::to_string(warp.thread(lane)) +
                " of the same warp");
      fragment.state = Fragment::Ready;
      warp.force = true;
      enter(warp, fragment);
      runFragment(warp, fragment);
      return true;
    }
  for (Warp &warp : block.warps)
    for (Fragment &fragment : warp.fragments) {
      unsigned lane = static_cast<unsigned>(__builtin_ctz(fragment.mask));
      const BarrierState &state = block.barriers[fragment.barrierId];
      uint32_t wanted = state.expected ? state.expected : block.liveThreads;
      uint32_t have = state.expected ? state.arrivedWhole : state.arrivedLive;
      block.report(FindingKind::Deadlock, program.code[fragment.pc].line,
                   warp.thread(lane), 0,
                   "barrier " + std::to_string(fragment.barrierId) +
                       " waits for " + std::to_string(wanted) +
                       " threads, but only " + std::to_string(have) +
                       " can arrive");
      launch.abort(LaunchStatus::Hung, "deadlock at a barrier");
      return false;
    }
  return false;
}

} // namespace ptxvm
