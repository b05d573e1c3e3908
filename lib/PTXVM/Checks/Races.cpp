// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Data races: two accesses to the same bytes, at least one a write, not both
// atomic, and neither ordered before the other by a barrier. Each granule
// remembers its last writer and two readers; warps carry vector clocks.
#include "Checks.h"

namespace ptxvm {
namespace {

/// Blocks are told apart modulo 2^27, clocks modulo 2^20.
constexpr uint64_t blockMask = 0x7ffffff;

/// One access to one granule in 64 bits: block 27, clock 20, thread 10, bytes
/// of the granule 4, atomic 1 (bit 2), valid 1 (bit 0).
struct Record {
  uint64_t bits = 0;

  static Record make(uint64_t block, uint32_t clock, unsigned thread,
                     unsigned bytes, bool atomic) {
    return {(block & blockMask) << 37 | uint64_t(clock & 0xfffff) << 17 |
            uint64_t(thread) << 7 | uint64_t(bytes) << 3 |
            uint64_t(atomic) << 2 | 1};
  }
  bool valid() const { return bits & 1; }
  bool atomic() const { return bits >> 2 & 1; }
  unsigned bytes() const { return bits >> 3 & 0xf; }
  unsigned thread() const { return bits >> 7 & 0x3ff; }
  uint32_t clock() const { return bits >> 17 & 0xfffff; }
  uint64_t block() const { return bits >> 37; }
  bool sameThread(Record other) const {
    return block() == other.block() && thread() == other.thread();
  }
};

} // namespace

class RaceDetector {
public:
  RaceDetector(BlockChecks &owner, Warp &current, const Inst &instruction,
               Space where)
      : checks(owner), warp(current), inst(instruction), space(where) {}

  void visit(unsigned lane, uint64_t address, unsigned bytes, AccessKind kind);

private:
  bool ordered(Record before) const;
  void conflict(Record other, bool otherWrites, bool writes, unsigned lane,
                uint64_t address);
  uint64_t *cell(uint64_t address) const;
  static Record load(uint64_t *word) {
    return {__atomic_load_n(word, __ATOMIC_RELAXED)};
  }
  static void store(uint64_t *word, Record record) {
    __atomic_store_n(word, record.bits, __ATOMIC_RELAXED);
  }

  BlockChecks &checks;
  Warp &warp;
  const Inst &inst;
  Space space;
};

uint64_t *RaceDetector::cell(uint64_t address) const {
  if (space == Space::Shared)
    return &checks.sharedRaces[address / 4 * 3];
  return checks.block.launch->memory->raceShadow(address);
}

bool RaceDetector::ordered(Record before) const {
  if (!before.valid())
    return true;
  if (before.block() != (checks.block.index & blockMask))
    return checks.orderedByFence(before.block(), before.clock());
  unsigned other = before.thread() / warpSize;
  const WarpClocks &clocks = checks.clocks;
  if (other == warp.index)
    return before.clock() < (clocks.own[warp.index] & 0xfffff);
  return before.clock() <= (clocks.known[warp.index][other] & 0xfffff);
}

void RaceDetector::conflict(Record other, bool otherWrites, bool isWrite,
                            unsigned lane, uint64_t address) {
  Block &block = checks.block;
  bool foreign = other.block() != (block.index & blockMask);
  std::string who =
      "thread " + std::to_string(other.thread()) +
      (foreign ? " of block " + std::to_string(other.block()) : "");
  block.report(space == Space::Shared ? FindingKind::SharedRace
                                      : FindingKind::GlobalRace,
               inst.line, warp.thread(lane), address,
               std::string(isWrite ? "write" : "read") + " races with a " +
                   (otherWrites ? "write" : "read") + " by " + who);
}

void RaceDetector::visit(unsigned lane, uint64_t address, unsigned bytes,
                         AccessKind kind) {
  bool atomic = kind == AccessKind::Atomic || (inst.flags & memory::strong &&
                                               kind != AccessKind::AsyncWrite &&
                                               kind != AccessKind::AsyncRead);
  bool isWrite = kind == AccessKind::Write || kind == AccessKind::AsyncWrite ||
                 kind == AccessKind::Atomic;
  constexpr unsigned granule = 4;
  for (uint64_t at = address / granule * granule; at < address + bytes;
       at += granule) {
    unsigned touched = 0;
    for (unsigned k = 0; k < granule; ++k)
      touched |= unsigned(at + k >= address && at + k < address + bytes) << k;
    Record self =
        Record::make(checks.block.index, checks.clocks.own[warp.index],
                     warp.thread(lane), touched, atomic);
    uint64_t *words = cell(at);
    auto races = [&](Record other) {
      return other.valid() && (other.bytes() & touched) &&
             !other.sameThread(self) && !(atomic && other.atomic()) &&
             !ordered(other);
    };
    if (isWrite) {
      Record writer{
          __atomic_exchange_n(&words[0], self.bits, __ATOMIC_RELAXED)};
      if (races(writer))
        conflict(writer, true, true, lane, address);
      for (unsigned k = 1; k < 3; ++k)
        if (races(load(&words[k])))
          conflict(load(&words[k]), false, true, lane, address);
      continue;
    }
    Record writer = load(&words[0]);
    if (races(writer))
      conflict(writer, true, false, lane, address);
    Record first = load(&words[1]);
    if (!first.valid() || first.sameThread(self) || ordered(first))
      store(&words[1], self);
    else
      store(&words[2], self);
  }
}

void BlockChecks::races(Warp &warp, const Inst &inst, Space space,
                        uint32_t mask, unsigned bytes, AccessKind kind,
                        const Access &where) {
  RaceDetector detector(*this, warp, inst, space);
  if (space == Space::Global)
    hasSynchronized |=
        (inst.flags & memory::strong) != 0 && kind != AccessKind::AsyncRead;
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    if (!(mask >> lane & 1))
      continue;
    uint64_t address = where.address[lane];
    bool inside = space == Space::Shared
                      ? address + bytes <= block.launch->sharedBytes
                      : block.launch->memory->inRange(address, bytes);
    if (inside)
      detector.visit(lane, address, bytes, kind);
  }
}

void BlockChecks::arrive(Warp &warp, BarrierState &barrier) {
  for (unsigned k = 0; k < 32; ++k)
    barrier.clocks[k] =
        std::max(barrier.clocks[k], clocks.known[warp.index][k]);
  barrier.clocks[warp.index] =
      std::max(barrier.clocks[warp.index], clocks.own[warp.index]);
  clocks.tick(warp.index);
}

void BlockChecks::release(Warp &warp, const BarrierState &barrier) {
  for (unsigned k = 0; k < 32; ++k)
    clocks.known[warp.index][k] =
        std::max(clocks.known[warp.index][k], barrier.clocks[k]);
}

/// A fence publishes what the block did so far. A block that has taken part in
/// an atomic or strong access since is taken to have seen it: this accepts
/// semaphores and flags between blocks, and may miss a race beside them.
void BlockChecks::fence(Warp &warp, uint32_t) {
  auto &published = block.launch->fenceClocks;
  if (block.index < published.size())
    published[block.index] = clocks.own[warp.index];
}

bool BlockChecks::orderedByFence(uint64_t other, uint32_t clock) const {
  const auto &published = block.launch->fenceClocks;
  return hasSynchronized && other < published.size() &&
         published[other] >= clock;
}

} // namespace ptxvm
