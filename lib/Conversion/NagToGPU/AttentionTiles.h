// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Matrix products of attention tiles. A block keeps tiles of rows (queries or
// keys) and meets tiles of columns (keys or queries): products of rows and
// columns become weights, and weighted sums of columns collect in registers.
#ifndef NAG_LIB_CONVERSION_NAGTOGPU_ATTENTIONTILES_H
#define NAG_LIB_CONVERSION_NAGTOGPU_ATTENTIONTILES_H

#include "AttentionCode.h"

#include <memory>

namespace nag::attention {

/// What a kernel keeps: tiles of rows; of every tile of columns that many
/// operands, and values in f32 (one per column); sums of head size per row.
struct TileNeeds {
  int64_t rowTiles, columnTiles, columnValues, sums;
};

/// Of the forward pass, of the gradients of keys and values, of queries. Tiles
/// of routed columns hold their positions too.
inline TileNeeds getForwardNeeds(const Sizes &sizes) {
  return {/*rowTiles=*/1, /*columnTiles=*/2, /*columnValues=*/sizes.routesKeys,
          /*sums=*/1};
}
inline TileNeeds getKeyGradNeeds(const Sizes &sizes) {
  return {/*rowTiles=*/2, /*columnTiles=*/2,
          /*columnValues=*/2 + sizes.isRouted(), /*sums=*/2};
}
inline TileNeeds getQueryGradNeeds(const Sizes &sizes) {
  return {/*rowTiles=*/2, /*columnTiles=*/2, /*columnValues=*/sizes.routesKeys,
          /*sums=*/1};
}

/// How a kernel's blocks are cut: rows that a block keeps, columns that it
/// meets at a time, and its warps.
struct TileSizes {
  int64_t rows, columns, warps;

  /// From the fields `<prefix>tile` and `<prefix>warps` of a schedule.
  static TileSizes from(ScheduleAttr schedule, const std::string &prefix) {
    llvm::ArrayRef<int64_t> tile = schedule.getSizes(prefix + "tile");
    return {tile[0], tile[1], schedule.get(prefix + "warps")};
  }
};

/// A thread's part of a rows x columns matrix, by row and then column.
using Part = llvm::SmallVector<Values>;

/// A tile of columns in shared memory: the number of its first row, and the
/// starts of its operands and values.
struct ColumnTile {
  mlir::Value first;
  Values tiles, values;
};

class AttentionTiles : public AttentionCode {
public:
  using AttentionCode::AttentionCode;
  virtual ~AttentionTiles() = default;

  /// Rows and columns of the thread: their number, and their places in a tile.
  virtual int64_t getThreadRows() const = 0;
  virtual mlir::Value getRow(int64_t i) = 0;
  virtual mlir::Value getColumn(int64_t j) = 0;
  /// Threads that share a row, and which of them this one is.
  virtual int64_t getRowLanes() const = 0;
  virtual mlir::Value getRowLane() = 0;
  /// Joins the values of the threads that share a row.
  virtual mlir::Value
  reduceRow(mlir::Value value,
            llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> join) = 0;

  /// Copies the rows from `first` on to a tile, which the first column tile of
  /// a stream makes visible. Rows behind the end are 0.
  virtual mlir::Value copyRows(const Head &head, mlir::Value first) = 0;
  /// Goes through the tiles of columns [begin, end): `heads` are their operands
  /// and `values` point to four bytes per column. Not empty. Behind the end,
  /// operands are 0 and values any.
  virtual Values
  stream(mlir::Value begin, mlir::Value end, llvm::ArrayRef<Head> heads,
         mlir::ValueRange values, mlir::ValueRange initial,
         llvm::function_ref<Values(const ColumnTile &, mlir::ValueRange)>
             body) = 0;

  /// <row, column> of two tiles.
  virtual Part multiply(mlir::Value rowTile, mlir::Value columnTile) = 0;
  virtual Values zeroSums() = 0;
  /// The thread's row that a sum belongs to.
  virtual int64_t getSumRow(int64_t index) const = 0;
  /// sums + weights * columns.
  virtual Values addWeighted(mlir::ValueRange sums, const Part &weights,
                             mlir::Value columnTile) = 0;
  /// Stores the thread's rows, each times a factor, where they exist.
  virtual void storeSums(mlir::ValueRange sums, mlir::ValueRange factors,
                         const Head &head, mlir::Value first) = 0;

