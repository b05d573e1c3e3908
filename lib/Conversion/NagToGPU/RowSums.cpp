// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sums over rows: the slots' partial sums, added up by a launch of its own in
// an order that depends on their number alone.
#include "RowSums.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace nag;

static constexpr int64_t kThreads = 256;
static constexpr int64_t kSharedSpace = 3;

namespace {

/// The threads of a block as [slices, columns]: each adds up the partial sums
/// number slice, slice + slices, ... of one column.
class SumThreads {
public:
  SumThreads(DeviceFunction &function, const PartialSum &sum, Value partials,
             Value result, Value sharedMemory)
      : builder(function.builder), count(sum.slots), length(sum.length),
        partialSums(partials), total(result), shared(sharedMemory),
        columns(getNumColumns(length)) {}

  static int64_t getNumColumns(int64_t length) {
    return std::min<int64_t>(32, llvm::bit_ceil<uint64_t>(length));
  }
  static int64_t getNumBlocks(int64_t length) {
    return llvm::divideCeil(length, getNumColumns(length));
  }

  void emit();

private:
  Value constant(int64_t value) {
    return arith::ConstantIndexOp::create(builder, value);
  }
  Value add(Value a, Value b) { return arith::AddIOp::create(builder, a, b); }
  Value multiply(Value a, int64_t b) {
    return arith::MulIOp::create(builder, a, constant(b));
  }
  /// The sum of memory[place(i)] for i = begin, begin + step, ... below end.
  Value addUp(Value memory, Value begin, int64_t end, int64_t step,
              function_ref<Value(Value)> place);
  void when(Value condition, function_ref<void()> then);

  ImplicitLocOpBuilder &builder;
  int64_t count, length;
  Value partialSums, total, shared;
  int64_t columns;
};

} // namespace

Value SumThreads::addUp(Value memory, Value begin, int64_t end, int64_t step,
                        function_ref<Value(Value)> place) {
  Value zero = arith::ConstantOp::create(builder, builder.getF32FloatAttr(0));
  auto loop =
      scf::ForOp::create(builder, begin, constant(end), constant(step), zero);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(loop.getBody());
  Value term =
      memref::LoadOp::create(builder, memory, place(loop.getInductionVar()));
  scf::YieldOp::create(
      builder, arith::AddFOp::create(builder, loop.getRegionIterArg(0), term)
                   .getResult());
  return loop.getResult(0);
}

void SumThreads::when(Value condition, function_ref<void()> then) {
  auto branch = scf::IfOp::create(builder, condition, false);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(branch.thenBlock());
  then();
}

void SumThreads::emit() {
  Value id = gpu::ThreadIdOp::create(builder, gpu::Dimension::x);
  Value block = gpu::BlockIdOp::create(builder, gpu::Dimension::x);
  Value column = arith::RemUIOp::create(builder, id, constant(columns));
  Value slice = arith::DivUIOp::create(builder, id, constant(columns));
  Value place = add(multiply(block, columns), column);
  auto below = [&](Value a, int64_t b) -> Value {
    return arith::CmpIOp::create(builder, arith::CmpIPredicate::ult, a,
                                 constant(b));
  };
  int64_t slices = kThreads / columns;
  Value isColumn = below(place, length);
  when(isColumn, [&] {
    Value sum = addUp(partialSums, slice, count, slices,
                      [&](Value i) { return add(multiply(i, length), place); });
    memref::StoreOp::create(builder, sum, shared, id);
  });
  gpu::BarrierOp::create(builder);
  Value isFirst = below(id, columns);
  when(arith::AndIOp::create(builder, isColumn, isFirst), [&] {
    Value sum = addUp(shared, constant(0), slices, 1, [&](Value i) {
      return add(multiply(i, columns), column);
    });
    Type element = cast<MemRefType>(total.getType()).getElementType();
    if (element != sum.getType())
      sum = arith::TruncFOp::create(builder, element, sum);
    memref::StoreOp::create(builder, sum, total, place);
  });
}

void nag::emitPartialSums(KernelLowering &kernel, ArrayRef<PartialSum> sums) {
  if (sums.empty())
    return;
  SmallVector<Value> operands;
  int64_t blocks = 1;
  for (const PartialSum &sum : sums) {
    operands.append({sum.partials, sum.result});
    blocks = std::max(blocks, SumThreads::getNumBlocks(sum.length));
  }
  DeviceFunction function = kernel.createLaunch(
      "sums", operands, {blocks, int64_t(sums.size()), 1}, {kThreads, 1, 1});
  ImplicitLocOpBuilder &builder = function.builder;
  auto sharedType = MemRefType::get({kThreads}, builder.getF32Type(),
                                    MemRefLayoutAttrInterface(),
                                    builder.getI64IntegerAttr(kSharedSpace));
  Value shared =
      function.function.addWorkgroupAttribution(sharedType, builder.getLoc());
  Value number = gpu::BlockIdOp::create(builder, gpu::Dimension::y);
  for (auto [index, sum] : llvm::enumerate(sums)) {
    OpBuilder::InsertionGuard guard(builder);
    if (sums.size() > 1) {
      Value own =
          arith::CmpIOp::create(builder, arith::CmpIPredicate::eq, number,
                                arith::ConstantIndexOp::create(builder, index));
      auto branch = scf::IfOp::create(builder, own, false);
      builder.setInsertionPointToStart(branch.thenBlock());
    }
    SumThreads(function, sum, function.arguments[2 * index],
               function.arguments[2 * index + 1], shared)
        .emit();
  }
}
