// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The sums <result, result_grad> of attention's backward pass: a warp per row
// and head.
#include "AttentionCode.h"

using namespace mlir;
using namespace nag;
using namespace nag::attention;

static constexpr int64_t kWarpSize = 32, kThreads = 128;

static int64_t countHeads(const Sizes &sizes) {
  int64_t rows =
      sizes.isRouted() ? sizes.routedRows : sizes.batch * sizes.length;
  return rows * sizes.heads;
}

static void buildDelta(DeviceFunction &device, const Sizes &sizes) {
  AttentionCode code(device.builder, sizes);
  ArrayRef<Value> arguments = device.arguments;
  Value thread = code.threadIndex();
  Value lane = code.rem(thread, kWarpSize);
  Value head = code.add(code.mul(code.blockIndex(), kThreads / kWarpSize),
                        code.div(thread, kWarpSize));
  Value heads = code.constant(countHeads(sizes));
  if (sizes.isRouted())
    heads = code.mul(code.loadAt(device.builder.getI32Type(), arguments[4],
                                 code.constant(sizes.batch)),
                     sizes.heads);
  code.ifTrue(code.less(head, heads), [&] {
    int64_t bytes = sizes.getElementBytes();
    // In [B, T, heads] and [M, heads], a head's elements lie together.
    Value first = code.mul(code.extend(head), sizes.headDim * bytes);
    Value a = code.offset(code.pointer(arguments[0], Space::Global), first);
    Value b = code.offset(code.pointer(arguments[1], Space::Global), first);
    Value sum = code.loop(
        lane, code.constant(sizes.headDim), kWarpSize, code.number(0),
        [&](Value element, ValueRange state) -> Values {
          Value at = code.mul(element, bytes);
          auto load = [&](Value from) {
            return code.loadFloats(sizes.element, code.offset(from, at), 1)[0];
          };
          return {code.fma(load(a), load(b), state[0])};
        })[0];
    sum = code.reduce(sum, kWarpSize,
                      [&](Value x, Value y) { return code.addf(x, y); });
    // All routed rows are one row of each head.
    int64_t length = sizes.isRouted() ? sizes.routedRows : sizes.length;
    Value row = code.div(head, sizes.heads);
    Value sums = code.mul(code.div(row, length), sizes.heads);
    sums = code.add(sums, code.rem(head, sizes.heads));
    Value place = code.add(code.mul(sums, length), code.rem(row, length));
    code.ifTrue(code.less(lane, 1),
                [&] { code.storeAt(sum, arguments[2], place); });
  });
}

void attention::emitDelta(KernelLowering &kernel, const Sizes &sizes,
                          Value result, const Backward &buffers) {
  Values operands{result, buffers.resultGrad, buffers.delta};
  llvm::append_range(operands, buffers.route);
  int64_t blocks = llvm::divideCeil(countHeads(sizes), kThreads / kWarpSize);
  DeviceFunction device =
      kernel.createLaunch("delta", operands, {blocks, 1, 1}, {kThreads, 1, 1});
  buildDelta(device, sizes);
}
