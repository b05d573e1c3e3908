// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Data races: two accesses to the same bytes, at least one a write, not both
// atomic, and neither ordered before the other by a barrier. Each granule
// remembers its last writer and two readers; warps carry vector clocks.
#include "Checks.h"

namespace ptxvm {
namespace {

/// One access to one granule in 64 bits: epoch of the launch 6, block 21, clock
/// 20, thread 10, bytes of the granule 4, atomic 1 (bit 2), valid 1 (bit 0).
/// Blocks and clocks are told apart modulo their width.
constexpr uint64_t blockMask = 0x1fffff, clockMask = 0xfffff;
constexpr uint64_t granule = 4;

struct Record {
  uint64_t bits = 0;

  bool valid() const { return bits & 1; }
  bool atomic() const { return bits >> 2 & 1; }
  unsigned bytes() const { return bits >> 3 & 0xf; }
  unsigned thread() const { return bits >> 7 & 0x3ff; }
  uint32_t clock() const { return bits >> 17 & clockMask; }
  uint64_t block() const { return bits >> 37 & blockMask; }
  uint64_t epoch() const { return bits >> 58; }
  /// Neither block nor launch tell them apart.
  bool sameBlock(Record other) const { return (bits ^ other.bits) >> 37 == 0; }
  bool sameThread(Record other) const {
    return sameBlock(other) && thread() == other.thread();
  }
};

} // namespace

class RaceDetector {
public:
  RaceDetector(BlockChecks &owner, Warp &current, const Inst &instruction,
               Space where, bool atomicAccess)
      : checks(owner), warp(current), inst(instruction), space(where),
        isAtomic(atomicAccess), known(owner.clocks.known[current.index].data()),
        ownClock(owner.clocks.own[current.index] & clockMask) {
    const Launch &launch = *owner.block.launch;
    isAlone = space == Space::Shared || launch.workers == 1;
    base = launch.memory->launchEpoch() << 58 |
           (owner.block.index & blockMask) << 37 | uint64_t(ownClock) << 17 |
           uint64_t(isAtomic) << 2 | 1;
  }

  void read(unsigned lane, uint64_t address, unsigned bytes);
  void write(unsigned lane, uint64_t address, unsigned bytes);

  /// Lanes of one store that write the same bytes: no race while they agree,
  /// which the store sees once it is done.
  void allowOverlap(uint32_t lanes, Access &where) {
    storing = lanes;
    store = &where;
  }

private:
  Record self(unsigned lane, uint64_t at, uint64_t address,
              unsigned bytes) const {
    unsigned touched = 0xf;
    if (at < address || at + granule > address + bytes) {
      touched = 0;
      for (unsigned k = 0; k < granule; ++k)
        touched |= unsigned(at + k >= address && at + k < address + bytes) << k;
    }
    return {base | uint64_t(warp.thread(lane)) << 7 | uint64_t(touched) << 3};
  }
  uint64_t *cell(uint64_t address) const {
    return space == Space::Shared
               ? &checks.sharedRaces[address / granule * 3]
               : checks.block.launch->memory->raceShadow(address);
  }
  bool ordered(Record before) const {
    if (!before.valid())
      return true;
    if (!before.sameBlock({base}))
      return orderedElsewhere(before);
    unsigned other = before.thread() / warpSize;
    return other == warp.index ? before.clock() < ownClock
                               : before.clock() <= (known[other] & clockMask);
  }
  bool orderedElsewhere(Record before) const;
  bool races(Record before, Record now) const {
    return (before.bits & now.bits & 0x78) && !before.sameThread(now) &&
           !(isAtomic && before.atomic()) && !ordered(before);
  }
  /// The record is of a lane before this one, of the same store.
  bool sameStore(Record writer, unsigned lane, uint64_t at,
                 unsigned bytes) const {
    unsigned other = writer.thread() % warpSize;
    return store && writer.sameBlock({base}) && writer.clock() == ownClock &&
           writer.thread() / warpSize == warp.index && other < lane &&
           (storing >> other & 1) && store->address[other] < at + granule &&
           store->address[other] + bytes > at;
  }
  void conflict(Record other, bool otherWrites, bool writes, unsigned lane,
                uint64_t address);
  static Record recall(uint64_t *word) {
    return {__atomic_load_n(word, __ATOMIC_RELAXED)};
  }
  static void remember(uint64_t *word, Record record) {
    __atomic_store_n(word, record.bits, __ATOMIC_RELAXED);
  }

