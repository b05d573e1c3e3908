// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Attention tiles of bf16 multiplied on tensor cores (mma.sync m16n8k16, PTX
// ISA 9.7.15.5.8), with sums in f32. A warp has 16 rows and all columns, so
// that weights stay in its registers: the accumulators of one product are,
// rounded to bf16, the operand of the next. Tiles of columns are copied one
// ahead.
#include "AttentionTiles.h"
#include "MatrixCode.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace nag;
using namespace nag::attention;

static constexpr int64_t kWarpSize = 32;
/// Rows, columns and depth of one mma.sync.
static constexpr int64_t kRows = 16, kColumns = 8, kDepth = 16;
/// What ldmatrix reads at once and cp.async copies: 8 elements.
static constexpr int64_t kChunkBytes = 16, kChunkElements = 8;
/// Sums that leave registers for operands and addresses.
static constexpr int64_t kMaxThreadSums = 176;

namespace {
/// A line of a tile has a power of two of 16-byte chunks, of which chunk c of
/// line l lies at c ^ swizzle(l): eight lines' chunks c, which ldmatrix reads
/// at once, lie in different banks, and so do eight chunks that are written at
/// once.
struct Shape {
  /// The head size as a multiple of 16, and chunks of a line with padding.
  int64_t depth, chunks;
  int64_t columns, warps;
  int64_t swizzleShift, swizzleMask;

  Shape(const Sizes &sizes, const TileSizes &tile)
      : depth(llvm::alignTo(sizes.headDim, kDepth)),
        chunks(
            std::max<int64_t>(llvm::PowerOf2Ceil(depth / kChunkElements), 4)),
        columns(tile.columns), warps(tile.warps),
        swizzleShift(chunks < 8 ? 1 : 0), swizzleMask(chunks < 8 ? 3 : 7) {}

  int64_t getThreads() const { return warps * kWarpSize; }
  int64_t getRows() const { return warps * kRows; }
  int64_t getLineBytes() const { return chunks * kChunkBytes; }
  int64_t getTileBytes(int64_t lines) const { return lines * getLineBytes(); }
  int64_t getValueBytes() const { return columns * sizeof(float); }
  /// Lines that all threads copy at once; a multiple of 8, so that a thread's
  /// chunks are swizzled alike.
  int64_t getCopyLines() const { return getThreads() / chunks; }
};

class TensorCoreTiles : public AttentionTiles {
public:
  TensorCoreTiles(ImplicitLocOpBuilder &owner, const Sizes &opSizes,
                  const Shape &tileShape, const TileNeeds &needs);

  int64_t getThreadRows() const override { return 2; }
  Value getRow(int64_t i) override { return add(threadRow, 8 * i); }
  Value getColumn(int64_t j) override {
    return add(threadColumn, j / 2 * kColumns + j % 2);
  }
  int64_t getRowLanes() const override { return 4; }
  Value getRowLane() override { return rem(thread, getRowLanes()); }
  Value reduceRow(Value value,
                  function_ref<Value(Value, Value)> join) override {
    return reduce(value, getRowLanes(), join);
  }
  Value copyRows(const Head &head, Value first) override;
  Values
  stream(Value begin, Value end, ArrayRef<Head> heads, ValueRange values,
         ValueRange initial,
         function_ref<Values(const ColumnTile &, ValueRange)> body) override;
  Part multiply(Value rowTile, Value columnTile) override;
  Values zeroSums() override { return Values(depthBlocks() * 4, number(0)); }
  int64_t getSumRow(int64_t index) const override { return index % 4 / 2; }
  Values addWeighted(ValueRange sums, const Part &weights,
                     Value columnTile) override;
  void storeSums(ValueRange sums, ValueRange factors, const Head &head,
                 Value first) override;

protected:
  int64_t getRows() const override { return shape.getRows(); }
  int64_t getColumns() const override { return shape.columns; }

private:
  int64_t columnBlocks() const { return shape.columns / kColumns; }
  int64_t depthBlocks() const { return shape.depth / kColumns; }
  /// The bytes of a line and chunk, both small, in a tile.
  Value place(Value line, Value chunk);
  void copyTile(const Head &head, Value first, int64_t lines, Value tile);
  void copyValues(Value from, Value first, Value count, Value to);
  void copyColumns(ArrayRef<Head> heads, ValueRange values, Value first,
                   Value slot);
  void commit() { NVVM::CpAsyncCommitGroupOp::create(getBuilder()); }
  ColumnTile tileAt(Value slot, Value first);

