// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "TokenSort.h"
#include "LastBlock.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace nag;

using Values = KernelCode::Values;

/// Stands for the digit of a position behind the end.
static constexpr int64_t kNoDigit = -1;
static constexpr int64_t kWarpSize = 32, kWarps = kSortChunk / kWarpSize;

namespace {
/// One digit's part of the sort: how often each chunk of positions has each
/// value, by the last block where the positions of each go (an exclusive sum
/// over values and then chunks), and their move.
class DigitPass : public KernelCode {
public:
  DigitPass(ImplicitLocOpBuilder &owner, int64_t positions, int64_t firstBit)
      : KernelCode(owner), count(positions), bit(firstBit),
        chunks(llvm::divideCeil(positions, kSortChunk)) {}

  /// counts[value, chunk]: thread v counts the value v.
  void countDigits(Value tokens, Value counts);
  /// Moves tokens and positions to their places: behind all of smaller digits,
  /// earlier chunks, and earlier positions of the chunk. Null `positions` are
  /// 0, 1, 2, ...
  void move(Value counts, const TokenSort::Sorted &from,
            const TokenSort::Sorted &to);

private:
  void sumCounts(Value buffer);
  /// Stores every thread's digit in `digits`, and returns it.
  Value shareDigit(Value tokens, Value position, Value digits);
  /// How many of digits [0, end) of the chunk equal `digit`.
  Value countEqual(Value digits, Value end, Value digit);
  Type getI32() { return getBuilder().getI32Type(); }

  const int64_t count, bit, chunks;
};
} // namespace

Value DigitPass::shareDigit(Value tokens, Value position, Value digits) {
  Value last = constant(count - 1);
  Value token = loadAt(getI32(), tokens, smaller(position, last));
  Value digit = bitAnd(shiftRight(token, bit), (1 << kSortDigitBits) - 1);
  digit = select(less(position, count), digit, constant(kNoDigit));
  store(digit, offset(digits, mul(threadIndex(), 4)), 4);
  barrier();
  return digit;
}

Value DigitPass::countEqual(Value digits, Value end, Value digit) {
  return loop(constant(0), end, 1, constant(0),
              [&](Value other, ValueRange state) -> Values {
                Value value = load(getI32(), offset(digits, mul(other, 4)), 4);
                Value same = getBuilder().createOrFold<arith::CmpIOp>(
                    arith::CmpIPredicate::eq, value, digit);
                return {add(state[0], select(same, constant(1), constant(0)))};
              })[0];
}

void DigitPass::countDigits(Value tokens, Value counts) {
  Value thread = threadIndex(), chunk = blockIndex();
  Value digits = dynamicShared();
  Value position = add(mul(chunk, kSortChunk), thread);
  shareDigit(tokens, position, digits);
  Value equal = countEqual(digits, constant(kSortChunk), thread);
  storeAt(equal, counts, add(mul(thread, chunks), chunk));
  emitInLastBlock(*this, digits, constant(0), /*counters=*/1, constant(chunks),
                  [&] { sumCounts(counts); });
}

/// Replaces the counts by the sums of all before: a thread adds up some
/// neighbours, warps their threads' sums, and each warp those of all warps.
void DigitPass::sumCounts(Value buffer) {
  // Behind what told the last block.
  Value sums = offset(dynamicShared(), 16);
  Value thread = threadIndex();
  Value lane = rem(thread, kWarpSize), warp = div(thread, kWarpSize);
  // As many numbers as there are counts of one value.
  Value first = mul(thread, chunks);
  Value stop = add(first, chunks);
  Value own = loop(first, stop, 1, constant(0),
                   [&](Value at, ValueRange state) -> Values {
                     return {add(state[0], loadAt(getI32(), buffer, at))};
                   })[0];
  Value inWarp = inclusiveSum(own, lane);
  Value place = offset(sums, mul(warp, 4));
  ifTrue(less(bitXor(lane, kWarpSize - 1), 1),
         [&] { store(inWarp, place, 4); });
  barrier();
  Value total = load(
      getI32(), offset(sums, mul(smaller(lane, constant(kWarps - 1)), 4)), 4);
  total = select(less(lane, kWarps), total, constant(0));
  Value before = sub(inclusiveSum(total, lane), total);
  before = shuffle(before, warp);
  before = add(before, sub(inWarp, own));
  loop(first, stop, 1, before, [&](Value at, ValueRange state) -> Values {
    Value value = loadAt(getI32(), buffer, at);
    storeAt(state[0], buffer, at);
    return {add(state[0], value)};
  });
}

void DigitPass::move(Value counts, const TokenSort::Sorted &from,
                     const TokenSort::Sorted &to) {
  Value thread = threadIndex(), chunk = blockIndex();
  Value digits = dynamicShared();
  Value place = add(mul(chunk, kSortChunk), thread);
  Value digit = shareDigit(from.tokens, place, digits);
  Value rank = countEqual(digits, thread, digit);
  ifTrue(less(place, count), [&] {
    Value start = loadAt(getI32(), counts, add(mul(digit, chunks), chunk));
    Value target = add(start, rank);
    Value position =
        from.positions ? loadAt(getI32(), from.positions, place) : place;
    storeAt(loadAt(getI32(), from.tokens, place), to.tokens, target);
    storeAt(position, to.positions, target);
  });
}

TokenSort::TokenSort(KernelLowering &kernel, Value tokens, int64_t tokenCount,
                     int64_t rows)
    : count(tokenCount) {
  int64_t bits = std::max<int64_t>(llvm::Log2_64_Ceil(rows), 1);
  digits = llvm::divideCeil(bits, kSortDigitBits);
  int64_t counts = llvm::alignTo(count, kSortChunk);
  buffers.push_back(tokens);
  for (int64_t digit = 0; digit < digits; ++digit)
    for (int64_t size : {counts, count, count})
      buffers.push_back(kernel.allocateScratch(
          MemRefType::get({size}, kernel.getHostBuilder().getI32Type())));
}

SmallVector<int64_t> TokenSort::getPhases() const {
  if (count == 0)
    return {};
  return SmallVector<int64_t>(2 * digits, llvm::divideCeil(count, kSortChunk));
}

TokenSort::Sorted TokenSort::build(BlockPhases &phases,
                                   ImplicitLocOpBuilder &builder,
                                   ArrayRef<Value> arguments) const {
  if (count == 0)
    return {arguments.drop_back().back(), arguments.back()};
  Sorted from{arguments.front(), Value()};
  for (int64_t digit = 0; digit < digits; ++digit) {
    DigitPass pass(builder, count, digit * kSortDigitBits);
    Value counts = arguments[1 + 3 * digit];
    Sorted to{arguments[2 + 3 * digit], arguments[3 + 3 * digit]};
    phases.build([&](Value block) {
      pass.setBlockIndex(block);
      pass.countDigits(from.tokens, counts);
    });
    phases.build([&](Value block) {
      pass.setBlockIndex(block);
      pass.move(counts, from, to);
    });
    from = to;
  }
  return from;
}