  BlockChecks &checks;
  Warp &warp;
  const Inst &inst;
  Space space;
  bool isAtomic;
  bool isAlone; // no other host thread looks at the cells
  const uint32_t *known;
  uint32_t ownClock;
  uint64_t base = 0; // of the records of this access
  uint32_t storing = 0;
  Access *store = nullptr;
};

/// Cells keep what earlier launches, and in shared memory earlier blocks, left
/// behind.
bool RaceDetector::orderedElsewhere(Record before) const {
  return space == Space::Shared || before.epoch() != Record{base}.epoch() ||
         checks.orderedByFence(before.block(), before.clock());
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

void RaceDetector::write(unsigned lane, uint64_t address, unsigned bytes) {
  uint64_t at = address / granule * granule;
  uint64_t *words = cell(at);
  for (; at < address + bytes; at += granule, words += 3) {
    Record now = self(lane, at, address, bytes), writer = recall(&words[0]);
    if (isAlone)
      remember(&words[0], now);
    else
      writer = {__atomic_exchange_n(&words[0], now.bits, __ATOMIC_RELAXED)};
    if (races(writer, now)) {
      if (sameStore(writer, lane, at, bytes))
        store->overlaps = true;
      else
        conflict(writer, true, true, lane, address);
    }
    for (unsigned k = 1; k < 3; ++k) {
      Record reader = recall(&words[k]);
      if (races(reader, now))
        conflict(reader, false, true, lane, address);
    }
  }
}

void RaceDetector::read(unsigned lane, uint64_t address, unsigned bytes) {
  uint64_t at = address / granule * granule;
  uint64_t *words = cell(at);
  for (; at < address + bytes; at += granule, words += 3) {
    Record now = self(lane, at, address, bytes);
    Record writer = recall(&words[0]);
    if (races(writer, now))
      conflict(writer, true, false, lane, address);
    Record first = recall(&words[1]);
    bool replaces = first.sameThread(now) || ordered(first);
    remember(&words[replaces ? 1 : 2], now);
  }
}

void BlockChecks::races(Warp &warp, const Inst &inst, Space space,
                        uint32_t mask, unsigned bytes, AccessKind kind,
                        Access &where) {
  bool isAsync =
      kind == AccessKind::AsyncRead || kind == AccessKind::AsyncWrite;
  bool isStrong = (inst.flags & memory::strong) != 0;
  bool isWrite = kind != AccessKind::Read && kind != AccessKind::AsyncRead;
  RaceDetector detector(*this, warp, inst, space,
                        kind == AccessKind::Atomic || (isStrong && !isAsync));
  if (kind == AccessKind::Write)
    detector.allowOverlap(mask, where);
  if (space == Space::Global)
    hasSynchronized |= isStrong && kind != AccessKind::AsyncRead;
  const Launch &launch = *block.launch;
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    unsigned lane = static_cast<unsigned>(__builtin_ctz(rest));
    uint64_t address = where.address[lane];
    if (space == Space::Shared ? address + bytes > launch.sharedBytes
                               : !launch.memory->inRange(address, bytes))
      continue;
    if (isWrite) {
      detector.write(lane, address, bytes);
      continue;
    }
    // Of lanes that read the same place the first and the last tell all.
    uint32_t left = rest & (rest - 1);
    bool isInner = left && lane && (mask >> (lane - 1) & 1) &&
                   where.address[lane - 1] == address &&
                   where.address[__builtin_ctz(left)] == address;
    if (!isInner)
      detector.read(lane, address, bytes);
  }
}

void BlockChecks::lostWrite(Warp &warp, const Inst &inst, unsigned lane,
                            uint64_t address) {
  Space space = static_cast<Space>(inst.space);
  if (space == Space::Generic)
    space = spaceOfGeneric(address);
  block.report(space == Space::Shared ? FindingKind::SharedRace
                                      : FindingKind::GlobalRace,
               inst.line, warp.thread(lane), address,
               "write races with a write of another value by a thread of the "
               "same warp and instruction");
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
