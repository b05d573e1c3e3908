// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Bounds, lifetime and initialisation of one lane's access, and what is said of
// it. A lane that fails does not touch memory.
#include "Checks.h"

#include <cstring>

namespace ptxvm {

namespace {

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
bool allWritten(const uint8_t *shadow, unsigned bytes) {
  for (unsigned k = 0; k < bytes; ++k)
    if (!shadow[k])
      return false;
  return true;
}

} // namespace

std::string describe(AccessKind kind, unsigned bytes) {
  return std::string(verb(kind)) + " of " + std::to_string(bytes) + " bytes";
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

} // namespace ptxvm
