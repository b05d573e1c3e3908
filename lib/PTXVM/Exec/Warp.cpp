// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Instructions between lanes (PTX ISA 9.0, section 9.7.9 and 9.7.13) and small
// ones about the machine.
#include "../Checks/Checks.h"

namespace ptxvm::handlers {

void nothing(LaneState &, const Inst &, uint32_t) {}

void localAddress(LaneState &lanes, const Inst &inst, uint32_t mask) {
  Warp &warp = static_cast<Warp &>(lanes);
  uint64_t address = warp.localBase + static_cast<uint64_t>(inst.imm);
  perLane(warp.at<uint64_t>(inst.dst), mask, [=](unsigned) { return address; });
}

void readTimer(LaneState &lanes, const Inst &inst, uint32_t mask) {
  Warp &warp = static_cast<Warp &>(lanes);
  auto elapsed = std::chrono::steady_clock::now() - warp.block->launch->start;
  uint64_t nanoseconds = static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(elapsed).count());
  uint64_t value = nanoseconds;
  switch (static_cast<Special>(inst.op)) {
  case Special::ClockHi:
  case Special::GlobalTimerHi:
    value >>= 32;
    break;
  default:
    break;
  }
  if (inst.size == 8)
    perLane(warp.at<uint64_t>(inst.dst), mask, [=](unsigned) { return value; });
  else
    perLane(warp.at<uint32_t>(inst.dst), mask,
            [=](unsigned) { return static_cast<uint32_t>(value); });
}

void isSpace(LaneState &lanes, const Inst &inst, uint32_t mask) {
  const uint64_t *address = lanes.at<uint64_t>(inst.src[0]);
  uint64_t window = 0;
  switch (static_cast<Space>(inst.space)) {
  case Space::Shared:
    window = 1;
    break;
  case Space::Local:
    window = 2;
    break;
  case Space::Param:
    window = 3;
    break;
  default:
    break;
  }
  mergePredicate(
      lanes.predicate(inst.dst), mask, gatherPredicate([=](unsigned l) {
        uint64_t high = address[l] >> 32;
        return window ? high == window : address[l] >= DeviceMemory::base;
      }));
}

void shuffle(LaneState &lanes, const Inst &inst, uint32_t mask) {
  uint32_t *dst = lanes.at<uint32_t>(inst.dst);
  const uint32_t *value = lanes.at<uint32_t>(inst.src[0]);
  const uint32_t *b = lanes.at<uint32_t>(inst.src[2]);
  const uint32_t *c = lanes.at<uint32_t>(inst.src[3]);
  ShuffleMode mode = static_cast<ShuffleMode>(inst.op);
  uint32_t before[warpSize], inRange = 0;
  std::memcpy(before, value, sizeof(before));
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    if (!(mask >> lane & 1))
      continue;
    uint32_t amount = b[lane] & 0x1f, clamp = c[lane] & 0x1f;
    uint32_t segment = c[lane] >> 8 & 0x1f;
    uint32_t maxLane = (lane & segment) | (clamp & ~segment);
    uint32_t minLane = lane & segment;
    int64_t from = 0;
    bool valid = false;
    switch (mode) {
    case ShuffleMode::Up:
      from = static_cast<int64_t>(lane) - amount;
      valid = from >= static_cast<int64_t>(maxLane);
      break;
    case ShuffleMode::Down:
      from = lane + amount;
      valid = from <= maxLane;
      break;
    case ShuffleMode::Butterfly:
      from = lane ^ amount;
      valid = from <= maxLane;
      break;
    case ShuffleMode::Index:
      from = minLane | (amount & ~segment);
      valid = from <= maxLane;
      break;
    }
    dst[lane] = before[valid ? from : lane];
    inRange |= static_cast<uint32_t>(valid) << lane;
  }
  if (inst.dst2 != noRef)
    mergePredicate(lanes.predicate(inst.dst2), mask, inRange);
}

void vote(LaneState &lanes, const Inst &inst, uint32_t mask) {
  uint32_t given =
      lanes.predicate(inst.src[0]) ^ static_cast<uint32_t>(inst.imm);
  const uint32_t *members = lanes.at<uint32_t>(inst.src[1]);
  uint32_t result = 0;
  uint32_t ballot[warpSize];
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    uint32_t group = members[lane] & mask, yes = given & group;
    ballot[lane] = yes;
    bool holds = false;
    switch (static_cast<VoteMode>(inst.op)) {
    case VoteMode::All:
      holds = yes == group;
      break;
    case VoteMode::Any:
      holds = yes != 0;
      break;
    case VoteMode::Uniform:
      holds = yes == group || yes == 0;
      break;
    case VoteMode::Ballot:
      break;
    }
    result |= static_cast<uint32_t>(holds) << lane;
  }
  if (static_cast<VoteMode>(inst.op) == VoteMode::Ballot)
    perLane(lanes.at<uint32_t>(inst.dst), mask,
            [&](unsigned lane) { return ballot[lane]; });
  else
    mergePredicate(lanes.predicate(inst.dst), mask, result);
}

