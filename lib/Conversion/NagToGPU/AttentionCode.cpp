// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "AttentionCode.h"

using namespace mlir;
using namespace nag;
using namespace nag::attention;

Head AttentionCode::head(Value buffer, int64_t heads, Value batch, Value head) {
  int64_t headBytes = sizes.headDim * sizes.getElementBytes();
  int64_t rowBytes = heads * headBytes;
  Value start = pointer(buffer, Space::Global);
  start = offset(start, mul(extend(batch), sizes.length * rowBytes));
  return {offset(start, mul(extend(head), headBytes)), rowBytes};
}

Value AttentionCode::row(const Head &head, Value position) {
  return offset(head.start, mul(extend(position), head.rowBytes));
}

Value AttentionCode::headSums(Value buffer, Value batch, Value head) {
  Value row = add(mul(extend(batch), sizes.heads), extend(head));
  return offset(pointer(buffer, Space::Global),
                mul(row, sizes.length * sizeof(float)));
}

//===----------------------------------------------------------------------===//
// Visibility
//===----------------------------------------------------------------------===//

Value AttentionCode::sees(Value query, Value key) {
  // One unsigned comparison: a key behind the query is far away.
  return less(sub(query, key), sizes.getSpan());
}

std::pair<Value, Value> AttentionCode::keyRange(Value first, int64_t count,
                                                int64_t step) {
  Value begin = constant(0);
  if (sizes.getSpan() < sizes.length) {
    begin = larger(add(first, 1 - sizes.getSpan()), begin);
    begin = mul(div(begin, step), step);
  }
  return {begin, smaller(add(first, count), constant(sizes.length))};
}

std::pair<Value, Value> AttentionCode::queryRange(Value first, int64_t count) {
  Value end = constant(sizes.length);
  if (sizes.getSpan() < sizes.length)
    end = smaller(add(first, count - 1 + sizes.getSpan()), end);
  return {first, end};
}
