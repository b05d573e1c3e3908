// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Adds up the parts of a GEMM whose k was split among blocks.
#include "Gemm.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace nag;
using namespace nag::gemm;

static constexpr int64_t kThreads = 256;

/// The sum over the splits of the `width` elements at `pointer`, in order.
static Value buildSum(ThreadCode &code, Value pointer, int64_t splits,
                      int64_t width, int64_t splitBytes) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  auto type = VectorType::get(width, builder.getF32Type());
  Value sum = code.load(type, pointer, 4 * width);
  for (int64_t split = 1; split < splits; ++split) {
    Value part =
        code.load(type, code.offset(pointer, split * splitBytes), 4 * width);
    sum = arith::AddFOp::create(builder, sum, part);
  }
  return sum;
}

void gemm::emitSplitSum(KernelLowering &kernel, const Problem &problem,
                        const Schedule &schedule, const Epilogue &epilogue,
                        Value parts) {
  int64_t elements = problem.m * problem.n;
  int64_t width = problem.n % 4 == 0 ? 4 : 1;
  int64_t vectors = elements / width;
  SmallVector<Value> buffers = {parts};
  if (problem.countsRows())
    buffers.push_back(kernel.getBuffer(problem.offsets));
  buffers.append(getBuffers(kernel, epilogue));
  DeviceFunction device = kernel.createLaunch(
      "sum", buffers, {llvm::divideCeilSigned(vectors, kThreads), 1, 1},
      {kThreads, 1, 1});
  ThreadCode code(device.builder);
  Value index =
      code.add(code.mul(code.blockIndex(), kThreads), code.threadIndex());
  auto arguments = ArrayRef<Value>(device.arguments).drop_front();
  // Parts of rows that do not count are not there.
  Value limit, last = code.constant(vectors);
  if (problem.countsRows()) {
    limit = loadCount(code, problem, arguments.front());
    last = code.mul(limit, problem.n / width);
    arguments = arguments.drop_front();
  }
  auto body = [&] {
    Value from = code.offset(code.pointer(device.arguments[0], Space::Global),
                             code.mul(code.extend(index), 4 * width));
    Value sum = buildSum(code, from, schedule.splitK, width, elements * 4);
    Value first = code.mul(index, width);
    Output output = createOutput(code, problem, Schedule{1, 1, 1, 1, 1, 1, 1},
                                 epilogue, arguments);
    output.setRowLimit(limit);
    output.moveTo(code.div(first, problem.n), code.rem(first, problem.n));
    output.store(
        0, 0,
        vector::ToElementsOp::create(code.getBuilder(), sum).getResults());
  };
  if (vectors % kThreads == 0 && !limit)
    body();
  else
    code.ifTrue(code.less(index, last), body);
}
