// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Device memory: a reserved address range, allocations with red zones between
// them, and the shadow that remembers which bytes were written.
#ifndef NAG_PTXVM_MEMORY_H
#define NAG_PTXVM_MEMORY_H

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace ptxvm {

struct Allocation {
  uint64_t address = 0;
  uint64_t size = 0; // bytes asked for
  uint64_t lead = 0; // bytes in front that belong to no allocation
  std::string label; // for messages; may be empty
  bool isFree = false;
  bool isTracked = true; // writes of every launch so far were recorded
};

inline uint64_t alignUp(uint64_t value, uint64_t align) {
  return (value + align - 1) / align * align;
}

/// The next address of that alignment and no larger one: a GPU may place a
/// variable there (ptxas packs them side by side), so code that relies on more
/// is found out.
inline uint64_t alignNoMore(uint64_t value, uint64_t align) {
  return alignUp(value, 2 * align) + align;
}

/// Device addresses are not host addresses: the range starts at `base`, so that
/// null and host pointers are never valid on the device.
///
/// Allocation calls are safe from several threads. Bytes themselves are not
/// synchronised: copies race with running kernels as they do on a device.
class DeviceMemory {
public:
  static constexpr uint64_t base = 0x1000000000ull;
  static constexpr uint64_t granularity = 512;

  /// Reserves (does not commit) `capacity` bytes; less where the system
  /// refuses.
  explicit DeviceMemory(uint64_t capacity = 16ull << 30);
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory &) = delete;
  DeviceMemory &operator=(const DeviceMemory &) = delete;

  uint64_t capacity() const { return reserved; }
  /// Bytes not in use, counting red zones as used.
  uint64_t available() const;

  /// Address of `size` new bytes, aligned to `granularity`, or, where `align`
  /// is given, to that power of two and no larger one; 0 for a size of 0 or
  /// when memory is exhausted. Freed ranges are reused last, so that a use
  /// after free is seen as long as possible.
  uint64_t allocate(uint64_t size, std::string label = {}, uint64_t align = 0);
  /// False when `address` is not the start of a live allocation.
  bool release(uint64_t address);

  /// The live or freed allocation that holds `address`; null in a red zone.
  /// Valid until the next allocate or release.
  const Allocation *find(uint64_t address) const;
  /// The nearest live allocation below `address`, for messages.
  const Allocation *nearestBelow(uint64_t address) const;

  /// Host view of [address, address + size) when one live allocation holds it,
  /// else null.
  uint8_t *view(uint64_t address, uint64_t size);
  /// Copies; false when a range is not inside one live allocation.
  bool write(uint64_t address, const void *source, uint64_t size);
  bool read(uint64_t address, void *target, uint64_t size);
  bool copy(uint64_t target, uint64_t source, uint64_t size);
  /// Tells the shadow that the host wrote these bytes through `view`.
  void markInitialized(uint64_t address, uint64_t size);

  // What the executor uses.
  uint8_t *host(uint64_t address) { return bytes + (address - base); }
  bool inRange(uint64_t address, uint64_t size) const {
    return address - base < reserved && size <= reserved - (address - base);
  }
  /// One byte per byte of memory: non-zero once written.
  uint8_t *writtenShadow(uint64_t address) {
    return written + (address - base);
  }
  /// One byte per byte, cleared per launch: 1 read, 2 written in this launch.
  uint8_t *touchedShadow(uint64_t address);
  /// Three words per four bytes (see Checks/Races.cpp).
  uint64_t *raceShadow(uint64_t address);
  /// Prepares the two shadows above, where wanted; false where the system
  /// refuses the address space.
  bool beginLaunch(bool needsTouched, bool needsRaces);
  /// Tells the launches apart that share the race shadow: below `epochs`.
  uint64_t launchEpoch() const { return epoch; }
  static constexpr uint64_t epochs = 64;
  template <typename Fn> void forEachLive(Fn visit) const {
    for (const auto &[address, allocation] : allocations)
      if (!allocation.isFree)
        visit(allocation);
  }
  /// Called before a launch that does not record writes.
  void stopTracking();

private:
  static uint8_t *reserve(uint64_t size);
  uint64_t takeFresh(uint64_t span);
  uint64_t takeFreed(uint64_t span);
  void giveBack(uint64_t address, uint64_t size);

  mutable std::mutex guard;
  std::map<uint64_t, Allocation> allocations;
  uint64_t reserved = 0;
  uint64_t top = base;
  uint64_t used = 0;
  uint64_t epoch = 0;
  uint8_t *bytes = nullptr;
  uint8_t *written = nullptr;
  uint8_t *touched = nullptr;
  uint8_t *races = nullptr;
};

} // namespace ptxvm

#endif // NAG_PTXVM_MEMORY_H