  /// Four 8 x 8 matrices from a line and chunk on.
  Values loadLines(Value tile, Value laneOffset, int64_t line, int64_t chunk,
                   bool transposed);
  /// Adds rows x columns to the sums of two neighbouring blocks.
  void multiplyPair(MutableArrayRef<Value> sums, ValueRange rows,
                    ValueRange columns);
  /// Two values rounded to bf16, in an i32.
  Value pack(Value low, Value high);

  const Shape shape;
  Value thread, threadRow, threadColumn, slots;
  /// Where a lane's row of matrices starts: of 16 rows of the warp, of 16 lines
  /// by 16 elements with the lines first, and of the same with elements first.
  Value rowOffset, lineOffset, chunkOffset;
  int64_t columnTileCount, valueCount, slotBytes;
};

class TensorCoreSchedule : public TileSchedule {
public:
  TensorCoreSchedule(const Sizes &opSizes, const TileNeeds &tileNeeds,
                     const TileSizes &tile)
      : sizes(opSizes), needs(tileNeeds), shape(sizes, tile) {}

  int64_t getRows() const override { return shape.getRows(); }
  int64_t getColumns() const override { return shape.columns; }
  int64_t getThreads() const override { return shape.getThreads(); }
  int64_t getSharedBytes() const override {
    return needs.rowTiles * shape.getTileBytes(shape.getRows()) +
           2 * (needs.columnTiles * shape.getTileBytes(shape.columns) +
                needs.columnValues * shape.getValueBytes());
  }
  std::unique_ptr<AttentionTiles>
  create(ImplicitLocOpBuilder &builder) const override {
    return std::make_unique<TensorCoreTiles>(builder, sizes, shape, needs);
  }

private:
  const Sizes sizes;
  const TileNeeds needs;
  const Shape shape;
};
} // namespace

bool attention::fitsTensorCores(const Sizes &sizes) {
  return sizes.element.isBF16() && sizes.headDim % kChunkElements == 0 &&
         sizes.headDim <= 128;
}

std::unique_ptr<TileSchedule>
attention::createTensorCoreSchedule(const Sizes &sizes, const TileNeeds &needs,
                                    const TileSizes &tile) {
  return std::make_unique<TensorCoreSchedule>(sizes, needs, tile);
}

std::string attention::findTensorCoreFault(const Sizes &sizes,
                                           const TileNeeds &needs,
                                           const TileSizes &tile) {
  Shape shape(sizes, tile);
  if (tile.rows != shape.getRows())
    return llvm::formatv("{0} rows of tiles for {1} warps", shape.getRows(),
                         tile.warps);
  int64_t least = std::max<int64_t>(kDepth, shape.getCopyLines());
  int64_t most = std::min<int64_t>(128, shape.getThreads());
  if (tile.columns < least || tile.columns > most ||
      shape.getCopyLines() % 8 != 0)
    return llvm::formatv("tiles of {0} to {1} columns and at least {2} warps "
                         "for heads of {3}",
                         least, most, std::max<int64_t>(1, shape.chunks / 4),
                         sizes.headDim);
  // Products of a row with the columns, and sums, of a thread.
  int64_t sums =
      needs.rowTiles * tile.columns / 2 + needs.sums * shape.depth / 2;
  if (sums > kMaxThreadSums)
    return llvm::formatv("tiles of fewer columns, for at most {0} sums of a "
                         "thread, not {1}",
                         kMaxThreadSums, sums);
  return "";
}

TensorCoreTiles::TensorCoreTiles(ImplicitLocOpBuilder &owner,
                                 const Sizes &opSizes, const Shape &tileShape,
                                 const TileNeeds &needs)
    : AttentionTiles(owner, opSizes), shape(tileShape),
      columnTileCount(needs.columnTiles), valueCount(needs.columnValues) {
  slotBytes = columnTileCount * shape.getTileBytes(shape.columns) +
              valueCount * shape.getValueBytes();
  slots = takeShared(2 * slotBytes);
  thread = threadIndex();
  Value lane = rem(thread, kWarpSize);
  Value warpRow = mul(div(thread, kWarpSize), kRows);
  threadRow = add(warpRow, div(lane, 4));
  threadColumn = mul(rem(lane, 4), 2);
  Value line = rem(lane, 16), half = div(lane, 16);
  lineOffset = place(line, half);
  rowOffset = add(mul(warpRow, shape.getLineBytes()), lineOffset);
  chunkOffset = place(add(rem(lane, 8), mul(half, 8)), rem(div(lane, 8), 2));
}

