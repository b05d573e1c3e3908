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

/// Where the thread's sums begin that block `block` of the product leaves.
static Value getPartPointer(ThreadCode &code, const Schedule &schedule,
                            const LaunchPlace &launch, Value thread,
                            Value block, int64_t numSums) {
  Value number = code.add(block, launch.firstPart);
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
  Value pointer = getPartPointer(code, schedule, launch, thread, launch.block,
                                 accumulators.size());
  for (size_t first = 0; first < accumulators.size(); first += kPartWidth) {
    Value vector = vector::FromElementsOp::create(
        builder, type, accumulators.slice(first, kPartWidth));
    code.store(vector, code.offset(pointer, first * schedule.getThreads() * 4),
               16);
  }
}

SmallVector<Value> gemm::addUpParts(ThreadCode &code, const Schedule &schedule,
                                    const LaunchPlace &launch, Value thread,
                                    Value numParts, ValueRange accumulators,
                                    int64_t first, int64_t count) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  auto type = VectorType::get(kPartWidth, builder.getF32Type());
  SmallVector<Value> own;
  for (int64_t sum = first; sum < first + count; sum += kPartWidth)
    own.push_back(vector::FromElementsOp::create(
        builder, type, accumulators.slice(sum, kPartWidth)));
  auto load = [&](Value block) {
    SmallVector<Value> vectors;
    Value pointer = getPartPointer(code, schedule, launch, thread, block,
                                   accumulators.size());
    for (int64_t sum = first; sum < first + count; sum += kPartWidth)
      vectors.push_back(code.load(
          type, code.offset(pointer, sum * schedule.getThreads() * 4), 16));
    return vectors;
  };
  auto getTerms = [&](Value block) {
    Value isOwn = code.less(code.bitXor(block, launch.block), 1);
    return code.ifElse(
        isOwn, TypeRange(ValueRange(own)), [&] { return own; },
        [&] { return load(block); });
  };
  auto loop = scf::ForOp::create(builder, code.constant(1), numParts,
                                 code.constant(1), getTerms(launch.tile));
  {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(loop.getBody());
    Value block = code.add(code.mul(loop.getInductionVar(), launch.ownTiles),
                           launch.tile);
    SmallVector<Value> sums;
    for (auto [sum, term] :
         llvm::zip_equal(loop.getRegionIterArgs(), getTerms(block)))
      sums.push_back(arith::AddFOp::create(builder, sum, term));
    scf::YieldOp::create(builder, sums);
  }
  SmallVector<Value> sums;
  for (Value vector : loop.getResults())
    llvm::append_range(
        sums, vector::ToElementsOp::create(builder, vector).getResults());
  return sums;
}