  /// Column j's value.
  mlir::Value loadValue(mlir::Value values, int64_t j) {
    return load(getBuilder().getF32Type(),
                offset(values, mul(getColumn(j), sizeof(float))),
                sizeof(float));
  }
  /// The same where there may be no columns.
  Values streamAny(
      mlir::Value begin, mlir::Value end, llvm::ArrayRef<Head> heads,
      mlir::ValueRange values, mlir::ValueRange initial,
      llvm::function_ref<Values(const ColumnTile &, mlir::ValueRange)> body);
  /// Of a tile of rows, the positions of the thread's rows.
  Values loadPositions(const RowRange &rows);
  /// Per row of the thread, <row of a, row of b>, in f32, read from memory; of
  /// rows behind the end, that of the last.
  Values multiplyRows(const Head &a, const Head &b, mlir::Value first);
  /// Stores what the threads of a row have alike, where the row exists, at its
  /// place among the f32 from `start` on.
  void storeRowValues(mlir::ValueRange values, mlir::Value start,
                      const RowSet &set, mlir::Value first);

  /// Puts `invisible` where row i must not be joined with column j. Rows and
  /// columns are queries and keys, or keys and queries. Columns that are routed
  /// have their positions as the last of the tile's values.
  enum class Rows { Queries, Keys };
  Part mask(const Part &part, Rows rows, const RowRange &range,
            mlir::ValueRange positions, const RowSet &columnSet,
            const ColumnTile &columns, double invisible);

protected:
  /// Takes the next bytes of the shared memory.
  mlir::Value takeShared(int64_t bytes);
  /// Sizes of a tile.
  virtual int64_t getRows() const = 0;
  virtual int64_t getColumns() const = 0;

private:
  mlir::Value isWhollyVisible(const RowRange &queries, int64_t queryCount,
                              const RowRange &keys, int64_t keyCount);
  mlir::Value hasRows(const RowRange &range, int64_t count);

  int64_t sharedBytes = 0;
};

/// How blocks of a kernel are cut, and the code of their threads.
class TileSchedule {
public:
  virtual ~TileSchedule() = default;
  virtual int64_t getRows() const = 0;
  virtual int64_t getColumns() const = 0;
  virtual int64_t getThreads() const = 0;
  virtual int64_t getSharedBytes() const = 0;
  virtual std::unique_ptr<AttentionTiles>
  create(mlir::ImplicitLocOpBuilder &builder) const = 0;
};

/// The tile of queries that a block keeps: their sequence and head, and the
/// number of the first. Tiles of routed queries may lie behind their
/// sequence's.
struct QueryTile {
  mlir::Value batch, head, first;
};
/// Tiles of so many queries, of all heads and sequences.
int64_t countQueryTiles(const Sizes &sizes, int64_t rows);
/// Tiles of so many keys: of all sequences where keys are routed, else of each.
int64_t countKeyTiles(const Sizes &sizes, int64_t rows);
QueryTile findQueryTile(AttentionCode &code, const TileSchedule &schedule);

/// Products with fused multiply-adds in f32, where so many threads share a row.
int64_t getColumnLanes(const Sizes &sizes, const TileNeeds &needs);
std::string findFMAFault(const Sizes &sizes, const TileNeeds &needs,
                         const TileSizes &tile);
std::unique_ptr<TileSchedule> createFMASchedule(const Sizes &sizes,
                                                const TileNeeds &needs,
                                                const TileSizes &tile);
/// Products of bf16 on tensor cores: heads of multiples of 8 elements up to
/// 128.
bool fitsTensorCores(const Sizes &sizes);
std::string findTensorCoreFault(const Sizes &sizes, const TileNeeds &needs,
                                const TileSizes &tile);
std::unique_ptr<TileSchedule> createTensorCoreSchedule(const Sizes &sizes,
                                                       const TileNeeds &needs,
                                                       const TileSizes &tile);

/// Those of the two that take heads of these sizes.
std::unique_ptr<TileSchedule> createSchedule(const Sizes &sizes,
                                             const TileNeeds &needs,
                                             const TileSizes &tile);
/// What its blocks ask of a multiprocessor: of registers, a few for what is not
/// products or sums.
BlockNeeds getBlockNeeds(const Sizes &sizes, const TileNeeds &needs,
                         const TileSizes &tile);
/// The same of a launch that has blocks of several kinds, of as many threads.
using TileKinds = llvm::ArrayRef<std::pair<TileNeeds, TileSizes>>;
BlockNeeds getBlockNeeds(const Sizes &sizes, TileKinds kinds);
/// Blocks that a multiprocessor is to hold at once: as many as the needs allow.
/// Where multiply-adds are the limit, more would not help: one.
int64_t countBlocksTogether(const GPUTarget &target, const Sizes &sizes,
                            TileKinds kinds);
/// What is expected of sizes that a kernel cannot have, but for memory; empty
/// where it can have them.
std::string findFault(const Sizes &sizes, const TileNeeds &needs,
                      const TileSizes &tile);

/// What is known of the launches of an op of the family attention or
/// attention_vjp, the only one of `ops`.
std::unique_ptr<LaunchModel> createModel(const GPUTarget &target,
                                         llvm::ArrayRef<mlir::Operation *> ops,
                                         const Sizes &sizes,
                                         ScheduleFamily family);

} // namespace nag::attention

#endif // NAG_LIB_CONVERSION_NAGTOGPU_ATTENTIONTILES_H