Value TensorCoreTiles::place(Value line, Value chunk) {
  Value swizzle =
      bitAnd(shiftRight(line, shape.swizzleShift), shape.swizzleMask);
  return add(mul(line, shape.getLineBytes()),
             mul(bitXor(chunk, swizzle), kChunkBytes));
}

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

void TensorCoreTiles::copyTile(const Head &head, Value first, int64_t lines,
                               Value tile) {
  ImplicitLocOpBuilder &ops = getBuilder();
  int64_t step = shape.getCopyLines();
  Value line = div(thread, shape.chunks), chunk = rem(thread, shape.chunks);
  Value to = offset(tile, place(line, chunk));
  int64_t lastChunk = sizes.headDim / kChunkElements - 1;
  auto copy = [&] {
    Value bytes = mul(smaller(chunk, constant(lastChunk)), kChunkBytes);
    for (int64_t at = 0; at < lines; at += step) {
      Value position = add(add(first, line), at);
      Value exists =
          both(less(position, head.count), less(chunk, lastChunk + 1));
      Value from = smaller(position, sub(head.count, constant(1)));
      // What does not exist is filled with zeros.
      Value count = select(exists, constant(kChunkBytes), constant(0));
      NVVM::CpAsyncOp::create(ops, offset(to, at * shape.getLineBytes()),
                              offset(row(head, from), bytes), kChunkBytes,
                              NVVM::LoadCacheModifierKind::CG, count);
    }
  };
  int64_t used = shape.depth / kChunkElements;
  if (used == shape.chunks)
    return copy();
  ifTrue(less(chunk, used), copy);
}

void TensorCoreTiles::copyValues(Value from, Value first, Value count,
                                 Value to) {
  Value place = smaller(add(first, thread), sub(count, constant(1)));
  Value source = offset(from, mul(extend(place), sizeof(float)));
  NVVM::CpAsyncOp::create(getBuilder(), offset(to, mul(thread, sizeof(float))),
                          source, sizeof(float),
                          NVVM::LoadCacheModifierKind::CA,
                          /*cpSize=*/Value());
}

ColumnTile TensorCoreTiles::tileAt(Value slot, Value first) {
  ColumnTile tile;
  tile.first = first;
  Value start = offset(slots, slot);
  int64_t tileBytes = shape.getTileBytes(shape.columns);
  for (int64_t i = 0; i < columnTileCount; ++i)
    tile.tiles.push_back(offset(start, i * tileBytes));
  for (int64_t i = 0; i < valueCount; ++i)
    tile.values.push_back(
        offset(start, columnTileCount * tileBytes + i * shape.getValueBytes()));
  return tile;
}

void TensorCoreTiles::copyColumns(ArrayRef<Head> heads, ValueRange values,
                                  Value first, Value slot) {
  ColumnTile tile = tileAt(slot, first);
  for (auto [head, to] : llvm::zip_equal(heads, tile.tiles))
    copyTile(head, first, shape.columns, to);
  if (values.empty())
    return;
  ifTrue(less(thread, shape.columns), [&] {
    for (auto [from, to] : llvm::zip_equal(values, tile.values))
      copyValues(from, first, heads.front().count, to);
  });
}

Value TensorCoreTiles::copyRows(const Head &head, Value first) {
  Value tile = takeShared(shape.getTileBytes(shape.getRows()));
  copyTile(head, first, shape.getRows(), tile);
  return tile;
}

