// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "AttentionTiles.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace nag;
using namespace nag::attention;

std::unique_ptr<TileSchedule> attention::createSchedule(const Sizes &sizes,
                                                        const TileNeeds &needs,
                                                        const TileSizes &tile) {
  return fitsTensorCores(sizes) ? createTensorCoreSchedule(sizes, needs, tile)
                                : createFMASchedule(sizes, needs, tile);
}

std::string attention::findFault(const Sizes &sizes, const TileNeeds &needs,
                                 const TileSizes &tile) {
  return fitsTensorCores(sizes) ? findTensorCoreFault(sizes, needs, tile)
                                : findFMAFault(sizes, needs, tile);
}

int64_t attention::countQueryTiles(const Sizes &sizes, int64_t rows) {
  int64_t tiles = sizes.isRouted()
                      ? sizes.countRoutedTiles(rows)
                      : llvm::divideCeil(sizes.length, rows) * sizes.batch;
  return tiles * sizes.heads;
}

int64_t attention::countKeyTiles(const Sizes &sizes, int64_t rows) {
  return sizes.routesKeys ? sizes.countRoutedTiles(rows)
                          : llvm::divideCeil(sizes.length, rows);
}

QueryTile attention::findQueryTile(AttentionCode &code,
                                   const TileSchedule &schedule) {
  const Sizes &sizes = code.getSizes();
  int64_t rows = schedule.getRows();
  Value block = code.blockIndex();
  if (sizes.isRouted()) {
    int64_t tiles = sizes.countRoutedTiles(rows);
    auto [batch, tile] = code.findRoutedTile(code.rem(block, tiles), rows);
    return {batch, code.div(block, tiles), code.mul(tile, rows)};
  }
  int64_t tiles = llvm::divideCeil(sizes.length, rows);
  // The last queries see the most keys: they start first.
  Value tile = code.sub(code.constant(tiles - 1), code.rem(block, tiles));
  return {code.div(block, tiles * sizes.heads),
          code.rem(code.div(block, tiles), sizes.heads), code.mul(tile, rows)};
}

Value AttentionTiles::takeShared(int64_t bytes) {
  Value start = offset(dynamicShared(), sharedBytes);
  sharedBytes += bytes;
  return start;
}

Values AttentionTiles::streamAny(
    Value begin, Value end, ArrayRef<Head> heads, ValueRange values,
    ValueRange initial,
    function_ref<Values(const ColumnTile &, ValueRange)> body) {
  if (!sizes.isRouted())
    return stream(begin, end, heads, values, initial, body);
  return ifElse(
      less(begin, end), initial.getTypes(),
      [&] { return stream(begin, end, heads, values, initial, body); },
      [&] { return Values(initial); });
}

/// Of rows behind the end, that of the last.
Values AttentionTiles::loadPositions(const RowRange &rows) {
  Values positions;
  for (int64_t i = 0; i < getThreadRows(); ++i) {
    Value number = add(rows.first, getRow(i));
    if (rows.set.isRouted())
      number = smaller(number, sub(rows.set.count, constant(1)));
    positions.push_back(position(rows.set, number));
  }
  return positions;
}

Values AttentionTiles::multiplyRows(const Head &a, const Head &b, Value first) {
  // The widest access that divides heads.
  int64_t bytes = sizes.getElementBytes(), width = 16 / bytes;
  while (sizes.headDim % width != 0)
    width /= 2;
  int64_t step = width * getRowLanes();
  bool isWhole = sizes.headDim % step == 0;
  Values rows, sums(getThreadRows(), number(0));
  for (int64_t i = 0; i < getThreadRows(); ++i)
    rows.push_back(smaller(add(first, getRow(i)), sub(a.count, constant(1))));
  Value lane = mul(getRowLane(), width);
  sums = loop(constant(0), constant(sizes.headDim), step, sums,
              [&](Value from, ValueRange state) {
                Value element = add(from, lane), exists;
                if (!isWhole) {
                  exists = less(element, sizes.headDim);
                  element = smaller(element, constant(sizes.headDim - width));
                }
                Value at = mul(element, bytes);
                auto load = [&](const Head &head, Value number) {
                  return loadFloats(sizes.element,
                                    offset(row(head, number), at), width);
                };
                Values next;
                for (auto [number, sum] : llvm::zip_equal(rows, state)) {
                  Value total = sum;
                  for (auto [x, y] :
                       llvm::zip_equal(load(a, number), load(b, number)))
                    total = fma(x, y, total);
                  next.push_back(isWhole ? total : select(exists, total, sum));
                }
                return next;
              });
  for (Value &sum : sums)
    sum = reduceRow(sum, [&](Value x, Value y) { return addf(x, y); });
  return sums;
}

