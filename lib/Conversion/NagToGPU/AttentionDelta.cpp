// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The sums <result, result_grad> of attention's backward pass: a warp per row
// and head.
#include "AttentionCode.h"

using namespace mlir;
using namespace nag;
using namespace nag::attention;

static constexpr int64_t kWarpSize = 32, kThreads = 128;

static void buildDelta(DeviceFunction &device, const Sizes &sizes) {
  AttentionCode code(device.builder, sizes);
  ArrayRef<Value> arguments = device.arguments;
  Value thread = code.threadIndex();
  Value lane = code.rem(thread, kWarpSize);
  Value head = code.add(code.mul(code.blockIndex(), kThreads / kWarpSize),
                        code.div(thread, kWarpSize));
  int64_t heads = sizes.batch * sizes.length * sizes.heads;
  code.ifTrue(code.less(head, heads), [&] {
    int64_t bytes = sizes.getElementBytes();
    // In [B, T, heads], a head's elements lie together.
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
    Value position = code.rem(code.div(head, sizes.heads), sizes.length);
    Value sums =
        code.headSums(arguments[2], code.div(head, sizes.heads * sizes.length),
                      code.rem(head, sizes.heads));
    code.ifTrue(code.less(lane, 1), [&] {
      Value at = code.mul(code.extend(position), sizeof(float));
      code.store(sum, code.offset(sums, at), sizeof(float));
    });
  });
}

void attention::emitDelta(KernelLowering &kernel, const Sizes &sizes,
                          Value result, Value resultGrad, Value delta) {
  int64_t heads = sizes.batch * sizes.length * sizes.heads;
  DeviceFunction device = kernel.createLaunch(
      "delta", {result, resultGrad, delta},
      {int64_t(llvm::divideCeil(heads, kThreads / kWarpSize)), 1, 1},
      {kThreads, 1, 1});
  buildDelta(device, sizes);
}
