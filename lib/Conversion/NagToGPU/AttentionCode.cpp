// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "AttentionCode.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace nag;
using namespace nag::attention;

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

RowSet AttentionCode::getAllRows(Value batch) {
  Value first = mul(batch, sizes.length);
  // Positions that are compared with those of routed rows count through all
  // sequences.
  Value origin = sizes.isRouted() ? first : constant(0);
  return {first, constant(sizes.length), origin, Value()};
}

RowSet AttentionCode::getRoutedRows(Value batch) {
  Type i32 = getBuilder().getI32Type();
  Value first = loadAt(i32, offsets, batch);
  Value next = loadAt(i32, offsets, add(batch, 1));
  // Where an empty sequence stands behind all others, there is no row to name.
  Value named = smaller(first, constant(sizes.routedRows - 1));
  Value start = offset(pointer(indices, Space::Global), mul(extend(named), 4));
  return {first, sub(next, first), Value(), start};
}

RowSet AttentionCode::getQueries(Value batch) {
  return sizes.isRouted() ? getRoutedRows(batch) : getAllRows(batch);
}

RowSet AttentionCode::getKeys(Value batch) {
  return sizes.routesKeys ? getRoutedRows(batch) : getAllRows(batch);
}

std::pair<Value, Value> AttentionCode::findRoutedTile(Value tile,
                                                      int64_t rows) {
  Value initial[] = {constant(0), tile};
  Values state =
      loop(constant(0), constant(sizes.batch - 1), 1, initial,
           [&](Value batch, ValueRange current) -> Values {
             Value count = getRoutedRows(batch).count;
             Value tiles = div(add(count, rows - 1), rows);
             Value isHere = getBuilder().createOrFold<arith::CmpIOp>(
                 arith::CmpIPredicate::eq, current[0], batch);
             Value isBehind = getBuilder().createOrFold<arith::CmpIOp>(
                 arith::CmpIPredicate::sge, current[1], tiles);
             Value passes = both(isHere, isBehind);
             return {select(passes, add(batch, 1), current[0]),
                     select(passes, sub(current[1], tiles), current[1])};
           });
  return {state[0], state[1]};
}

void AttentionCode::ifHasRow(const RowSet &set, Value first,
                             function_ref<void()> body) {
  if (set.isRouted())
    ifTrue(less(first, set.count), body);
  else
    body();
}

Head AttentionCode::head(Value buffer, int64_t heads, const RowSet &set,
                         Value head) {
  int64_t headBytes = sizes.headDim * sizes.getElementBytes();
  int64_t rowBytes = heads * headBytes;
  Value start = pointer(buffer, Space::Global);
  start = offset(start, mul(extend(set.first), rowBytes));
  return {offset(start, mul(extend(head), headBytes)), rowBytes, set.count};
}

Value AttentionCode::row(const Head &head, Value number) {
  return offset(head.start, mul(extend(number), head.rowBytes));
}

Value AttentionCode::headSums(Value buffer, const RowSet &set, Value batch,
                              Value head) {
  Value start = pointer(buffer, Space::Global);
  if (!set.isRouted()) {
    Value row = add(mul(extend(batch), sizes.heads), extend(head));
    return offset(start, mul(row, sizes.length * sizeof(float)));
  }
  Value element = add(mul(extend(head), sizes.routedRows), extend(set.first));
  return offset(start, mul(element, sizeof(float)));
}

//===----------------------------------------------------------------------===//
// Visibility
//===----------------------------------------------------------------------===//

Value AttentionCode::position(const RowSet &set, Value number) {
  if (!set.isRouted())
    return add(set.origin, number);
  return load(getBuilder().getI32Type(),
              offset(set.indices, mul(extend(number), 4)), 4);
}

RowRange AttentionCode::range(const RowSet &set, Value first, int64_t count) {
  Value last = add(first, count - 1);
  if (set.isRouted())
    last = smaller(last, sub(set.count, constant(1)));
  return {set, first, position(set, first), position(set, last)};
}

Value AttentionCode::sees(Value query, Value key) {
  // One unsigned comparison: a key behind the query is far away.
  return less(sub(query, key), sizes.getSpan());
}

Value AttentionCode::countBefore(const RowSet &set, Value place) {
  return countLeading(set.count, sizes.routedRows, [&](Value middle) {
    Value last = sub(set.count, constant(1));
    Value found = position(set, larger(smaller(middle, last), constant(0)));
    return getBuilder().createOrFold<arith::CmpIOp>(arith::CmpIPredicate::slt,
                                                    found, place);
  });
}

std::pair<Value, Value> AttentionCode::keyRange(const RowRange &queries,
                                                int64_t count,
                                                const RowSet &keys,
                                                int64_t step) {
  Value begin = constant(0);
  if (sizes.hasWindow()) {
    Value seen = add(queries.firstPosition, 1 - sizes.getSpan());
    begin = keys.isRouted() ? countBefore(keys, seen)
                            : larger(sub(seen, keys.origin), begin);
    begin = mul(div(begin, step), step);
  }
  // Routed keys have the numbers of their queries.
  bool hasOwnNumbers = queries.set.isRouted() && !keys.isRouted();
  Value end = hasOwnNumbers ? add(sub(queries.lastPosition, keys.origin), 1)
                            : add(queries.first, count);
  return {begin, smaller(end, keys.count)};
}

std::pair<Value, Value> AttentionCode::queryRange(const RowRange &keys,
                                                  int64_t count,
                                                  const RowSet &queries) {
  Value begin = keys.first, end = queries.count;
  if (queries.isRouted() && !keys.set.isRouted())
    begin = countBefore(queries, keys.firstPosition);
  if (!sizes.hasWindow())
    return {begin, end};
  if (queries.isRouted())
    return {begin,
            countBefore(queries, add(keys.lastPosition, sizes.getSpan()))};
  return {begin, smaller(add(keys.first, count - 1 + sizes.getSpan()), end)};
}