Values TensorCoreTiles::stream(
    Value begin, Value end, ArrayRef<Head> heads, ValueRange values,
    ValueRange initial,
    function_ref<Values(const ColumnTile &, ValueRange)> body) {
  // A stream before this one may still be read.
  barrier();
  copyColumns(heads, values, begin, constant(0));
  commit();
  Values state(initial);
  state.push_back(constant(0));
  state = loop(
      begin, end, shape.columns, state, [&](Value first, ValueRange current) {
        NVVM::CpAsyncWaitGroupOp::create(getBuilder(), 0);
        barrier();
        Value slot = current.back();
        Value nextSlot = sub(constant(slotBytes), slot);
        Value next = add(first, shape.columns);
        Value more = getBuilder().createOrFold<arith::CmpIOp>(
            arith::CmpIPredicate::slt, next, end);
        ifTrue(more, [&] {
          copyColumns(heads, values, next, nextSlot);
          commit();
        });
        Values results = body(tileAt(slot, first), current.drop_back());
        results.push_back(nextSlot);
        return results;
      });
  state.pop_back();
  return state;
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

Values TensorCoreTiles::loadLines(Value tile, Value laneOffset, int64_t line,
                                  int64_t chunk, bool transposed) {
  // An even chunk has no bit in common with the lane's, but through the
  // swizzle, which is an exclusive or itself.
  Value start = offset(tile, bitXor(laneOffset, chunk * kChunkBytes));
  return loadMatrices(getBuilder(), offset(start, line * shape.getLineBytes()),
                      transposed);
}

void TensorCoreTiles::multiplyPair(MutableArrayRef<Value> sums, ValueRange rows,
                                   ValueRange columns) {
  for (int64_t block : {0, 1})
    multiplyAdd(getBuilder(), MatrixFactor::BF16, rows,
                columns.slice(2 * block, 2), sums.slice(4 * block, 4));
}

Part TensorCoreTiles::multiply(Value rowTile, Value columnTile) {
  Values sums(columnBlocks() * 4, number(0));
  MutableArrayRef<Value> blocks(sums);
  for (int64_t k = 0; k < shape.depth; k += kDepth) {
    int64_t chunk = k / kChunkElements;
    Values rows = loadLines(rowTile, rowOffset, 0, chunk, false);
    for (int64_t pair = 0; pair < columnBlocks() / 2; ++pair) {
      Values columns =
          loadLines(columnTile, chunkOffset, pair * 16, chunk, false);
      multiplyPair(blocks.slice(pair * 8, 8), rows, columns);
    }
  }
  Part part(2);
  for (auto [index, sum] : llvm::enumerate(sums))
    part[getSumRow(index)].push_back(sum);
  return part;
}

Value TensorCoreTiles::pack(Value low, Value high) {
  ImplicitLocOpBuilder &ops = getBuilder();
  Value both = vector::FromElementsOp::create(
      ops, VectorType::get(2, ops.getF32Type()), ValueRange{low, high});
  both =
      arith::TruncFOp::create(ops, VectorType::get(2, ops.getBF16Type()), both);
  return LLVM::BitcastOp::create(ops, ops.getI32Type(), both);
}

Values TensorCoreTiles::addWeighted(ValueRange initial, const Part &weights,
                                    Value columnTile) {
  Values sums(initial);
  MutableArrayRef<Value> blocks(sums);
  for (int64_t k = 0; k < shape.columns; k += kDepth) {
    Values rows;
    // Columns j, j + 1 of the accumulators of two neighbouring blocks.
    for (int64_t j : {k / 4, k / 4 + 2})
      for (int64_t i : {0, 1})
        rows.push_back(pack(weights[i][j], weights[i][j + 1]));
    for (int64_t pair = 0; pair < depthBlocks() / 2; ++pair) {
      Values columns = loadLines(columnTile, lineOffset, k, pair * 2, true);
      multiplyPair(blocks.slice(pair * 8, 8), rows, columns);
    }
  }
  return sums;
}

void TensorCoreTiles::storeSums(ValueRange sums, ValueRange factors,
                                const Head &head, Value first) {
  for (int64_t i = 0; i < 2; ++i) {
    Value position = add(first, getRow(i));
    ifTrue(less(position, head.count), [&] {
      Value start = offset(row(head, position),
                           mul(threadColumn, sizes.getElementBytes()));
      for (int64_t block = 0; block < sizes.headDim / kColumns; ++block) {
        ValueRange values = sums.slice(block * 4 + 2 * i, 2);
        storeFloats(sizes.element,
                    {mulf(values[0], factors[i]), mulf(values[1], factors[i])},
                    offset(start, block * kChunkBytes));
      }
    });
  }
}
