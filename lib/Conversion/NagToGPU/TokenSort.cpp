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
class DigitPass {
public:
  DigitPass(KernelLowering &lowering, int64_t positions, int64_t firstBit)
      : kernel(lowering), count(positions), bit(firstBit),
        chunks(llvm::divideCeil(positions, kSortChunk)),
        counts(kernel.allocateScratch(
            MemRefType::get({kSortChunk * chunks}, getI32()))) {}

  Type getI32() { return kernel.getHostBuilder().getI32Type(); }
  /// A null `positions` is 0, 1, 2, ...
  void run(Value tokens, Value positions, Value sortedTokens,
           Value sortedPositions);

private:
  std::string name(StringRef step) const {
    return (step + llvm::Twine(bit / kSortDigitBits)).str();
  }
  void countDigits(Value tokens);
  void sumCounts(KernelCode &code, Value buffer);
  void move(ValueRange buffers);
  /// Stores every thread's digit in `digits`, and returns it.
  Value shareDigit(KernelCode &code, Value tokens, Value position,
                   Value digits);
  /// How many of digits [0, end) of the chunk equal `digit`.
  Value countEqual(KernelCode &code, Value digits, Value end, Value digit);

  KernelLowering &kernel;
  const int64_t count, bit, chunks;
  Value counts;
};
} // namespace

Value DigitPass::shareDigit(KernelCode &code, Value tokens, Value position,
                            Value digits) {
  Value last = code.constant(count - 1);
  Value token = code.loadAt(getI32(), tokens, code.smaller(position, last));
  Value digit =
      code.bitAnd(code.shiftRight(token, bit), (1 << kSortDigitBits) - 1);
  digit =
      code.select(code.less(position, count), digit, code.constant(kNoDigit));
  code.store(digit, code.offset(digits, code.mul(code.threadIndex(), 4)), 4);
  code.barrier();
  return digit;
}

Value DigitPass::countEqual(KernelCode &code, Value digits, Value end,
                            Value digit) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  return code.loop(
      code.constant(0), end, 1, code.constant(0),
      [&](Value other, ValueRange state) -> Values {
        Value value =
            code.load(getI32(), code.offset(digits, code.mul(other, 4)), 4);
        Value same = builder.createOrFold<arith::CmpIOp>(
            arith::CmpIPredicate::eq, value, digit);
        return {code.add(
            state[0], code.select(same, code.constant(1), code.constant(0)))};
      })[0];
}

/// counts[value, chunk]: thread v counts the value v.
void DigitPass::countDigits(Value tokens) {
  DeviceFunction device =
      kernel.createLaunch(name("count"), {tokens, counts}, {chunks, 1, 1},
                          {kSortChunk, 1, 1}, kSortChunk * sizeof(int32_t));
  KernelCode code(device.builder);
  Value thread = code.threadIndex(), chunk = code.blockIndex();
  Value digits = code.dynamicShared();
  Value position = code.add(code.mul(chunk, kSortChunk), thread);
  shareDigit(code, device.arguments[0], position, digits);
  Value equal = countEqual(code, digits, code.constant(kSortChunk), thread);
  code.storeAt(equal, device.arguments[1],
               code.add(code.mul(thread, chunks), chunk));
  emitInLastBlock(code, digits, code.constant(0), /*counters=*/1,
                  code.constant(chunks),
                  [&] { sumCounts(code, device.arguments[1]); });
}

/// Replaces the counts by the sums of all before: a thread adds up some
/// neighbours, warps their threads' sums, and each warp those of all warps.
void DigitPass::sumCounts(KernelCode &code, Value buffer) {
  // Behind what told the last block.
  Value sums = code.offset(code.dynamicShared(), 16);
  Value thread = code.threadIndex();
  Value lane = code.rem(thread, kWarpSize), warp = code.div(thread, kWarpSize);
  // As many numbers as there are counts of one value.
  Value first = code.mul(thread, chunks);
  Value stop = code.add(first, chunks);
  Value own = code.loop(
      first, stop, 1, code.constant(0),
      [&](Value at, ValueRange state) -> Values {
        return {code.add(state[0], code.loadAt(getI32(), buffer, at))};
      })[0];
  Value inWarp = code.inclusiveSum(own, lane);
  Value place = code.offset(sums, code.mul(warp, 4));
  code.ifTrue(code.less(code.bitXor(lane, kWarpSize - 1), 1),
              [&] { code.store(inWarp, place, 4); });
  code.barrier();
  Value total = code.load(
      getI32(),
      code.offset(sums,
                  code.mul(code.smaller(lane, code.constant(kWarps - 1)), 4)),
      4);
  total = code.select(code.less(lane, kWarps), total, code.constant(0));
  Value before = code.sub(code.inclusiveSum(total, lane), total);
  before = code.shuffle(before, warp);
  before = code.add(before, code.sub(inWarp, own));
  code.loop(first, stop, 1, before, [&](Value at, ValueRange state) -> Values {
    Value value = code.loadAt(getI32(), buffer, at);
    code.storeAt(state[0], buffer, at);
    return {code.add(state[0], value)};
  });
}

/// Moves tokens and positions to their places: behind all of smaller digits,
/// earlier chunks, and earlier positions of the chunk.
void DigitPass::move(ValueRange buffers) {
  DeviceFunction device =
      kernel.createLaunch(name("move"), buffers, {chunks, 1, 1},
                          {kSortChunk, 1, 1}, kSortChunk * sizeof(int32_t));
  KernelCode code(device.builder);
  ArrayRef<Value> arguments = device.arguments;
  Value thread = code.threadIndex(), chunk = code.blockIndex();
  Value digits = code.dynamicShared();
  Value place = code.add(code.mul(chunk, kSortChunk), thread);
  Value digit = shareDigit(code, arguments[0], place, digits);
  Value rank = countEqual(code, digits, thread, digit);
  code.ifTrue(code.less(place, count), [&] {
    Value start = code.loadAt(getI32(), arguments[1],
                              code.add(code.mul(digit, chunks), chunk));
    Value target = code.add(start, rank);
    bool first = arguments.size() == 4;
    Value position = first ? place : code.loadAt(getI32(), arguments[4], place);
    code.storeAt(code.loadAt(getI32(), arguments[0], place), arguments[2],
                 target);
    code.storeAt(position, arguments[3], target);
  });
}

void DigitPass::run(Value tokens, Value positions, Value sortedTokens,
                    Value sortedPositions) {
  countDigits(tokens);
  Values buffers{tokens, counts, sortedTokens, sortedPositions};
  if (positions)
    buffers.push_back(positions);
  move(buffers);
}

SortedTokens nag::sortTokens(KernelLowering &kernel, Value tokens,
                             int64_t count, int64_t rows) {
  Type i32 = kernel.getHostBuilder().getI32Type();
  auto allocate = [&](int64_t size) {
    return kernel.allocateScratch(MemRefType::get({size}, i32));
  };
  Value positions;
  int64_t bits = std::max<int64_t>(llvm::Log2_64_Ceil(rows), 1);
  for (int64_t bit = 0; bit < bits; bit += kSortDigitBits) {
    Value sortedTokens = allocate(count), sortedPositions = allocate(count);
    DigitPass(kernel, count, bit)
        .run(tokens, positions, sortedTokens, sortedPositions);
    tokens = sortedTokens;
    positions = sortedPositions;
  }
  return {tokens, positions};
}
