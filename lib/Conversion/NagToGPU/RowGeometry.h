// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How the rows of a kernel are spread over blocks and threads.
#ifndef NAG_CONVERSION_NAGTOGPU_ROWGEOMETRY_H
#define NAG_CONVERSION_NAGTOGPU_ROWGEOMETRY_H

#include "RowProgram.h"
#include "nag/Conversion/NagToGPU.h"

#include <map>

namespace nag {

inline constexpr int64_t kWarpSize = 32;

/// How the elements of rows of one length are spread over the threads of a
/// row: thread t holds, of chunk k, the `width` elements from number
/// (k * threads + t) * width - shift on. The shift is 0 where every row begins
/// at an aligned address (period 0), else what the row's beginning in memory,
/// row * stride, is past a multiple of `period` elements.
struct RowLayout {
  int64_t length = 1;
  int64_t width = 1;
  int64_t period = 0;
  int64_t stride = 0;
  /// The position is one element, the same for all threads.
  bool isPoint = false;

  /// True when a thread holds the elements of the same numbers in both.
  bool sharesPositions(const RowLayout &other) const {
    return isPoint || other.isPoint ||
           (width == other.width && period == other.period &&
            (period == 0 || stride == other.stride));
  }
  RowLayout withLength(int64_t elements) const {
    RowLayout layout = *this;
    layout.length = elements;
    return layout;
  }
};

class RowGeometry {
public:
  /// The rows of a program, which no threads share yet.
  RowGeometry(RowProgram &program, const GPUTarget &target);

  /// Spreads the rows by a schedule of the family rows. Returns what is
  /// expected of one that they cannot follow, else nothing. To be called once.
  std::string follow(ScheduleAttr schedule);

  /// Vectors of the longest row, and elements of each at most.
  int64_t getNumVectors() const { return getNumVectors(widest); }
  const RowLayout &getWidest() const { return widest; }
  /// True when every element of the results depends on elements of rows in the
  /// same place only, so that a row may be cut into segments.
  bool isElementwise() const { return elementwise; }
  /// True when threads may read one another's elements.
  bool exchangesElements() const { return exchanging; }
  /// Elements that all rows are added up to.
  int64_t getNumSumElements() const { return sumElements; }
  /// Of the results, how many are rows of about the greatest length.
  int64_t getNumWideResults() const { return wideResults; }
  /// The arguments that are rows of about the greatest length.
  llvm::ArrayRef<RowArgument> getWideRows() const { return wideRows; }

  /// The layout of rows of this length, or of other tensors of a row program
  /// with as many elements.
  RowLayout getLayout(int64_t length) const;
  int64_t getNumChunks(const RowLayout &layout) const;
  /// True when every chunk has code of its own.
  bool isUnrolled() const { return home == Home::Registers; }
  /// True when every thread's elements of chunk `chunk` lie in the row.
  bool isFull(const RowLayout &layout, int64_t chunk) const;

  Dim3 getGrid() const { return {blocks * segments, 1, 1}; }
  Dim3 getBlock() const { return {threadsPerRow * rowsPerBlock, 1, 1}; }
  /// Rows in flight: each goes through rows slot, slot + slots, ...
  int64_t getNumSlots() const { return blocks * rowsPerBlock; }
  /// Slots that have a row.
  int64_t getNumBusySlots() const { return std::min(getNumSlots(), numRows); }
  /// Partial sums that leave the chip.
  int64_t getNumPartialSums() const {
    return sumsInBlock ? blocks : getNumBusySlots();
  }

  int64_t numRows;
  /// A power of two up to a warp's 32, or whole warps.
  int64_t threadsPerRow = 1;
  int64_t rowsPerBlock = 1;
  int64_t blocks = 1;
  /// Parts of a row, for blocks of their own.
  int64_t segments = 1;
  /// Rows that a slot goes through, one after the other.
  int64_t passes = 1;
  /// Where a row is between its uses. What stays in registers, the last chunks
  /// perhaps in shared memory, is code for each chunk; else chunks are those of
  /// loops, and what ops make of a row is computed for every use.
  enum class Home { Registers, Shared, Memory };
  Home home = Home::Registers;
  /// A block adds up the sums of its slots before they leave it.
  bool sumsInBlock = false;
  /// Chunks that wait in shared memory rather than in registers, from number
  /// `firstChunk` of an argument of the program on, and where, in bytes.
  struct HeldRow {
    mlir::Value argument;
    int64_t firstChunk;
    int64_t offset;
  };
  llvm::SmallVector<HeldRow> held;
  int64_t heldBytes = 0;

private:
  void collectLayouts(RowProgram &program);
  void addRows(mlir::RankedTensorType type, int64_t rows);
  /// Narrows the vectors of a row shorter than the widest until all threads
  /// have some: else few would compute it, with as many registers in all.
  void spread(RowLayout &layout) const;
  int64_t getNumVectors(const RowLayout &layout) const;
  void placeRows(int64_t keep);
  bool placeRowsInRegisters();
  bool placeRowsInShared();
  int64_t getSharedLimit() const;
  std::string findFault(ScheduleAttr schedule) const;

  const GPUTarget &target;
  bool elementwise, exchanging;
  int64_t sumElements = 0, wideResults = 0;
  llvm::SmallVector<RowArgument> wideRows;
  /// By length of row.
  std::map<int64_t, RowLayout> layouts;
  /// The layout with the most elements.
  RowLayout widest;
};

/// Registers that a thread needs besides those for elements of rows.
inline constexpr int64_t kRowRegisters = 48;

} // namespace nag

#endif // NAG_CONVERSION_NAGTOGPU_ROWGEOMETRY_H
