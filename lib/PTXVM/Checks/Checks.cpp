// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Bounds, alignment, lifetime, initialisation, asynchronous copies. Each lane
// is looked at on its own; a lane that fails does not touch memory.
#include "Checks.h"

#include <algorithm>
#include <cstring>

namespace ptxvm {
namespace {

bool writes(AccessKind kind) {
  return kind == AccessKind::Write || kind == AccessKind::AsyncWrite ||
         kind == AccessKind::Atomic;
}
bool reads(AccessKind kind) {
  return kind == AccessKind::Read || kind == AccessKind::AsyncRead ||
         kind == AccessKind::Atomic;
}
const char *verb(AccessKind kind) {
  switch (kind) {
  case AccessKind::Read:
    return "read";
  case AccessKind::Write:
    return "write";
  case AccessKind::Atomic:
    return "atomic access";
  case AccessKind::AsyncRead:
    return "asynchronous read";
  case AccessKind::AsyncWrite:
    return "asynchronous write";
  }
  return "access";
}
std::string describe(AccessKind kind, unsigned bytes) {
  return std::string(verb(kind)) + " of " + std::to_string(bytes) + " bytes";
}
bool allWritten(const uint8_t *shadow, unsigned bytes) {
  for (unsigned k = 0; k < bytes; ++k)
    if (!shadow[k])
      return false;
  return true;
}

} // namespace

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

//===----------------------------------------------------------------------===//
// Global memory
//===----------------------------------------------------------------------===//

bool BlockChecks::checkGlobalLane(Warp &warp, const Inst &inst, unsigned lane,
                                  unsigned bytes, AccessKind kind,
                                  const Access &where) {
  Launch &launch = *block.launch;
  uint64_t address = where.address[lane];
  const Allocation *found = &lastAllocation;
  if (address - found->address >= found->size) {
    found = launch.memory->find(address);
    if (found && !found->isFree)
      lastAllocation = *found;
  }
  bool inside = found && bytes <= found->size - (address - found->address);
  auto name = [&](const Allocation &allocation) {
    return "allocation of " + std::to_string(allocation.size) + " bytes" +
           (allocation.label.empty() ? "" : " '" + allocation.label + "'");
  };
  if (inside && found->isFree) {
    if (launch.checks(Check::Lifetime))
      block.report(FindingKind::UseAfterFree, inst.line, warp.thread(lane),
                   address,
                   describe(kind, bytes) + " in a freed " + name(*found));
    return false;
  }
  if (!inside) {
    if (!launch.checks(Check::Bounds))
      return true;
    const Allocation *near = launch.memory->nearestBelow(address);
    std::string place = near ? std::to_string(address - near->address) +
                                   " bytes after the start of an " + name(*near)
                             : "in no allocation";
    block.report(FindingKind::OutOfBounds, inst.line, warp.thread(lane),
                 address, describe(kind, bytes) + " " + place);
    return false;
  }
  uint8_t *shadow = launch.memory->writtenShadow(address);
  if (reads(kind) && launch.checks(Check::Uninitialized) && found->isTracked &&
      !allWritten(shadow, bytes)) {
    block.report(FindingKind::UninitializedRead, inst.line, warp.thread(lane),
                 address,
                 describe(kind, bytes) + " never written, " +
                     std::to_string(address - found->address) +
                     " bytes into an " + name(*found));
    std::memset(shadow, 1, bytes);
  }
  if (writes(kind))
    std::memset(shadow, 1, bytes);
  return true;
}

//===----------------------------------------------------------------------===//
// Shared and local memory
//===----------------------------------------------------------------------===//

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

std::string BlockChecks::nearestShared(uint64_t address) const {
  const SharedVariable *best = nullptr;
  for (const SharedVariable &variable : block.launch->kernelCode->shared)
    if (variable.offset <= address && (!best || variable.offset > best->offset))
      best = &variable;
  if (block.launch->dynamicShared &&
      address >= block.launch->program->dynamicSharedBase)
    return std::to_string(address - block.launch->program->dynamicSharedBase) +
           " bytes into dynamic shared memory of " +
           std::to_string(block.launch->dynamicShared) + " bytes";
  if (!best)
    return "in no shared variable";
  return std::to_string(address - best->offset) +
         " bytes after the start of shared variable '" + best->name + "' of " +
         std::to_string(best->size) + " bytes";
}

bool BlockChecks::checkSharedLane(Warp &warp, const Inst &inst, unsigned lane,
                                  unsigned bytes, AccessKind kind,
                                  uint64_t address) {
  const Launch &launch = *block.launch;
  if (!insideShared(address, bytes)) {
    if (!launch.checks(Check::Bounds))
      return true;
    block.report(FindingKind::OutOfBounds, inst.line, warp.thread(lane),
                 address, describe(kind, bytes) + " " + nearestShared(address));
    return false;
  }
  checkAsync(warp, inst, lane, bytes, kind, address);
  uint8_t *shadow = &sharedWritten[address];
  if (reads(kind) && launch.checks(Check::Uninitialized) &&
      !allWritten(shadow, bytes)) {
    block.report(
        FindingKind::UninitializedRead, inst.line, warp.thread(lane), address,
        describe(kind, bytes) + " never written, " + nearestShared(address));
    std::memset(shadow, 1, bytes);
  }
  if (writes(kind))
    std::memset(shadow, 1, bytes);
  return true;
}

bool BlockChecks::checkLocalLane(Warp &warp, const Inst &inst, unsigned lane,
                                 unsigned bytes, AccessKind kind,
                                 uint64_t address) {
  const Launch &launch = *block.launch;
  if (bytes > launch.localBytes || address > launch.localBytes - bytes) {
    if (launch.checks(Check::Bounds))
      block.report(FindingKind::OutOfBounds, inst.line, warp.thread(lane),
                   address,
                   describe(kind, bytes) + " outside local memory of " +
                       std::to_string(launch.localBytes) + " bytes");
    return !launch.checks(Check::Bounds);
  }
  uint8_t *shadow =
      &localWritten[warp.thread(lane) * launch.localBytes + address];
  // Call parameters travel through local memory without a store.
  bool isParam = static_cast<Space>(inst.space) == Space::Local &&
                 (inst.flags & memory::frameRelative);
  if (reads(kind) && !isParam && launch.checks(Check::Uninitialized) &&
      !allWritten(shadow, bytes)) {
    block.report(FindingKind::UninitializedRead, inst.line, warp.thread(lane),
                 address,
                 describe(kind, bytes) + " of local memory never written");
    std::memset(shadow, 1, bytes);
  }
  if (writes(kind))
    std::memset(shadow, 1, bytes);
  return true;
}

//===----------------------------------------------------------------------===//
// Asynchronous copies
//===----------------------------------------------------------------------===//

void BlockChecks::checkAsync(Warp &warp, const Inst &inst, unsigned lane,
                             unsigned bytes, AccessKind kind,
                             uint64_t address) {
  if (!block.launch->checks(Check::Async))
    return;
  if (!usesAsync) {
    if (kind != AccessKind::AsyncWrite)
      return;
    usesAsync = true;
    asyncMarks.assign(block.launch->sharedBytes / 4 + 8, AsyncMark());
  }
  unsigned thread = warp.thread(lane);
  for (uint64_t word = address / 4; word <= (address + bytes - 1) / 4; ++word) {
    AsyncMark &mark = asyncMarks[word];
    if (kind == AccessKind::AsyncWrite) {
      mark = {thread, asyncThreads[thread].open};
      continue;
    }
    if (mark.thread == ~0u)
      continue;
    if (mark.group > asyncThreads[mark.thread].complete)
      block.report(FindingKind::AsyncBeforeWait, inst.line, thread, address,
                   describe(kind, bytes) + " before the cp.async of thread " +
                       std::to_string(mark.thread) + " was waited for");
    mark.thread = ~0u; // arrived, or reported
  }
}

void BlockChecks::commitAsync(Warp &warp, uint32_t mask) {
  for (unsigned lane = 0; lane < warpSize; ++lane)
    if (mask >> lane & 1)
      ++asyncThreads[warp.thread(lane)].open;
}

void BlockChecks::waitAsync(Warp &warp, uint32_t mask, uint32_t pending,
                            bool all) {
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    if (!(mask >> lane & 1))
      continue;
    AsyncThread &thread = asyncThreads[warp.thread(lane)];
    if (all)
      ++thread.open; // copies not yet in a group count too
    uint32_t committed = thread.open - 1;
    uint32_t complete = committed > pending ? committed - pending : 0;
    thread.complete = std::max(thread.complete, complete);
  }
}

} // namespace ptxvm
