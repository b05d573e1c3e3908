// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Loads, stores, matrix loads, asynchronous copies (PTX ISA 9.0,
// section 9.7.9).
#include "../Checks/Checks.h"

#include <cstring>
#include <xmmintrin.h>

namespace ptxvm {

namespace {

struct Bytes16 {
  uint64_t low, high;
};

template <typename T>
void load(LaneState &lanes, const Inst &inst, uint32_t mask) {
  Warp &warp = static_cast<Warp &>(lanes);
  Access access;
  uint32_t allowed = resolveAccess(warp, inst, mask, sizeof(T), sizeof(T),
                                   AccessKind::Read, access);
  T *dst = warp.at<T>(inst.dst);
  if (access.contiguous) {
    std::memcpy(dst, access.host[0], sizeof(T) * warpSize);
    return;
  }
  for (unsigned lane = 0; lane < warpSize; ++lane)
    if (allowed >> lane & 1)
      std::memcpy(&dst[lane], access.host[lane], sizeof(T));
    else if (mask >> lane & 1)
      std::memset(&dst[lane], 0, sizeof(T));
}

/// Lanes of one store may write the same bytes only if they agree: which of
/// them lasts is not specified (PTX ISA 9.0, section 8.7).
template <typename Lasts>
void checkOverlap(Warp &warp, const Inst &inst, const Access &access,
                  uint32_t allowed, Lasts lasts) {
  if (!access.overlaps)
    return;
  for (unsigned lane = 0; lane < warpSize; ++lane)
    if ((allowed >> lane & 1) && !lasts(lane))
      return warp.block->checks->lostWrite(warp, inst, lane,
                                           access.address[lane]);
}

template <typename T>
void store(LaneState &lanes, const Inst &inst, uint32_t mask) {
  Warp &warp = static_cast<Warp &>(lanes);
  Access access;
  uint32_t allowed = resolveAccess(warp, inst, mask, sizeof(T), sizeof(T),
                                   AccessKind::Write, access);
  const T *source = warp.at<T>(inst.dst);
  if (access.contiguous) {
    std::memcpy(access.host[0], source, sizeof(T) * warpSize);
    return;
  }
  for (unsigned lane = 0; lane < warpSize; ++lane)
    if (allowed >> lane & 1)
      std::memcpy(access.host[lane], &source[lane], sizeof(T));
  checkOverlap(warp, inst, access, allowed, [&](unsigned lane) {
    return std::memcmp(access.host[lane], &source[lane], sizeof(T)) == 0;
  });
}

/// Writes a memory element into a register lane, widening as the type asks.
void widenInto(uint8_t *target, unsigned targetSize, const uint8_t *source,
               unsigned size, bool isSigned) {
  uint8_t fill = isSigned && (source[size - 1] & 0x80) ? 0xff : 0;
  std::memset(target, fill, targetSize);
  std::memcpy(target, source, size);
}

/// Element `k` of every lane's vector into a register; zero where the access
/// was not allowed.
template <typename T>
void gather(uint8_t *target, const Access &access, uint32_t mask,
            uint32_t allowed, unsigned k) {
  T *dst = reinterpret_cast<T *>(target);
  for (unsigned lane = 0; lane < warpSize; ++lane)
    if (allowed >> lane & 1)
      std::memcpy(&dst[lane], access.host[lane] + k * sizeof(T), sizeof(T));
    else if (mask >> lane & 1)
      dst[lane] = 0;
}
/// Four words of every lane into four registers, four lanes at a time.
void gatherQuads(const Warp &warp, const std::vector<Ref> &list,
                 const Access &access) {
  float *dst[4];
  for (unsigned k = 0; k < 4; ++k)
    dst[k] = warp.at<float>(list[k]);
  for (unsigned lane = 0; lane < warpSize; lane += 4) {
    __m128 rows[4];
    for (unsigned k = 0; k < 4; ++k)
      rows[k] =
          _mm_loadu_ps(reinterpret_cast<const float *>(access.host[lane + k]));
    _MM_TRANSPOSE4_PS(rows[0], rows[1], rows[2], rows[3]);
    for (unsigned k = 0; k < 4; ++k)
      _mm_storeu_ps(dst[k] + lane, rows[k]);
  }
}
void gatherWidened(uint8_t *target, const Inst &inst, const Access &access,
                   uint32_t mask, uint32_t allowed, unsigned k) {
  static constexpr uint8_t zeros[32] = {};
  for (unsigned lane = 0; lane < warpSize; ++lane)
    if (mask >> lane & 1)
      widenInto(target + lane * inst.regSize, inst.regSize,
                allowed >> lane & 1 ? access.host[lane] + k * inst.size : zeros,
                inst.size, inst.flags & memory::signExtend);
}
template <typename T>
void scatter(const uint8_t *source, const Access &access, uint32_t allowed,
             unsigned k) {
  for (unsigned lane = 0; lane < warpSize; ++lane)
    if (allowed >> lane & 1)
      std::memcpy(access.host[lane] + k * sizeof(T), source + lane * sizeof(T),
                  sizeof(T));
}

} // namespace

namespace handlers {

Handler loadHandler(unsigned size) {
  switch (size) {
  case 1:
    return load<uint8_t>;
  case 2:
    return load<uint16_t>;
  case 4:
    return load<uint32_t>;
  case 8:
    return load<uint64_t>;
  case 16:
    return load<Bytes16>;
  default:
    return nullptr;
  }
}
Handler storeHandler(unsigned size) {
  switch (size) {
  case 1:
    return store<uint8_t>;
  case 2:
    return store<uint16_t>;
  case 4:
    return store<uint32_t>;
  case 8:
    return store<uint64_t>;
  case 16:
    return store<Bytes16>;
  default:
    return nullptr;
  }
}

void loadAny(LaneState &lanes, const Inst &inst, uint32_t mask) {
  Warp &warp = static_cast<Warp &>(lanes);
  Access access;
  unsigned bytes = inst.size * inst.count;
  uint32_t allowed =
      resolveAccess(warp, inst, mask, bytes, bytes, AccessKind::Read, access);
  const auto &list = warp.block->launch->program->lists[inst.ext];
  if (allowed == allLanes && inst.count == 4 && inst.size == 4 &&
      inst.regSize == 4 && list[0] != noRef && list[1] != noRef &&
      list[2] != noRef && list[3] != noRef)
    return gatherQuads(warp, list, access);
  for (unsigned k = 0; k < inst.count; ++k) {
    uint8_t *dst = warp.at<uint8_t>(list[k]);
    if (inst.regSize != inst.size)
      gatherWidened(dst, inst, access, mask, allowed, k);
    else if (inst.size == 4)
      gather<uint32_t>(dst, access, mask, allowed, k);
    else if (inst.size == 8)
      gather<uint64_t>(dst, access, mask, allowed, k);
    else if (inst.size == 2)
      gather<uint16_t>(dst, access, mask, allowed, k);
    else
      gatherWidened(dst, inst, access, mask, allowed, k);
  }
}

void storeAny(LaneState &lanes, const Inst &inst, uint32_t mask) {
  Warp &warp = static_cast<Warp &>(lanes);
  Access access;
  unsigned bytes = inst.size * inst.count;
  uint32_t allowed =
      resolveAccess(warp, inst, mask, bytes, bytes, AccessKind::Write, access);
  const auto &list = warp.block->launch->program->lists[inst.ext];
  for (unsigned k = 0; k < inst.count; ++k) {
    const uint8_t *source = warp.at<uint8_t>(list[k]);
    if (inst.size == 4 && inst.regSize == 4)
      scatter<uint32_t>(source, access, allowed, k);
    else if (inst.size == 8 && inst.regSize == 8)
      scatter<uint64_t>(source, access, allowed, k);
    else if (inst.size == 2 && inst.regSize == 2)
      scatter<uint16_t>(source, access, allowed, k);
    else
      for (unsigned lane = 0; lane < warpSize; ++lane)
        if (allowed >> lane & 1)
          std::memcpy(access.host[lane] + k * inst.size,
                      source + lane * inst.regSize, inst.size);
  }
  checkOverlap(warp, inst, access, allowed, [&](unsigned lane) {
    for (unsigned k = 0; k < inst.count; ++k)
      if (std::memcmp(access.host[lane] + k * inst.size,
                      warp.at<uint8_t>(list[k]) + lane * inst.regSize,
                      inst.size) != 0)
        return false;
    return true;
  });
}

/// Every lane gets the same value.
void loadParam(LaneState &lanes, const Inst &inst, uint32_t mask) {
  Warp &warp = static_cast<Warp &>(lanes);
  const Launch &launch = *warp.block->launch;
  const auto &list = launch.program->lists[inst.ext];
  bool isSigned = inst.flags & memory::signExtend;
  for (unsigned k = 0; k < inst.count; ++k) {
    uint64_t value = 0;
    widenInto(reinterpret_cast<uint8_t *>(&value), inst.regSize,
              launch.params.data() + inst.imm + k * inst.size, inst.size,
              isSigned);
    auto each = [=](unsigned) { return value; };
    if (inst.regSize == 4)
      perLane(warp.at<uint32_t>(list[k]), mask, each);
    else if (inst.regSize == 8)
      perLane(warp.at<uint64_t>(list[k]), mask, each);
    else
      perLane(warp.at<uint16_t>(list[k]), mask, each);
  }
}

//===----------------------------------------------------------------------===//
// ldmatrix and stmatrix: lane 8 * m + r holds the address of row r of matrix m.
//===----------------------------------------------------------------------===//

static uint32_t resolveRows(Warp &warp, const Inst &inst, AccessKind kind,
                            Access &access) {
  uint32_t rows = inst.count == 4 ? allLanes : (1u << (8 * inst.count)) - 1;
  return resolveAccess(warp, inst, rows, 16, 16, kind, access);
}

void loadMatrix(LaneState &lanes, const Inst &inst, uint32_t mask) {
  Warp &warp = static_cast<Warp &>(lanes);
  Access access;
  uint32_t allowed = resolveRows(warp, inst, AccessKind::Read, access);
  const auto &list = warp.block->launch->program->lists[inst.ext];
  bool transposed = inst.flags & matrix::transposed;
  for (unsigned m = 0; m < inst.count; ++m) {
    uint16_t tile[8][8] = {};
    for (unsigned r = 0; r < 8; ++r)
      if (allowed >> (8 * m + r) & 1)
        std::memcpy(tile[r], access.host[8 * m + r], 16);
    uint32_t *dst = warp.at<uint32_t>(list[m]);
    if (!transposed && mask == allLanes) {
      std::memcpy(dst, tile, sizeof(tile));
      continue;
    }
    perLane(dst, mask, [&](unsigned lane) {
      unsigned a = lane / 4, b = lane % 4 * 2;
      uint32_t low = transposed ? tile[b][a] : tile[a][b];
      uint32_t high = transposed ? tile[b + 1][a] : tile[a][b + 1];
      return low | high << 16;
    });
  }
}

void storeMatrix(LaneState &lanes, const Inst &inst, uint32_t) {
  Warp &warp = static_cast<Warp &>(lanes);
  Access access;
  uint32_t allowed = resolveRows(warp, inst, AccessKind::Write, access);
  const auto &list = warp.block->launch->program->lists[inst.ext];
  bool transposed = inst.flags & matrix::transposed;
  uint16_t tiles[4][8][8];
  for (unsigned m = 0; m < inst.count; ++m) {
    auto &tile = tiles[m];
    const uint32_t *source = warp.at<uint32_t>(list[m]);
    for (unsigned lane = 0; lane < warpSize; ++lane) {
      unsigned a = lane / 4, b = lane % 4 * 2;
      (transposed ? tile[b][a] : tile[a][b]) =
          static_cast<uint16_t>(source[lane]);
      (transposed ? tile[b + 1][a] : tile[a][b + 1]) =
          static_cast<uint16_t>(source[lane] >> 16);
    }
    for (unsigned r = 0; r < 8; ++r)
      if (allowed >> (8 * m + r) & 1)
        std::memcpy(access.host[8 * m + r], tile[r], 16);
  }
  checkOverlap(warp, inst, access, allowed, [&](unsigned row) {
    return std::memcmp(access.host[row], tiles[row / 8][row % 8], 16) == 0;
  });
}

//===----------------------------------------------------------------------===//
// Asynchronous copies. The bytes move at once; that they may not be looked at
// before the wait is the checks' business.
//===----------------------------------------------------------------------===//

void copyAsync(LaneState &lanes, const Inst &inst, uint32_t mask) {
  Warp &warp = static_cast<Warp &>(lanes);
  const auto &offset = warp.block->launch->program->lists[inst.ext];
  uint32_t ignored = 0;
  if (inst.src[3] != noRef)
    ignored = warp.predicate(inst.src[3]) ^ (inst.op ? allLanes : 0);
  uint32_t length[warpSize];
  uint32_t reads = 0;
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    length[lane] =
        inst.src[1] == noRef ? inst.size : warp.at<uint32_t>(inst.src[1])[lane];
    if (length[lane] > inst.size)
      length[lane] = inst.size;
    if (ignored >> lane & 1)
      length[lane] = 0;
    reads |= uint32_t(length[lane] != 0) << lane;
  }
  Inst from = inst;
  from.space = static_cast<uint8_t>(Space::Global);
  from.src[0] = inst.src[2];
  from.flags = inst.regSize;
  from.imm = static_cast<int64_t>(offset[0] | uint64_t(offset[1]) << 32);
  Access source, target;
  uint32_t canRead = 0;
  // Zero-filled tails are not read: lanes are resolved by their length.
  for (uint32_t rest = reads & mask; rest;) {
    uint32_t bytes = length[__builtin_ctz(rest)], group = 0;
    for (unsigned lane = 0; lane < warpSize; ++lane)
      if ((rest >> lane & 1) && length[lane] == bytes)
        group |= 1u << lane;
    rest &= ~group;
    Access part;
    uint32_t allowed = resolveAccess(warp, from, group, bytes, inst.size,
                                     AccessKind::AsyncRead, part);
    for (unsigned lane = 0; lane < warpSize; ++lane)
      if (allowed >> lane & 1)
        source.host[lane] = part.host[lane];
    canRead |= allowed;
  }
  uint32_t canWrite = resolveAccess(warp, inst, mask, inst.size, inst.size,
                                    AccessKind::AsyncWrite, target);
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    if (!(canWrite >> lane & 1))
      continue;
    uint8_t buffer[16] = {};
    bool isRead = canRead >> lane & 1;
    if (isRead && length[lane] == 16)
      std::memcpy(buffer, source.host[lane], 16);
    else if (isRead && length[lane] == 4)
      std::memcpy(buffer, source.host[lane], 4);
    else if (isRead)
      std::memcpy(buffer, source.host[lane], length[lane]);
    if (inst.size == 16)
      std::memcpy(target.host[lane], buffer, 16);
    else if (inst.size == 4)
      std::memcpy(target.host[lane], buffer, 4);
    else
      std::memcpy(target.host[lane], buffer, 8);
  }
}

void commitAsync(LaneState &lanes, const Inst &, uint32_t mask) {
  Warp &warp = static_cast<Warp &>(lanes);
  if (warp.block->checks)
    warp.block->checks->commitAsync(warp, mask);
}

void waitAsync(LaneState &lanes, const Inst &inst, uint32_t mask) {
  Warp &warp = static_cast<Warp &>(lanes);
  if (warp.block->checks)
    warp.block->checks->waitAsync(warp, mask, static_cast<uint32_t>(inst.imm),
                                  inst.op != 0);
}

} // namespace handlers
} // namespace ptxvm
