// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Attention tiles multiplied with fused multiply-adds in f32. Tiles lie in
// shared memory in f32, and weights go through it.
#include "AttentionTiles.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace nag;
using namespace nag::attention;

/// Elements per step: what one vector holds.
static constexpr int64_t kStep = 4;
static constexpr int64_t kWarpSize = 32;
/// Tiles of so many columns are multiplied as a whole.
static constexpr int64_t kLeastColumns = 16;

namespace {
/// The threads form a grid of rowLanes x columnLanes; the thread (r, c) has the
/// rows r + i * rowLanes and the columns c + j * columnLanes of a tile, and of
/// a sum's elements the groups of four c + n * columnLanes.
struct Shape {
  int64_t threads, rowLanes, columnLanes, threadRows, columns;
  /// The head size as a multiple of four, and the floats between two lines of
  /// a tile in shared memory: an odd number of 16-byte chunks, so that lines
  /// that are read at once lie in different banks.
  int64_t depth, stride;

  Shape(const Sizes &sizes, const TileNeeds &needs, const TileSizes &tile);

  int64_t getRows() const { return rowLanes * threadRows; }
  int64_t getThreadColumns() const { return columns / columnLanes; }
  int64_t getSumChunks() const {
    return llvm::divideCeil(depth / kStep, columnLanes);
  }
  int64_t getTileBytes(int64_t lines) const {
    return lines * stride * sizeof(float);
  }
  int64_t getValueBytes() const { return columns * sizeof(float); }
  /// Floats between two rows of weights: rows of one warp meet in no bank.
  int64_t getWeightStride() const {
    return llvm::alignTo(columns, 32) + columnLanes;
  }
  int64_t getWeightBytes() const {
    return getRows() * getWeightStride() * sizeof(float);
  }
};

class FMATiles : public AttentionTiles {
public:
  FMATiles(ImplicitLocOpBuilder &owner, const Sizes &opSizes,
           const Shape &tileShape, const TileNeeds &needs);

  int64_t getThreadRows() const override { return shape.threadRows; }
  Value getRow(int64_t i) override { return add(rowLane, i * shape.rowLanes); }
  Value getColumn(int64_t j) override {
    return add(columnLane, j * shape.columnLanes);
  }
  int64_t getRowLanes() const override { return shape.columnLanes; }
  Value getRowLane() override { return columnLane; }
  Value reduceRow(Value value,
                  function_ref<Value(Value, Value)> join) override {
    return reduce(value, shape.columnLanes, join);
  }
  Value copyRows(const Head &head, Value first) override;
  Values
  stream(Value begin, Value end, ArrayRef<Head> heads, ValueRange values,
         ValueRange initial,
         function_ref<Values(const ColumnTile &, ValueRange)> body) override;
  Part multiply(Value rowTile, Value columnTile) override;
  Values zeroSums() override {
    return Values(shape.threadRows * shape.getSumChunks() * kStep, number(0));
  }
  int64_t getSumRow(int64_t index) const override {
    return index / (shape.getSumChunks() * kStep);
  }
  Values addWeighted(ValueRange sums, const Part &part,
                     Value columnTile) override;
  void storeSums(ValueRange sums, ValueRange factors, const Head &head,
                 Value first) override;

protected:
  int64_t getRows() const override { return shape.getRows(); }
  int64_t getColumns() const override { return shape.columns; }

private:
  void copyTile(const Head &head, Value first, int64_t lines, Value tile);
  void copyValues(Value from, Value first, Value count, Value to);
  Part multiplyColumns(Value rowTile, Value tile, int64_t count);
  Part toPart(ValueRange values, int64_t columns) const;
  void storeWeights(const Part &part);
  /// Four floats of a line of a tile, and four weights of a row.
  Values loadChunk(Value tile, Value line, Value element);
  Values loadWeights(int64_t i, Value column);

  /// How many columns of the tile at hand there are before the end, where
  /// sequences keep any number of rows; else null: all count.
  Value columnsLeft;

