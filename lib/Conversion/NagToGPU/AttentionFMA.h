// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Attention tiles multiplied with fused multiply-adds in f32. A block keeps a
// tile of rows (queries or keys) and meets tiles of columns (keys or queries):
// products of rows and columns are weights, and weighted sums of columns
// collect in the registers of the rows' threads.
#ifndef NAG_LIB_CONVERSION_NAGTOGPU_ATTENTIONFMA_H
#define NAG_LIB_CONVERSION_NAGTOGPU_ATTENTIONFMA_H

#include "AttentionCode.h"

namespace nag::attention {

/// How a block is cut. Its threads form a grid of rowLanes x columnLanes; the
/// thread (r, c) has the rows r + i * rowLanes and the columns
/// c + j * columnLanes of a tile, and of a sum's elements the groups of four
/// c + n * columnLanes.
struct FMAShape {
  int64_t rowLanes, columnLanes, rowsPerThread, columns;
  /// The head size as a multiple of four, and the floats between two lines of
  /// a tile in shared memory: an odd number of 16-byte chunks, so that lines
  /// that are read at once lie in different banks.
  int64_t depth, stride;

  /// The shape of a kernel that has that many products of rows and columns, and
  /// whose rows keep that many sums of head size.
  static FMAShape choose(const Sizes &sizes, int64_t products, int64_t sums);

  int64_t getThreads() const { return rowLanes * columnLanes; }
  int64_t getRows() const { return rowLanes * rowsPerThread; }
  int64_t getColumnsPerThread() const { return columns / columnLanes; }
  int64_t getSumChunks() const {
    return llvm::divideCeil(depth / 4, columnLanes);
  }
  int64_t getRowTileBytes() const { return getRows() * stride * 4; }
  int64_t getColumnTileBytes() const { return columns * stride * 4; }
  /// Floats between two rows of weights: rows of one warp meet in no bank.
  int64_t getWeightStride() const { return columns + columnLanes; }
  int64_t getWeightBytes() const { return getRows() * getWeightStride() * 4; }
  /// Shared memory with that many tiles of each kind.
  int64_t getBytes(int64_t rowTiles, int64_t columnTiles,
                   int64_t weights) const {
    return rowTiles * getRowTileBytes() + columnTiles * getColumnTileBytes() +
           weights * getWeightBytes();
  }
};

/// Values of a thread's part of a matrix, by row and then column.
using Part = llvm::SmallVector<Values>;

class FMACode : public AttentionCode {
public:
  FMACode(mlir::ImplicitLocOpBuilder &owner, const Sizes &opSizes,
          const FMAShape &fmaShape);

  /// Takes the next bytes of the shared memory.
  mlir::Value takeShared(int64_t bytes);

  /// Row i and column j of the thread within a tile.
  mlir::Value getRow(int64_t i) { return add(rowLane, i * shape.rowLanes); }
  mlir::Value getColumn(int64_t j) {
    return add(columnLane, j * shape.columnLanes);
  }

  /// All threads copy `lines` positions of a head from `first` on to a tile;
  /// positions behind the end and elements behind the head's become 0.
  void copyTile(const Head &head, mlir::Value first, int64_t lines,
                mlir::Value tile);
  /// All threads copy the values of `columns` positions, multiplied by
  /// `factor`; 0 behind the end.
  void copySums(mlir::Value from, mlir::Value first, double factor,
                mlir::Value to);

  /// <row, column> of two tiles.
  Part multiply(mlir::Value rowTile, mlir::Value columnTile);
  void storeWeights(const Part &weights, mlir::Value to);
  /// sums + weights * tile; sums are by row, then by chunk and element.
  Values addWeighted(mlir::ValueRange sums, mlir::Value weights,
                     mlir::Value columnTile);
  Values zeroSums();
  /// Stores the thread's rows, each times a factor, where they exist.
  void storeSums(mlir::ValueRange sums, mlir::ValueRange factors,
                 const Head &head, mlir::Value first);

private:
  /// Four floats of a line of a tile.
  Values loadChunk(mlir::Value tile, mlir::Value line, mlir::Value element);

  const FMAShape shape;
  mlir::Value thread, rowLane, columnLane, shared;
  int64_t sharedBytes = 0;
};

} // namespace nag::attention

#endif // NAG_LIB_CONVERSION_NAGTOGPU_ATTENTIONFMA_H