static uint64_t laneValue(const LaneState &lanes, const Inst &inst,
                          unsigned lane) {
  return inst.size == 8 ? lanes.at<uint64_t>(inst.src[0])[lane]
                        : lanes.at<uint32_t>(inst.src[0])[lane];
}

void matchAny(LaneState &lanes, const Inst &inst, uint32_t mask) {
  const uint32_t *members = lanes.at<uint32_t>(inst.src[1]);
  uint32_t equal[warpSize] = {};
  for (unsigned lane = 0; lane < warpSize; ++lane)
    for (unsigned other = 0; other < warpSize; ++other)
      if ((members[lane] & mask) >> other & 1 &&
          laneValue(lanes, inst, lane) == laneValue(lanes, inst, other))
        equal[lane] |= 1u << other;
  perLane(lanes.at<uint32_t>(inst.dst), mask,
          [&](unsigned lane) { return equal[lane]; });
}

void matchAll(LaneState &lanes, const Inst &inst, uint32_t mask) {
  const uint32_t *members = lanes.at<uint32_t>(inst.src[1]);
  uint32_t result[warpSize], same = 0;
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    uint32_t group = members[lane] & mask;
    bool all = true;
    for (unsigned other = 0; other < warpSize; ++other)
      if (group >> other & 1)
        all &= laneValue(lanes, inst, lane) == laneValue(lanes, inst, other);
    result[lane] = all ? group : 0;
    same |= static_cast<uint32_t>(all) << lane;
  }
  perLane(lanes.at<uint32_t>(inst.dst), mask,
          [&](unsigned lane) { return result[lane]; });
  if (inst.dst2 != noRef)
    mergePredicate(lanes.predicate(inst.dst2), mask, same);
}

void activeMask(LaneState &lanes, const Inst &inst, uint32_t mask) {
  perLane(lanes.at<uint32_t>(inst.dst), mask, [=](unsigned) { return mask; });
}

static uint32_t combine(AtomicOp op, bool isSigned, uint32_t a, uint32_t b) {
  bool below =
      isSigned ? static_cast<int32_t>(a) < static_cast<int32_t>(b) : a < b;
  switch (op) {
  case AtomicOp::Add:
    return a + b;
  case AtomicOp::Min:
    return below ? a : b;
  case AtomicOp::Max:
    return below ? b : a;
  case AtomicOp::And:
    return a & b;
  case AtomicOp::Or:
    return a | b;
  default:
    return a ^ b;
  }
}

void reduce(LaneState &lanes, const Inst &inst, uint32_t mask) {
  const uint32_t *value = lanes.at<uint32_t>(inst.src[0]);
  const uint32_t *members = lanes.at<uint32_t>(inst.src[1]);
  uint32_t result[warpSize] = {};
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    bool first = true;
    for (unsigned other = 0; other < warpSize; ++other) {
      if (!((members[lane] & mask) >> other & 1))
        continue;
      result[lane] = first
                         ? value[other]
                         : combine(static_cast<AtomicOp>(inst.op),
                                   inst.flags != 0, result[lane], value[other]);
      first = false;
    }
  }
  perLane(lanes.at<uint32_t>(inst.dst), mask,
          [&](unsigned lane) { return result[lane]; });
}

void elect(LaneState &lanes, const Inst &inst, uint32_t mask) {
  const uint32_t *members = lanes.at<uint32_t>(inst.src[1]);
  uint32_t leader[warpSize], isLeader = 0;
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    uint32_t group = members[lane] & mask;
    leader[lane] = group ? static_cast<uint32_t>(__builtin_ctz(group)) : 0;
    isLeader |= static_cast<uint32_t>(leader[lane] == lane) << lane;
  }
  perLane(lanes.at<uint32_t>(inst.dst), mask,
          [&](unsigned lane) { return leader[lane]; });
  mergePredicate(lanes.predicate(inst.dst2), mask, isLeader);
}

void warpBarrier(LaneState &lanes, const Inst &, uint32_t) {
  Warp &warp = static_cast<Warp &>(lanes);
  if (warp.block->checks)
    warp.block->checks->warpBarrier(warp);
}

void fence(LaneState &lanes, const Inst &, uint32_t mask) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  Warp &warp = static_cast<Warp &>(lanes);
  if (warp.block->checks)
    warp.block->checks->fence(warp, mask);
}

} // namespace ptxvm::handlers
