// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Decoded instructions and the register view they act on: 32 lanes of every
// register side by side. Included by code compiled once per instruction set, so
// nothing here may instantiate library templates.
#ifndef PTXVM_EXEC_LANES_H
#define PTXVM_EXEC_LANES_H

#include <cstdint>
#include <cstring>

namespace ptxvm {

inline constexpr unsigned warpSize = 32;
inline constexpr uint32_t allLanes = 0xffffffffu;

/// A place in one of the three register files: two bits file, thirty offset.
using Ref = uint32_t;
enum class File : uint32_t { Frame = 0, Constant = 1, Special = 2 };
constexpr Ref makeRef(File file, uint32_t offset) {
  return static_cast<uint32_t>(file) << 30 | offset;
}
inline constexpr Ref noRef = ~0u;

/// What every handler sees of a warp.
struct LaneState {
  uint8_t *files[3] = {nullptr, nullptr, nullptr};

  template <typename T> T *at(Ref ref) const {
    return reinterpret_cast<T *>(files[ref >> 30] + (ref & 0x3fffffffu));
  }
  uint32_t &predicate(Ref ref) const { return *at<uint32_t>(ref); }
};

enum class Control : uint8_t {
  None,
  Branch,
  BranchIndexed,
  Call,
  Return,
  Exit,
  Trap,
  Barrier, // bar/barrier sync and red
  BarrierArrive,
  WarpSync // needs all lanes of its member mask; then runs as an ordinary one
};

enum class Rounding : uint8_t { Nearest, Zero, Down, Up };

struct Inst;
using Handler = void (*)(LaneState &lanes, const Inst &inst, uint32_t mask);

struct Inst {
  Handler run = nullptr;
  Handler inner = nullptr; // run under a floating-point mode by `run`
  Ref guard = 0;
  uint32_t guardInvert = 0; // all ones for @!p
  Ref dst = noRef, dst2 = noRef;
  Ref src[4] = {noRef, noRef, noRef, noRef};
  int64_t imm = 0;
  uint32_t ext = 0; // index into Program tables, by instruction
  uint32_t line = 0;
  Control control = Control::None;
  bool leader = false; // first instruction of a basic block
  Rounding rounding = Rounding::Nearest;
  bool flush = false;  // .ftz
  uint8_t klass = 0;   // InstructionClass
  uint8_t count = 1;   // vector elements or matrices
  uint8_t size = 0;    // bytes per element in memory
  uint8_t regSize = 0; // bytes per element in registers
  uint8_t space = 0;   // Space
  uint8_t flags = 0;   // by instruction
  uint8_t op = 0;      // by instruction
  uint8_t sourceCount = 0;
  uint32_t flops = 0; // per active thread; mma: per warp
};

/// Before a loop over the lanes: no lane depends on another (a register
/// overlaps another only as a whole), and Clang makes vectors of the loop
/// rather than 32 scalar copies of its body.
#ifdef __clang__
#define PTXVM_LANES                                                            \
  _Pragma("clang loop vectorize(assume_safety) unroll(disable)")
#else
#define PTXVM_LANES _Pragma("GCC ivdep")
#endif

/// Applies `compute` to every lane and keeps inactive lanes as they were.
/// Destination and sources may be the same register: lane by lane is safe.
template <typename T, typename Fn>
inline __attribute__((always_inline)) void perLane(T *dst, uint32_t mask,
                                                   Fn compute) {
  if (mask == allLanes) {
    PTXVM_LANES
    for (unsigned lane = 0; lane < warpSize; ++lane)
      dst[lane] = compute(lane);
    return;
  }
  T fresh[warpSize];
  PTXVM_LANES
  for (unsigned lane = 0; lane < warpSize; ++lane)
    fresh[lane] = compute(lane);
  PTXVM_LANES
  for (unsigned lane = 0; lane < warpSize; ++lane)
    dst[lane] = (mask >> lane & 1) ? fresh[lane] : dst[lane];
}

/// The lanes where `test` holds, merged under the mask into a predicate.
template <typename Fn>
inline __attribute__((always_inline)) uint32_t gatherPredicate(Fn test) {
  uint32_t bits = 0;
  PTXVM_LANES
  for (unsigned lane = 0; lane < warpSize; ++lane)
    bits |= static_cast<uint32_t>(test(lane) ? 1u : 0u) << lane;
  return bits;
}

inline void mergePredicate(uint32_t &dst, uint32_t mask, uint32_t bits) {
  dst = (dst & ~mask) | (bits & mask);
}

} // namespace ptxvm

#endif // PTXVM_EXEC_LANES_H
