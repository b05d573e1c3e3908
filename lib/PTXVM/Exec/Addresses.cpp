// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Addresses of lanes, and the memory behind them (PTX ISA 9.0, section 5.1).
#include "../Checks/Checks.h"

#include <cstring>

namespace ptxvm {

Space spaceOfGeneric(uint64_t address) {
  switch (address >> 32) {
  case 1:
    return Space::Shared;
  case 2:
    return Space::Local;
  case 3:
    return Space::Param;
  default:
    return Space::Global;
  }
}

namespace {

void laneAddresses(const Warp &warp, const Inst &inst, uint64_t *address) {
  uint64_t offset = static_cast<uint64_t>(inst.imm);
  if (inst.flags & memory::frameRelative)
    offset += warp.localBase;
  if (inst.src[0] == noRef) {
    for (unsigned lane = 0; lane < warpSize; ++lane)
      address[lane] = offset;
  } else if (inst.flags & memory::narrowBase) {
    const uint32_t *base = warp.at<uint32_t>(inst.src[0]);
    for (unsigned lane = 0; lane < warpSize; ++lane)
      address[lane] = static_cast<uint32_t>(base[lane] + offset);
  } else {
    const uint64_t *base = warp.at<uint64_t>(inst.src[0]);
    for (unsigned lane = 0; lane < warpSize; ++lane)
      address[lane] = base[lane] + offset;
  }
}

struct Window {
  uint8_t *host;
  uint64_t base, size;
};

Window windowOf(Warp &warp, Space space) {
  Launch &launch = *warp.block->launch;
  switch (space) {
  case Space::Shared:
    return {warp.block->shared.data(), 0, launch.sharedBytes};
  case Space::Local:
    return {warp.block->local.data(), 0, launch.localBytes};
  case Space::Param:
    return {launch.params.data(), 0, launch.params.size()};
  default:
    return {launch.memory->host(DeviceMemory::base), DeviceMemory::base,
            launch.memory->capacity()};
  }
}

/// What happens to accesses that no check looks at: they must not leave the
/// memory of the machine, and the launch ends as it would on a device.
void rejectWild(Warp &warp, const Inst &inst, Space space, uint32_t bad,
                bool misaligned, const uint64_t *address) {
  unsigned lane = static_cast<unsigned>(__builtin_ctz(bad));
  warp.block->report(misaligned ? FindingKind::Misaligned
                                : FindingKind::OutOfBounds,
                     inst.line, warp.thread(lane), address[lane],
                     std::string(misaligned ? "misaligned " : "illegal ") +
                         std::string(nameOf(space)) + " address");
  warp.block->launch->abort(
      misaligned ? LaunchStatus::Misaligned : LaunchStatus::IllegalAddress,
      misaligned ? "misaligned address" : "illegal address");
}

uint32_t resolveSpace(Warp &warp, const Inst &inst, Space space, uint32_t mask,
                      unsigned bytes, unsigned align, AccessKind kind,
                      Access &access) {
  Block &block = *warp.block;
  if (block.checks) {
    mask = block.checks->access(warp, inst, space, mask, bytes, kind, access);
  }
  Window window = windowOf(warp, space);
  uint64_t last = window.size >= bytes ? window.size - bytes : 0;
  uint64_t worst = 0, offBits = 0;
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    uint64_t selected = mask >> lane & 1 ? ~0ull : 0;
    uint64_t offset = (access.address[lane] - window.base) & selected;
    worst |= static_cast<uint64_t>(offset > last);
    offBits |= offset;
  }
  if (worst || (offBits & (align - 1)) || window.size < bytes) {
    uint32_t outside = 0, misaligned = 0;
    for (unsigned lane = 0; lane < warpSize; ++lane) {
      uint64_t offset = access.address[lane] - window.base;
      if (!(mask >> lane & 1))
        continue;
      outside |= uint32_t(offset > last || window.size < bytes) << lane;
      misaligned |= uint32_t((offset & (align - 1)) != 0) << lane;
    }
    if (outside)
      rejectWild(warp, inst, space, outside, false, access.address);
    else if (block.launch->checks(Check::Alignment))
      rejectWild(warp, inst, space, misaligned, true, access.address);
    mask &= ~outside;
    if (kind == AccessKind::Atomic)
      mask &= ~misaligned;
  }
  // As numbers: lanes outside the mask may point anywhere.
  uint64_t shift = reinterpret_cast<uint64_t>(window.host) - window.base;
  for (unsigned lane = 0; lane < warpSize; ++lane)
    access.host[lane] =
        reinterpret_cast<uint8_t *>(access.address[lane] + shift);
  if (space == Space::Local)
    for (unsigned lane = 0; lane < warpSize; ++lane)
      access.host[lane] = reinterpret_cast<uint8_t *>(
          reinterpret_cast<uint64_t>(access.host[lane]) +
          warp.thread(lane) * block.launch->localBytes);
  return mask;
}

bool isContiguous(const Access &access, unsigned bytes) {
  uint64_t different = 0;
  for (unsigned lane = 0; lane < warpSize; ++lane)
    different |= (access.address[lane] - access.address[0]) ^ (lane * bytes);
  return different == 0;
}

} // namespace

uint32_t resolveAccess(Warp &warp, const Inst &inst, uint32_t mask,
                       unsigned bytes, unsigned align, AccessKind kind,
                       Access &access) {
  laneAddresses(warp, inst, access.address);
  Space space = static_cast<Space>(inst.space);
  access.contiguous = false;
  if (space != Space::Generic) {
    if (space == Space::Const)
      space = Space::Global;
    mask = resolveSpace(warp, inst, space, mask, bytes, align, kind, access);
    access.contiguous = mask == allLanes && space != Space::Local &&
                        isContiguous(access, bytes);
    return mask;
  }
  uint32_t done = 0, allowed = 0;
  uint64_t generic[warpSize];
  uint8_t *host[warpSize];
  std::memcpy(generic, access.address, sizeof(generic));
  while (done != mask) {
    unsigned lead = static_cast<unsigned>(__builtin_ctz(mask & ~done));
    Space group = spaceOfGeneric(generic[lead]);
    uint32_t members = 0;
    for (unsigned lane = 0; lane < warpSize; ++lane)
      if ((mask & ~done) >> lane & 1 && spaceOfGeneric(generic[lane]) == group)
        members |= 1u << lane;
    for (unsigned lane = 0; lane < warpSize; ++lane)
      access.address[lane] = group == Space::Global
                                 ? generic[lane]
                                 : generic[lane] & 0xffffffffull;
    allowed |=
        resolveSpace(warp, inst, group, members, bytes, align, kind, access);
    for (unsigned lane = 0; lane < warpSize; ++lane)
      if (members >> lane & 1)
        host[lane] = access.host[lane];
    done |= members;
  }
  std::memcpy(access.host, host, sizeof(host));
  std::memcpy(access.address, generic, sizeof(generic));
  return allowed;
}

} // namespace ptxvm
