// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a block knows about its memory when checks or profiling are on.
#ifndef PTXVM_CHECKS_CHECKS_H
#define PTXVM_CHECKS_CHECKS_H

#include "../Exec/State.h"

namespace ptxvm {

inline bool writes(AccessKind kind) {
  return kind == AccessKind::Write || kind == AccessKind::AsyncWrite ||
         kind == AccessKind::Atomic;
}
inline bool reads(AccessKind kind) {
  return kind == AccessKind::Read || kind == AccessKind::AsyncRead ||
         kind == AccessKind::Atomic;
}
/// "read of 4 bytes", for messages.
std::string describe(AccessKind kind, unsigned bytes);

/// Happens-before between the warps of a block: one clock per warp that ticks
/// at each barrier, and what each warp knows of the others' clocks.
struct WarpClocks {
  std::array<std::array<uint32_t, 32>, 32> known = {};
  std::array<uint32_t, 32> own = {};

  void reset() {
    own.fill(1);
    for (auto &row : known)
      row.fill(0);
  }
  void tick(unsigned warp) { ++own[warp]; }
};

class BlockChecks {
public:
  explicit BlockChecks(Block &owner) : block(owner) {}
  void startBlock();

  /// Everything about one access in one space; returns the lanes that may do
  /// it.
  uint32_t access(Warp &warp, const Inst &inst, Space space, uint32_t mask,
                  unsigned bytes, AccessKind kind, Access &where);
  /// A store's value that another lane of the same instruction replaced by a
  /// different one: `lane` wrote it at `address`.
  void lostWrite(Warp &warp, const Inst &inst, unsigned lane, uint64_t address);

  void warpBarrier(Warp &warp) { clocks.tick(warp.index); }
  void arrive(Warp &warp, BarrierState &barrier);
  void release(Warp &warp, const BarrierState &barrier);
  void commitAsync(Warp &warp, uint32_t mask);
  void waitAsync(Warp &warp, uint32_t mask, uint32_t pending, bool all);
  void fence(Warp &warp, uint32_t mask);

  WarpClocks clocks;

private:
  friend class RaceDetector;
  bool checkGlobalLane(Warp &warp, const Inst &inst, unsigned lane,
                       unsigned bytes, AccessKind kind, const Access &where);
  bool checkSharedLane(Warp &warp, const Inst &inst, unsigned lane,
                       unsigned bytes, AccessKind kind, uint64_t address);
  bool checkLocalLane(Warp &warp, const Inst &inst, unsigned lane,
                      unsigned bytes, AccessKind kind, uint64_t address);
  /// Whether there is nothing to report. Then the access is noted; otherwise
  /// nothing is.
  bool passesQuickly(Warp &warp, const Inst &inst, Space space, uint32_t mask,
                     unsigned bytes, AccessKind kind, const Access &where);
  uint8_t *shadowOf(Space space, uint64_t low, uint64_t end);
  bool insideShared(uint64_t address, unsigned bytes);
  std::string nearestShared(uint64_t address) const;
  void checkAsync(Warp &warp, const Inst &inst, unsigned lane, unsigned bytes,
                  AccessKind kind, uint64_t address);
  void races(Warp &warp, const Inst &inst, Space space, uint32_t mask,
             unsigned bytes, AccessKind kind, Access &where);
  bool orderedByFence(uint64_t other, uint32_t clock) const;
  void profileGlobal(uint32_t mask, unsigned bytes, AccessKind kind,
                     const Access &where);
  void profileShared(uint32_t mask, unsigned bytes, const Access &where);

  Block &block;
  Allocation lastAllocation;               // most lanes hit the one of before
  uint64_t sharedBegin = 0, sharedEnd = 0; // of the variable hit last
  std::vector<uint8_t> sharedWritten, localWritten;
  std::vector<uint64_t> sharedRaces; // three words per four bytes
  // Asynchronous copies: who wrote each shared byte, and in which group.
  struct AsyncMark {
    uint32_t thread = ~0u;
    uint32_t group = 0;
  };
  std::vector<AsyncMark> asyncMarks; // per four bytes
  struct AsyncThread {
    uint32_t open = 1;     // group being filled
    uint32_t complete = 0; // all groups up to this one have arrived
  };
  std::vector<AsyncThread> asyncThreads;
  bool usesAsync = false;
  bool hasSynchronized = false; // with other blocks
};

} // namespace ptxvm

#endif // PTXVM_CHECKS_CHECKS_H
