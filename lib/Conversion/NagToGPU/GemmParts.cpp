// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The sum of the parts of a split k, which go through scratch memory.
#include "Gemm.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace nag;
using namespace nag::gemm;

/// Sums lie four of a thread next to one another, then the block's threads.
static constexpr int64_t kPartWidth = 4;

/// Where the thread's sums of a part of the block's tile begin.
static Value getPartPointer(ThreadCode &code, const Schedule &schedule,
                            const LaunchPlace &launch, Value thread, Value part,
                            int64_t numSums) {
  Value number = code.add(code.mul(launch.tile, schedule.splitK), part);
  number = code.add(number, launch.firstPart);
  int64_t bytes = schedule.getThreads() * 4;
  Value start = code.offset(code.pointer(launch.parts, Space::Global),
                            code.mul(code.extend(number), numSums * bytes));
  return code.offset(start, code.mul(thread, kPartWidth * 4));
}

void gemm::storePart(ThreadCode &code, const Schedule &schedule,
                     const LaunchPlace &launch, Value thread,
                     ValueRange accumulators) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  auto type = VectorType::get(kPartWidth, builder.getF32Type());
  Value pointer = getPartPointer(code, schedule, launch, thread, launch.part,
                                 accumulators.size());
  for (size_t first = 0; first < accumulators.size(); first += kPartWidth) {
    Value vector = vector::FromElementsOp::create(
        builder, type, accumulators.slice(first, kPartWidth));
    code.store(vector, code.offset(pointer, first * schedule.getThreads() * 4),
               16);
  }
}

/// In the order of the parts.
SmallVector<Value> gemm::addUpParts(ThreadCode &code, const Schedule &schedule,
                                    const LaunchPlace &launch, Value thread,
                                    Value numParts, int64_t numSums,
                                    int64_t first, int64_t count) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  auto type = VectorType::get(kPartWidth, builder.getF32Type());
  auto load = [&](Value part) {
    SmallVector<Value> vectors;
    Value pointer =
        getPartPointer(code, schedule, launch, thread, part, numSums);
    for (int64_t sum = first; sum < first + count; sum += kPartWidth)
      vectors.push_back(code.load(
          type, code.offset(pointer, sum * schedule.getThreads() * 4), 16));
    return vectors;
  };
  auto loop = scf::ForOp::create(builder, code.constant(1), numParts,
                                 code.constant(1), load(code.constant(0)));
  {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(loop.getBody());
    SmallVector<Value> sums;
    for (auto [sum, part] : llvm::zip_equal(loop.getRegionIterArgs(),
                                            load(loop.getInductionVar())))
      sums.push_back(arith::AddFOp::create(builder, sum, part));
    scf::YieldOp::create(builder, sums);
  }
  SmallVector<Value> sums;
  for (Value vector : loop.getResults())
    llvm::append_range(
        sums, vector::ToElementsOp::create(builder, vector).getResults());
  return sums;
}
