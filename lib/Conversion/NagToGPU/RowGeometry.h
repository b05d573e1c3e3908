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
  /// Follows `given`, a schedule of the family rows, where that is not null;
  /// getFault() says whether it can. Else blocks have as many threads as the
  /// model takes for the best, or `blockThreads`, whole warps and at least that
  /// many.
  RowGeometry(RowProgram &program, const GPUTarget &target, ScheduleAttr given,
              int64_t blockThreads = 0);

  /// The schedule that this geometry follows.
  ScheduleAttr getSchedule(mlir::MLIRContext *context) const;
  /// What is expected of a given schedule that the rows cannot follow.
  const std::string &getFault() const { return fault; }

  /// The layout of rows of this length, or of other tensors of a row program
  /// with as many elements.
  RowLayout getLayout(int64_t length) const;
  int64_t getNumChunks(const RowLayout &layout) const;
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
  /// A row is read once and stays on the chip; else every use reads it anew.
  bool onChip = true;
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
  int64_t getNumVectors(const RowLayout &layout) const;
  int64_t getNumWarpThreads(int64_t vectors, int64_t maxChunks) const;
  void chooseThreads(RowProgram &program, const GPUTarget &target);
  void chooseMemory(RowProgram &program, const GPUTarget &target);
  void chooseBlocks(RowProgram &program, const GPUTarget &target);
  void chooseSums(RowProgram &program);
  void follow(RowProgram &program, const GPUTarget &target,
              ScheduleAttr schedule);
  std::string findFault(RowProgram &program, ScheduleAttr schedule) const;

  /// By length of row.
  std::map<int64_t, RowLayout> layouts;
  /// The layout with the most elements.
  RowLayout widest;
  std::string fault;
  /// 0 where the geometry may choose.
  int64_t blockThreads;
};

} // namespace nag

#endif // NAG_CONVERSION_NAGTOGPU_ROWGEOMETRY_H
