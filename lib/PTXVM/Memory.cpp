// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/PTXVM/Memory.h"

#include <algorithm>
#include <cstring>
#include <sys/mman.h>

namespace ptxvm {
namespace {

/// The bytes of an allocation and the red zone behind it.
uint64_t spanOf(uint64_t size) {
  return alignUp(size, DeviceMemory::granularity) + DeviceMemory::granularity;
}

/// The most bytes that lie in front of an allocation to give it an alignment.
uint64_t longestLead(uint64_t align) {
  return 2 * align <= DeviceMemory::granularity ? align : 3 * align;
}

} // namespace

uint8_t *DeviceMemory::reserve(uint64_t size) {
  void *range = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return range == MAP_FAILED ? nullptr : static_cast<uint8_t *>(range);
}

DeviceMemory::DeviceMemory(uint64_t capacity) {
  // Slack behind the end: a vector access may start on the last byte.
  for (reserved = alignUp(capacity, 1 << 20); reserved >= 1 << 20;
       reserved /= 2) {
    bytes = reserve(reserved + 4096);
    written = bytes ? reserve(reserved + 4096) : nullptr;
    if (written)
      return;
    if (bytes)
      munmap(bytes, reserved + 4096);
  }
  bytes = nullptr;
  reserved = 0;
}

DeviceMemory::~DeviceMemory() {
  for (uint8_t *range : {bytes, written, touched})
    if (range)
      munmap(range, reserved + 4096);
  if (races)
    munmap(races, reserved * 6 + 4096);
}

uint64_t DeviceMemory::available() const {
  std::lock_guard<std::mutex> lock(guard);
  return reserved - used;
}

uint64_t DeviceMemory::takeFresh(uint64_t span) {
  if (span > reserved - (top - base))
    return 0;
  uint64_t address = top;
  top += span;
  return address;
}

uint64_t DeviceMemory::takeFreed(uint64_t span) {
  // Neighbouring freed ranges join; the first run that is long enough serves.
  for (auto first = allocations.begin(); first != allocations.end();) {
    if (!first->second.isFree) {
      ++first;
      continue;
    }
    auto last = first;
    while (last != allocations.end() && last->second.isFree)
      ++last;
    uint64_t begin = first->first - first->second.lead;
    uint64_t end =
        last == allocations.end() ? top : last->first - last->second.lead;
    if (end - begin >= span) {
      allocations.erase(first, last);
      std::memset(written + (begin - base), 0, span);
      if (end - begin > span) {
        Allocation rest;
        rest.address = begin + span;
        rest.size = end - begin - span;
        rest.isFree = true;
        allocations.emplace(rest.address, rest);
      }
      return begin;
    }
    first = last;
  }
  return 0;
}

uint64_t DeviceMemory::allocate(uint64_t size, std::string label,
                                uint64_t align) {
  if (size == 0 || size > reserved)
    return 0;
  std::lock_guard<std::mutex> lock(guard);
  uint64_t span = spanOf(longestLead(align) + size);
  uint64_t start = takeFresh(span);
  if (start == 0)
    start = takeFreed(span);
  if (start == 0)
    return 0;
  Allocation allocation;
  allocation.address = align ? alignNoMore(start, align) : start;
  allocation.size = size;
  allocation.lead = allocation.address - start;
  allocation.label = std::move(label);
  used += spanOf(allocation.lead + size);
  return allocations.insert_or_assign(allocation.address, allocation)
      .first->first;
}

bool DeviceMemory::release(uint64_t address) {
  std::lock_guard<std::mutex> lock(guard);
  auto found = allocations.find(address);
  if (found == allocations.end() || found->second.isFree)
    return false;
  found->second.isFree = true;
  used -= spanOf(found->second.lead + found->second.size);
  giveBack(address, found->second.size);
  return true;
}

/// Whole pages of freed memory go back to the system and read as zero from
/// then on.
void DeviceMemory::giveBack(uint64_t address, uint64_t size) {
  constexpr uint64_t page = 4096;
  uint64_t first = alignUp(address - base, page);
  uint64_t last = (address - base + size) / page * page;
  if (last <= first)
    return;
  for (uint8_t *range : {bytes, written})
    madvise(range + first, last - first, MADV_DONTNEED);
}

const Allocation *DeviceMemory::nearestBelow(uint64_t address) const {
  auto after = allocations.upper_bound(address);
  return after == allocations.begin() ? nullptr : &std::prev(after)->second;
}

const Allocation *DeviceMemory::find(uint64_t address) const {
  const Allocation *candidate = nearestBelow(address);
  bool inside = candidate && address - candidate->address < candidate->size;
  return inside ? candidate : nullptr;
}

uint8_t *DeviceMemory::view(uint64_t address, uint64_t size) {
  std::lock_guard<std::mutex> lock(guard);
  const Allocation *allocation = find(address);
  if (!allocation || allocation->isFree ||
      size > allocation->size - (address - allocation->address))
    return nullptr;
  return host(address);
}

bool DeviceMemory::write(uint64_t address, const void *source, uint64_t size) {
  if (size == 0)
    return true;
  uint8_t *target = view(address, size);
  if (!target)
    return false;
  std::memcpy(target, source, size);
  markInitialized(address, size);
  return true;
}

bool DeviceMemory::read(uint64_t address, void *target, uint64_t size) {
  if (size == 0)
    return true;
  uint8_t *source = view(address, size);
  if (source)
    std::memcpy(target, source, size);
  return source != nullptr;
}

bool DeviceMemory::copy(uint64_t target, uint64_t source, uint64_t size) {
  if (size == 0)
    return true;
  uint8_t *from = view(source, size), *to = view(target, size);
  if (!from || !to)
    return false;
  std::memmove(to, from, size);
  // What was never written stays unwritten in the copy.
  std::memmove(writtenShadow(target), writtenShadow(source), size);
  return true;
}

void DeviceMemory::markInitialized(uint64_t address, uint64_t size) {
  std::memset(writtenShadow(address), 1, size);
}

uint8_t *DeviceMemory::touchedShadow(uint64_t address) {
  return touched + (address - base);
}

uint64_t *DeviceMemory::raceShadow(uint64_t address) {
  return reinterpret_cast<uint64_t *>(races + (address - base) / 4 * 24);
}

bool DeviceMemory::beginLaunch(bool needsTouched, bool needsRaces) {
  uint64_t inUse = alignUp(top - base, 4096);
  if (needsTouched && !touched)
    touched = reserve(reserved + 4096);
  else if (needsTouched)
    madvise(touched, inUse, MADV_DONTNEED);
  if (needsRaces && !races)
    races = reserve(reserved * 6 + 4096);
  // Records of the race check name their launch, modulo the width they have
  // for it.
  if (needsRaces && ++epoch == epochs) {
    madvise(races, inUse * 6, MADV_DONTNEED);
    epoch = 0;
  }
  return (!needsTouched || touched) && (!needsRaces || races);
}

void DeviceMemory::stopTracking() {
  std::lock_guard<std::mutex> lock(guard);
  for (auto &[address, allocation] : allocations)
    allocation.isTracked = false;
}

} // namespace ptxvm
