// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Bounds, alignment, lifetime, initialisation of one access of a warp. The
// common case is decided for all lanes at once; LaneChecks.cpp has the others.
#include "Checks.h"

#include <algorithm>
#include <cstring>

namespace ptxvm {

void BlockChecks::startBlock() {
  const Launch &launch = *block.launch;
  clocks.reset();
  hasSynchronized = false;
  sharedWritten.assign(launch.sharedBytes + 32, 0);
  localWritten.assign(launch.localBytes * block.threadCount + 32, 0);
  if (launch.checks(Check::Races) && sharedRaces.empty())
    sharedRaces.assign((launch.sharedBytes / 4 + 16) * 3, 0);
  asyncThreads.assign(block.threadCount, AsyncThread());
  if (usesAsync)
    asyncMarks.assign(launch.sharedBytes / 4 + 8, AsyncMark());
}

uint32_t BlockChecks::access(Warp &warp, const Inst &inst, Space space,
                             uint32_t mask, unsigned bytes, AccessKind kind,
                             Access &where) {
  Launch &launch = *block.launch;
  if (launch.options.profile) {
    if (space == Space::Global)
      profileGlobal(mask, bytes, kind, where);
    else if (space == Space::Shared)
      profileShared(mask, bytes, where);
  }
  if (launch.options.checks == 0 || space == Space::Param)
    return mask;
  if (passesQuickly(warp, inst, space, mask, bytes, kind, where)) {
    if (launch.checks(Check::Races) && space != Space::Local)
      races(warp, inst, space, mask, bytes, kind, where);
    return mask;
  }
  if (launch.checks(Check::Alignment)) {
    unsigned align = kind == AccessKind::AsyncRead ? inst.size : bytes;
    for (unsigned lane = 0; lane < warpSize; ++lane)
      if ((mask >> lane & 1) && (where.address[lane] & (align - 1))) {
        block.report(
            FindingKind::Misaligned, inst.line, warp.thread(lane),
            where.address[lane],
            describe(kind, bytes) + " at a " + std::string(nameOf(space)) +
                " address that is no multiple of " + std::to_string(align));
        mask &= ~(1u << lane);
      }
  }
  uint32_t allowed = 0;
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    if (!(mask >> lane & 1))
      continue;
    uint64_t address = where.address[lane];
    bool fine = space == Space::Global
                    ? checkGlobalLane(warp, inst, lane, bytes, kind, where)
                : space == Space::Shared
                    ? checkSharedLane(warp, inst, lane, bytes, kind, address)
                    : checkLocalLane(warp, inst, lane, bytes, kind, address);
    allowed |= static_cast<uint32_t>(fine) << lane;
  }
  if (launch.checks(Check::Races) && space != Space::Local && allowed)
    races(warp, inst, space, allowed, bytes, kind, where);
  return allowed;
}

//===----------------------------------------------------------------------===//
// The common case: all lanes inside one allocation or variable, aligned, and
// nothing to report. Otherwise each lane is looked at on its own.
//===----------------------------------------------------------------------===//

namespace {

template <typename T>
bool allWrittenAt(const uint8_t *shadow, uint64_t low, uint32_t mask,
                  const uint64_t *address) {
  const T written = static_cast<T>(0x0101010101010101ull);
  uint64_t missing = 0, last = ~0ull;
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    uint64_t at = address[__builtin_ctz(rest)];
    if (at == last)
      continue;
    last = at;
    T seen;
    std::memcpy(&seen, shadow + (at - low), sizeof(T));
    missing |= static_cast<uint64_t>(seen ^ written);
  }
  return missing == 0;
}

bool areWritten(const uint8_t *shadow, uint64_t low, uint32_t mask,
                const uint64_t *address, unsigned bytes) {
  switch (bytes) {
  case 1:
    return allWrittenAt<uint8_t>(shadow, low, mask, address);
  case 2:
    return allWrittenAt<uint16_t>(shadow, low, mask, address);
  case 4:
    return allWrittenAt<uint32_t>(shadow, low, mask, address);
  default:
    for (unsigned k = 0; k < bytes; k += 8)
      if (!allWrittenAt<uint64_t>(shadow + k, low, mask, address))
        return false;
    return true;
  }
}

} // namespace

bool BlockChecks::insideShared(uint64_t address, unsigned bytes) {
  if (address >= sharedBegin && address + bytes <= sharedEnd)
    return true;
  const Launch &launch = *block.launch;
  uint64_t base = launch.program->dynamicSharedBase;
  if (address >= base)
    return bytes <= launch.dynamicShared &&
           address - base <= launch.dynamicShared - bytes;
  for (const SharedVariable &variable : launch.kernelCode->shared)
    if (address - variable.offset < variable.size &&
        bytes <= variable.size - (address - variable.offset)) {
      sharedBegin = variable.offset;
      sharedEnd = variable.offset + variable.size;
      return true;
    }
  return false;
}

/// Written-shadow of [low, end) when all of it may be accessed, else null.
uint8_t *BlockChecks::shadowOf(Space space, uint64_t low, uint64_t end) {
  Launch &launch = *block.launch;
  if (space == Space::Shared)
    return insideShared(low, static_cast<unsigned>(end - low))
               ? &sharedWritten[low]
               : nullptr;
  if (low - lastAllocation.address >= lastAllocation.size) {
    const Allocation *found = launch.memory->find(low);
    if (!found || found->isFree)
      return nullptr;
    lastAllocation = *found;
  }
  return end - lastAllocation.address <= lastAllocation.size
             ? launch.memory->writtenShadow(low)
             : nullptr;
}

bool BlockChecks::passesQuickly(Warp &warp, const Inst &inst, Space space,
                                uint32_t mask, unsigned bytes, AccessKind kind,
                                const Access &where) {
  if (space == Space::Local || (bytes & (bytes - 1)))
    return false;
  Launch &launch = *block.launch;
  uint64_t low = ~0ull, high = 0, offBits = 0;
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    uint64_t address = where.address[__builtin_ctz(rest)];
    low = std::min(low, address);
    high = std::max(high, address);
    offBits |= address;
  }
  unsigned align = kind == AccessKind::AsyncRead ? inst.size : bytes;
  if ((offBits & (align - 1)) || high - low > 1 << 30)
    return false;
  uint8_t *shadow = shadowOf(space, low, high + bytes);
  if (!shadow)
    return false;
  if (reads(kind) && launch.checks(Check::Uninitialized) &&
      (space == Space::Shared || lastAllocation.isTracked) &&
      !areWritten(shadow, low, mask, where.address, bytes))
    return false;
  bool looksAtCopies =
      space == Space::Shared && (usesAsync || kind == AccessKind::AsyncWrite);
  uint64_t last = ~0ull;
  for (uint32_t rest = mask; rest && looksAtCopies; rest &= rest - 1) {
    unsigned lane = static_cast<unsigned>(__builtin_ctz(rest));
    if (where.address[lane] != last)
      checkAsync(warp, inst, lane, bytes, kind, where.address[lane]);
    last = where.address[lane];
  }
  if (writes(kind))
    for (uint32_t rest = mask; rest; rest &= rest - 1)
      std::memset(shadow + (where.address[__builtin_ctz(rest)] - low), 1,
                  bytes);
  return true;
}

} // namespace ptxvm