void AttentionTiles::storeRowValues(ValueRange values, Value start,
                                    const RowSet &set, Value first) {
  for (auto [i, value] : llvm::enumerate(values)) {
    Value place = add(first, getRow(int64_t(i)));
    Value isOwn = both(less(getRowLane(), 1), less(place, set.count));
    ifTrue(isOwn, [&, value = value] {
      store(value, offset(start, mul(extend(place), sizeof(float))),
            sizeof(float));
    });
  }
}

/// Whether `count` rows from the first on exist.
Value AttentionTiles::hasRows(const RowRange &range, int64_t count) {
  if (range.set.isRouted())
    return less(add(range.first, count - 1), range.set.count);
  return less(range.first, sizes.length - count + 1);
}

/// Whether all pairs of existing queries and keys are visible, and all queries
/// exist.
Value AttentionTiles::isWhollyVisible(const RowRange &queries,
                                      int64_t queryCount, const RowRange &keys,
                                      int64_t keyCount) {
  // The first query sees the last key; signed, as the difference is negative
  // where it does not.
  Value nearest = sub(queries.firstPosition, keys.lastPosition);
  Value visible = getBuilder().createOrFold<arith::CmpIOp>(
      arith::CmpIPredicate::sge, nearest, constant(0));
  visible = both(visible, hasRows(queries, queryCount));
  if (keys.set.isRouted())
    visible = both(visible, hasRows(keys, keyCount));
  if (!sizes.hasWindow())
    return visible;
  return both(visible, less(sub(queries.lastPosition, keys.firstPosition),
                            sizes.getSpan()));
}

Part AttentionTiles::mask(const Part &part, Rows rows, const RowRange &range,
                          ValueRange positions, const RowSet &columnSet,
                          const ColumnTile &columns, double invisible) {
  ImplicitLocOpBuilder &ops = getBuilder();
  bool rowsAreQueries = rows == Rows::Queries;
  RowRange columnRange =
      AttentionCode::range(columnSet, columns.first, getColumns());
  Value whole =
      rowsAreQueries
          ? isWhollyVisible(range, getRows(), columnRange, getColumns())
          : isWhollyVisible(columnRange, getColumns(), range, getRows());
  if (sizes.length < std::max(getRows(), getColumns()))
    whole = arith::ConstantOp::create(ops, ops.getBoolAttr(false));
  Values original;
  for (const Values &row : part)
    original.append(row);
  SmallVector<Type> types(original.size(), ops.getF32Type());
  auto branch = scf::IfOp::create(ops, types, whole, /*withElse=*/true);
  OpBuilder::InsertionGuard guard(ops);
  ops.setInsertionPointToStart(branch.thenBlock());
  scf::YieldOp::create(ops, original);
  ops.setInsertionPointToStart(branch.elseBlock());
  Value replacement = number(invisible);
  // Queries behind the end have no row of sums to spoil where they are rows; as
  // columns they would be summed. No query sees keys behind the end, but for
  // routed ones, whose positions are not known there.
  bool mayEnd = !rowsAreQueries || columnSet.isRouted();
  int64_t columnCount = part.front().size();
  Values columnPositions, exist;
  for (int64_t j = 0; j < columnCount; ++j) {
    Value number = add(columns.first, getColumn(j));
    exist.push_back(mayEnd ? less(number, columnSet.count) : Value());
    columnPositions.push_back(
        columnSet.isRouted()
            ? load(ops.getI32Type(),
                   offset(columns.values.back(), mul(getColumn(j), 4)), 4)
            : position(columnSet, number));
  }
  Values masked;
  for (auto [i, row] : llvm::enumerate(part))
    for (auto [j, value] : llvm::enumerate(row)) {
      Value visible = rowsAreQueries ? sees(positions[i], columnPositions[j])
                                     : sees(columnPositions[j], positions[i]);
      if (exist[j])
        visible = both(visible, exist[j]);
      masked.push_back(select(visible, value, replacement));
    }
  scf::YieldOp::create(ops, masked);
  Part result;
  ValueRange results = branch.getResults();
  for (size_t i = 0; i < part.size(); ++i)
    result.emplace_back(results.slice(i * columnCount, columnCount));
  return result;
}
