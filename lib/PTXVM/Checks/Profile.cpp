// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Memory traffic of one access: sectors of global memory, banks of shared.
#include "Checks.h"

#include <algorithm>

namespace ptxvm {

void BlockChecks::profileGlobal(uint32_t mask, unsigned bytes, AccessKind kind,
                                const Access &where) {
  constexpr uint64_t sectorBytes = 32;
  Counters &counters = *block.counters;
  uint64_t addresses[warpSize];
  unsigned count = 0;
  DeviceMemory &memory = *block.launch->memory;
  bool reads = kind != AccessKind::Write && kind != AccessKind::AsyncWrite;
  bool writes = !reads || kind == AccessKind::Atomic;
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    uint64_t address = where.address[lane];
    if (!(mask >> lane & 1) || !memory.inRange(address, bytes))
      continue;
    addresses[count++] = address;
    uint8_t flags = static_cast<uint8_t>((reads ? 1 : 0) | (writes ? 2 : 0));
    uint8_t *touched = memory.touchedShadow(address);
    for (unsigned k = 0; k < bytes; ++k)
      if ((touched[k] & flags) != flags)
        __atomic_fetch_or(&touched[k], flags, __ATOMIC_RELAXED);
  }
  (reads ? counters.globalBytesRead : counters.globalBytesWritten) +=
      uint64_t(count) * bytes;
  if (kind == AccessKind::Atomic)
    counters.globalBytesWritten += uint64_t(count) * bytes;
  if (!std::is_sorted(addresses, addresses + count))
    std::sort(addresses, addresses + count);
  uint64_t sectors = 0, distinct = 0, end = 0, nextSector = 0;
  for (unsigned k = 0; k < count; ++k) {
    uint64_t begin = addresses[k], stop = begin + bytes;
    if (stop > end)
      distinct += stop - std::max(begin, end);
    end = std::max(end, stop);
    uint64_t first = std::max(begin / sectorBytes, nextSector);
    uint64_t last = (stop - 1) / sectorBytes;
    if (last + 1 > first)
      sectors += last + 1 - first;
    nextSector = std::max(nextSector, last + 1);
  }
  counters.globalSectors += sectors;
  counters.globalSectorsIdeal += (distinct + sectorBytes - 1) / sectorBytes;
}

/// Four-byte accesses of a warp go together, eight-byte ones by half warps,
/// sixteen-byte ones by quarters; each pass serves one word per bank.
void BlockChecks::profileShared(uint32_t mask, unsigned bytes,
                                const Access &where) {
  Counters &counters = *block.counters;
  unsigned group = bytes <= 4 ? 32 : bytes == 8 ? 16 : 8;
  for (unsigned first = 0; first < warpSize; first += group) {
    uint64_t words[warpSize];
    unsigned count = 0;
    for (unsigned lane = first; lane < first + group; ++lane)
      if (mask >> lane & 1)
        for (unsigned k = 0; k < bytes; k += 4)
          if (count < warpSize)
            words[count++] = where.address[lane] / 4 + k / 4;
    if (count == 0)
      continue;
    std::sort(words, words + count);
    count = static_cast<unsigned>(std::unique(words, words + count) - words);
    unsigned perBank[32] = {}, worst = 0;
    for (unsigned k = 0; k < count; ++k)
      worst = std::max(worst, ++perBank[words[k] % 32]);
    counters.sharedWavefronts += worst;
    counters.sharedWavefrontsIdeal += 1;
  }
}

} // namespace ptxvm
