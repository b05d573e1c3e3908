// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "AttentionFMA.h"

using namespace mlir;
using namespace nag;
using namespace nag::attention;

/// Elements per step: what one vector holds.
static constexpr int64_t kStep = 4;

FMAShape FMAShape::choose(const Sizes &sizes, int64_t products, int64_t sums) {
  FMAShape shape;
  // Wide heads: more threads share a row, so that its sums fit in registers.
  shape.columnLanes = sizes.headDim * sums <= 128 ? 8 : 16;
  shape.rowLanes = 128 / shape.columnLanes;
  shape.columns = sizes.headDim <= 64 && products == 1 ? 64 : 32;
  shape.rowsPerThread = sizes.headDim * sums <= 256 ? 4 : 2;
  while (shape.rowsPerThread > 1 && shape.getRows() / 2 >= sizes.length)
    shape.rowsPerThread /= 2;
  shape.depth = llvm::alignTo(sizes.headDim, kStep);
  int64_t chunks = shape.depth / kStep;
  shape.stride = kStep * (chunks % 2 == 0 ? chunks + 1 : chunks);
  return shape;
}

bool attention::fitsFMA(const Sizes &sizes) { return sizes.headDim <= 256; }

FMACode::FMACode(ImplicitLocOpBuilder &owner, const Sizes &opSizes,
                 const FMAShape &fmaShape)
    : AttentionCode(owner, opSizes), shape(fmaShape) {
  thread = threadIndex();
  rowLane = div(thread, shape.columnLanes);
  columnLane = rem(thread, shape.columnLanes);
  shared = dynamicShared();
}

Value FMACode::takeShared(int64_t bytes) {
  Value start = offset(shared, sharedBytes);
  sharedBytes += bytes;
  return start;
}

/// Elements that lie aligned in every head and position.
static int64_t getVectorWidth(int64_t headDim) {
  return headDim % 4 == 0 ? 4 : headDim % 2 == 0 ? 2 : 1;
}

void FMACode::copyTile(const Head &head, Value first, int64_t lines,
                       Value tile) {
  int64_t width = getVectorWidth(sizes.headDim);
  int64_t vectors = shape.depth / width;
  int64_t elementBytes = sizes.getElementBytes();
  Value zero = number(0), last = constant(sizes.length - 1);
  bool hasTail = sizes.headDim != shape.depth;
  loop(thread, constant(lines * vectors), shape.getThreads(), [&](Value unit) {
    Value line = div(unit, vectors);
    Value element = mul(rem(unit, vectors), width);
    Value position = add(first, line);
    Value exists = less(position, sizes.length);
    Value from = element;
    if (hasTail) {
      exists = both(exists, less(element, sizes.headDim));
      from = smaller(element, constant(sizes.headDim - width));
    }
    Value source =
        offset(row(head, smaller(position, last)), mul(from, elementBytes));
    Values values = loadFloats(sizes.element, source, width);
    for (Value &value : values)
      value = select(exists, value, zero);
    Value place = add(mul(line, shape.stride), element);
    storeFloats(getBuilder().getF32Type(), values,
                offset(tile, mul(place, sizeof(float))));
  });
}

void FMACode::copySums(Value from, Value first, double factor, Value to) {
  ifTrue(less(thread, shape.columns), [&] {
    Value position = add(first, thread);
    Value place = smaller(position, constant(sizes.length - 1));
    Value source = offset(from, mul(extend(place), sizeof(float)));
    Value value = load(getBuilder().getF32Type(), source, sizeof(float));
    if (factor != 1)
      value = mulf(value, number(factor));
    store(value, offset(to, mul(thread, sizeof(float))), sizeof(float));
  });
}

Values FMACode::loadChunk(Value tile, Value line, Value element) {
  Value place = add(mul(line, shape.stride), element);
  return loadFloats(getBuilder().getF32Type(),
                    offset(tile, mul(place, sizeof(float))), kStep);
}