  const Shape shape;
  Value thread, rowLane, columnLane, weights;
  ColumnTile columnTile;
};

class FMASchedule : public TileSchedule {
public:
  FMASchedule(const Sizes &opSizes, const TileNeeds &tileNeeds,
              const TileSizes &tile)
      : sizes(opSizes), needs(tileNeeds), shape(sizes, needs, tile) {}

  int64_t getRows() const override { return shape.getRows(); }
  int64_t getColumns() const override { return shape.columns; }
  int64_t getThreads() const override { return shape.threads; }
  int64_t getSharedBytes() const override {
    return needs.rowTiles * shape.getTileBytes(shape.getRows()) +
           needs.columnTiles * shape.getTileBytes(shape.columns) +
           needs.columnValues * shape.getValueBytes() + shape.getWeightBytes();
  }
  std::unique_ptr<AttentionTiles>
  create(ImplicitLocOpBuilder &builder) const override {
    return std::make_unique<FMATiles>(builder, sizes, shape, needs);
  }

private:
  const Sizes sizes;
  const TileNeeds needs;
  const Shape shape;
};
} // namespace

std::unique_ptr<TileSchedule>
attention::createFMASchedule(const Sizes &sizes, const TileNeeds &needs,
                             const TileSizes &tile) {
  return std::make_unique<FMASchedule>(sizes, needs, tile);
}

/// Wide heads: more threads share a row, so that its sums fit in registers.
int64_t attention::getColumnLanes(const Sizes &sizes, const TileNeeds &needs) {
  return sizes.headDim * needs.sums <= 128 ? 8 : 16;
}

std::string attention::findFMAFault(const Sizes &sizes, const TileNeeds &needs,
                                    const TileSizes &tile) {
  int64_t columnLanes = getColumnLanes(sizes, needs);
  int64_t rowLanes = tile.warps * kWarpSize / columnLanes;
  if (tile.rows % rowLanes != 0 || tile.rows > 4 * rowLanes)
    return llvm::formatv("{0}, {1} or {2} rows of tiles for {3} warps",
                         rowLanes, 2 * rowLanes, 4 * rowLanes, tile.warps);
  int64_t most = std::min<int64_t>(64, tile.warps * kWarpSize);
  if (tile.columns < columnLanes || tile.columns > most)
    return llvm::formatv("{0} to {1} columns of tiles for {2} warps",
                         columnLanes, most, tile.warps);
  return "";
}

Shape::Shape(const Sizes &sizes, const TileNeeds &needs, const TileSizes &tile)
    : threads(tile.warps * kWarpSize), columns(tile.columns) {
  columnLanes = getColumnLanes(sizes, needs);
  rowLanes = threads / columnLanes;
  threadRows = tile.rows / rowLanes;
  depth = llvm::alignTo(sizes.headDim, kStep);
  int64_t chunks = depth / kStep;
  stride = kStep * (chunks % 2 == 0 ? chunks + 1 : chunks);
}

FMATiles::FMATiles(ImplicitLocOpBuilder &owner, const Sizes &opSizes,
                   const Shape &tileShape, const TileNeeds &needs)
    : AttentionTiles(owner, opSizes), shape(tileShape) {
  thread = threadIndex();
  rowLane = div(thread, shape.columnLanes);
  columnLane = rem(thread, shape.columnLanes);
  weights = takeShared(shape.getWeightBytes());
  for (int64_t i = 0; i < needs.columnTiles; ++i)
    columnTile.tiles.push_back(takeShared(shape.getTileBytes(shape.columns)));
  for (int64_t i = 0; i < needs.columnValues; ++i)
    columnTile.values.push_back(takeShared(shape.getValueBytes()));
}

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

/// Elements that lie aligned in every head and position.
static int64_t getVectorWidth(int64_t headDim) {
  return headDim % 4 == 0 ? 4 : headDim % 2 == 0 ? 2 : 1;
}

/// All threads copy `lines` rows; those behind the end and elements behind the
/// head's become 0.
void FMATiles::copyTile(const Head &head, Value first, int64_t lines,
                        Value tile) {
  int64_t width = getVectorWidth(sizes.headDim);
  int64_t vectors = shape.depth / width;
  Value zero = number(0), last = sub(head.count, constant(1));
  bool hasTail = sizes.headDim != shape.depth;
  loop(thread, constant(lines * vectors), shape.threads, [&](Value unit) {
    Value line = div(unit, vectors);
    Value element = mul(rem(unit, vectors), width);
    Value position = add(first, line);
    Value exists = less(position, head.count);
    Value from = element;
    if (hasTail) {
      exists = both(exists, less(element, sizes.headDim));
      from = smaller(element, constant(sizes.headDim - width));
    }
    Value source = offset(row(head, smaller(position, last)),
                          mul(from, sizes.getElementBytes()));
    Values elements = loadFloats(sizes.element, source, width);
    for (Value &value : elements)
      value = select(exists, value, zero);
    Value place = add(mul(line, shape.stride), element);
    storeFloats(getBuilder().getF32Type(), elements,
                offset(tile, mul(place, sizeof(float))));
  });
}

void FMATiles::copyValues(Value from, Value first, Value count, Value to) {
  ifTrue(less(thread, shape.columns), [&] {
    Value place = smaller(add(first, thread), sub(count, constant(1)));
    Value source = offset(from, mul(extend(place), sizeof(float)));
    Value value = load(getBuilder().getF32Type(), source, sizeof(float));
    store(value, offset(to, mul(thread, sizeof(float))), sizeof(float));
  });
}

Value FMATiles::copyRows(const Head &head, Value first) {
  Value tile = takeShared(shape.getTileBytes(shape.getRows()));
  copyTile(head, first, shape.getRows(), tile);
  return tile;
}