Part FMACode::multiply(Value rowTile, Value columnTile) {
  int64_t columns = shape.getColumnsPerThread();
  Values zeros(shape.rowsPerThread * columns, number(0));
  auto step = [&](Value element, ValueRange state) {
    Part rows, cols;
    for (int64_t i = 0; i < shape.rowsPerThread; ++i)
      rows.push_back(loadChunk(rowTile, getRow(i), element));
    for (int64_t j = 0; j < columns; ++j)
      cols.push_back(loadChunk(columnTile, getColumn(j), element));
    Values sums(state);
    for (int64_t k = 0; k < kStep; ++k)
      for (int64_t i = 0; i < shape.rowsPerThread; ++i)
        for (int64_t j = 0; j < columns; ++j)
          sums[i * columns + j] =
              fma(rows[i][k], cols[j][k], sums[i * columns + j]);
    return sums;
  };
  Values sums = loop(constant(0), constant(shape.depth), kStep, zeros, step);
  Part part;
  for (int64_t i = 0; i < shape.rowsPerThread; ++i)
    part.emplace_back(ArrayRef(sums).slice(i * columns, columns));
  return part;
}

void FMACode::storeWeights(const Part &weights, Value to) {
  for (auto [i, row] : llvm::enumerate(weights))
    for (auto [j, weight] : llvm::enumerate(row)) {
      Value place = add(mul(getRow(i), shape.getWeightStride()), getColumn(j));
      store(weight, offset(to, mul(place, sizeof(float))), sizeof(float));
    }
}

Values FMACode::zeroSums() {
  return Values(shape.rowsPerThread * shape.getSumChunks() * kStep, number(0));
}

Values FMACode::addWeighted(ValueRange initial, Value weights,
                            Value columnTile) {
  int64_t chunks = shape.getSumChunks();
  Type f32 = getBuilder().getF32Type();
  // A thread without elements of its own repeats the last ones.
  Values elements;
  for (int64_t n = 0; n < chunks; ++n)
    elements.push_back(
        smaller(mul(add(columnLane, n * shape.columnLanes), kStep),
                constant(shape.depth - kStep)));
  auto step = [&](Value column, ValueRange state) {
    Part factors;
    for (int64_t i = 0; i < shape.rowsPerThread; ++i) {
      Value place = add(mul(getRow(i), shape.getWeightStride()), column);
      factors.push_back(
          loadFloats(f32, offset(weights, mul(place, sizeof(float))), kStep));
    }
    Values sums(state);
    for (int64_t k = 0; k < kStep; ++k)
      for (int64_t n = 0; n < chunks; ++n) {
        Values chunk = loadChunk(columnTile, add(column, k), elements[n]);
        for (int64_t i = 0; i < shape.rowsPerThread; ++i)
          for (int64_t e = 0; e < kStep; ++e) {
            Value &sum = sums[(i * chunks + n) * kStep + e];
            sum = fma(factors[i][k], chunk[e], sum);
          }
      }
    return sums;
  };
  return loop(constant(0), constant(shape.columns), kStep, initial, step);
}

void FMACode::storeSums(ValueRange sums, ValueRange factors, const Head &head,
                        Value first) {
  int64_t chunks = shape.getSumChunks();
  int64_t width = getVectorWidth(sizes.headDim);
  for (int64_t i = 0; i < shape.rowsPerThread; ++i) {
    Value position = add(first, getRow(i));
    ifTrue(less(position, sizes.length), [&] {
      Value start = row(head, position);
      for (int64_t n = 0; n < chunks; ++n)
        for (int64_t e = 0; e < kStep; e += width) {
          Value element =
              add(mul(add(columnLane, n * shape.columnLanes), kStep), e);
          Values values;
          for (int64_t k = 0; k < width; ++k)
            values.push_back(
                mulf(sums[(i * chunks + n) * kStep + e + k], factors[i]));
          ifTrue(less(element, sizes.headDim), [&] {
            storeFloats(sizes.element, values,
                        offset(start, mul(element, sizes.getElementBytes())));
          });
        }
    });
  }
}