Values
FMATiles::stream(Value begin, Value end, ArrayRef<Head> heads,
                 ValueRange values, ValueRange initial,
                 function_ref<Values(const ColumnTile &, ValueRange)> body) {
  return loop(
      begin, end, shape.columns, initial, [&](Value first, ValueRange state) {
        barrier();
        for (auto [head, tile] : llvm::zip_equal(heads, columnTile.tiles))
          copyTile(head, first, shape.columns, tile);
        for (auto [from, to] : llvm::zip_equal(values, columnTile.values))
          copyValues(from, first, heads.front().count, to);
        barrier();
        ColumnTile tile = columnTile;
        tile.first = first;
        bool isCut = sizes.isRouted() && shape.columns > kLeastColumns;
        columnsLeft = isCut ? sub(end, first) : Value();
        return body(tile, state);
      });
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

Values FMATiles::loadChunk(Value tile, Value line, Value element) {
  Value place = add(mul(line, shape.stride), element);
  return loadFloats(getBuilder().getF32Type(),
                    offset(tile, mul(place, sizeof(float))), kStep);
}

/// The last columns of a sequence may leave the second half of a tile empty.
Part FMATiles::multiply(Value rowTile, Value tile) {
  int64_t columns = shape.getThreadColumns();
  if (!columnsLeft)
    return multiplyColumns(rowTile, tile, columns);
  SmallVector<Type> types(shape.threadRows * columns,
                          getBuilder().getF32Type());
  Value hasMore = less(constant(shape.columns / 2), columnsLeft);
  auto multiplyFirst = [&](int64_t count) {
    Values sums;
    for (const Values &row : multiplyColumns(rowTile, tile, count)) {
      sums.append(row);
      sums.append(columns - count, number(0));
    }
    return sums;
  };
  return toPart(ifElse(
                    hasMore, types, [&] { return multiplyFirst(columns); },
                    [&] { return multiplyFirst(columns / 2); }),
                columns);
}

/// <row, column> of the thread's rows and the first `count` of its columns.
Part FMATiles::multiplyColumns(Value rowTile, Value tile, int64_t count) {
  Values zeros(shape.threadRows * count, number(0));
  auto step = [&](Value element, ValueRange state) {
    Part rowChunks, columnChunks;
    for (int64_t i = 0; i < shape.threadRows; ++i)
      rowChunks.push_back(loadChunk(rowTile, getRow(i), element));
    for (int64_t j = 0; j < count; ++j)
      columnChunks.push_back(loadChunk(tile, getColumn(j), element));
    Values sums(state);
    for (int64_t k = 0; k < kStep; ++k)
      for (auto [index, sum] : llvm::enumerate(sums))
        sum = fma(rowChunks[index / count][k], columnChunks[index % count][k],
                  sum);
    return sums;
  };
  return toPart(loop(constant(0), constant(shape.depth), kStep, zeros, step),
                count);
}

Part FMATiles::toPart(ValueRange values, int64_t columns) const {
  Part part;
  for (int64_t i = 0; i < shape.threadRows; ++i)
    part.emplace_back(values.slice(i * columns, columns));
  return part;
}

/// The rows' weights are read by the warp that has written them.
void FMATiles::storeWeights(const Part &part) {
  warpBarrier();
  for (auto [i, values] : llvm::enumerate(part))
    for (auto [j, weight] : llvm::enumerate(values)) {
      Value place = add(mul(getRow(i), shape.getWeightStride()), getColumn(j));
      store(weight, offset(weights, mul(place, sizeof(float))), sizeof(float));
    }
  warpBarrier();
}

Values FMATiles::loadWeights(int64_t i, Value column) {
  Value place = add(mul(getRow(i), shape.getWeightStride()), column);
  return loadFloats(getBuilder().getF32Type(),
                    offset(weights, mul(place, sizeof(float))), kStep);
}

Values FMATiles::addWeighted(ValueRange initial, const Part &part, Value tile) {
  storeWeights(part);
  int64_t chunks = shape.getSumChunks();
  // A thread without elements of its own repeats the last ones.
  Values elements;
  for (int64_t n = 0; n < chunks; ++n)
    elements.push_back(
        smaller(mul(add(columnLane, n * shape.columnLanes), kStep),
                constant(shape.depth - kStep)));
  auto step = [&](Value column, ValueRange state) {
    Part factors;
    for (int64_t i = 0; i < shape.threadRows; ++i)
      factors.push_back(loadWeights(i, column));
    Values sums(state);
    for (int64_t k = 0; k < kStep; ++k)
      for (int64_t n = 0; n < chunks; ++n) {
        Values chunk = loadChunk(tile, add(column, k), elements[n]);
        for (int64_t i = 0; i < shape.threadRows; ++i)
          for (int64_t e = 0; e < kStep; ++e) {
            Value &sum = sums[(i * chunks + n) * kStep + e];
            sum = fma(factors[i][k], chunk[e], sum);
          }
      }
    return sums;
  };
  Value end = constant(shape.columns);
  if (columnsLeft)
    end = smaller(end, columnsLeft);
  return loop(constant(0), end, kStep, initial, step);
}

void FMATiles::storeSums(ValueRange sums, ValueRange factors, const Head &head,
                         Value first) {
  int64_t width = getVectorWidth(sizes.headDim);
  int64_t rowSums = shape.getSumChunks() * kStep;
  for (int64_t i = 0; i < shape.threadRows; ++i) {
    Value position = add(first, getRow(i));
    ifTrue(less(position, head.count), [&] {
      Value start = row(head, position);
      for (int64_t at = 0; at < rowSums; at += width) {
        Value chunk = add(columnLane, at / kStep * shape.columnLanes);
        Value element = add(mul(chunk, kStep), at % kStep);
        Values values;
        for (Value sum : sums.slice(i * rowSums + at, width))
          values.push_back(mulf(sum, factors[i]));
        ifTrue(less(element, sizes.headDim), [&] {
          storeFloats(sizes.element, values,
                      offset(start, mul(element, sizes.getElementBytes())));
        });
      }
    });
  }
}
