// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sums over rows: the slots' partial sums, added up in a fixed order by the
// block that comes last, or where that has too much to do, by a launch of its
// own.
#include "RowSums.h"
#include "LastBlock.h"
#include "RowGeometry.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace nag;

static constexpr int64_t kThreads = 256;

namespace {

/// The threads of a block as [slices, columns]: each adds up the partial sums
/// number slice, slice + slices, ... of one column.
class SumThreads {
public:
  SumThreads(DeviceFunction &function, const PartialSum &sum, Value partials,
             Value result, Value sharedMemory, int64_t numThreads = kThreads)
      : builder(function.builder), count(sum.slots), length(sum.length),
        partialSums(partials), total(result), shared(sharedMemory),
        threads(numThreads), columns(getNumColumns(length)) {}

  static int64_t getNumColumns(int64_t length) {
    return std::min<int64_t>(32, llvm::bit_ceil<uint64_t>(length));
  }
  static int64_t getNumBlocks(int64_t length) {
    return llvm::divideCeil(length, getNumColumns(length));
  }

  /// The columns of block number `block`.
  void emit(Value block);
  /// All columns, by one block.
  void emitAll();

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
  SmallVector<Value> addUpChunks(Value memory, ValueRange state, int64_t last,
                                 int64_t step, int64_t ahead,
                                 function_ref<Value(Value)> place);
  void when(Value condition, function_ref<void()> then);

  ImplicitLocOpBuilder &builder;
  int64_t count, length;
  Value partialSums, total, shared;
  int64_t threads, columns;
};

} // namespace

Value SumThreads::addUp(Value memory, Value begin, int64_t end, int64_t step,
                        function_ref<Value(Value)> place) {
  SmallVector<Value> state = {
      begin, arith::ConstantOp::create(builder, builder.getF32FloatAttr(0))};
  // Most terms wait for memory together; they are added one after the other.
  for (int64_t ahead : {kTermsAhead, int64_t(4), int64_t(1)})
    if (int64_t last = end - (ahead - 1) * step; last > 0)
      state = addUpChunks(memory, state, last, step, ahead, place);
  return state.back();
}

/// Goes on with {i, sum} in chunks of `ahead` terms while i is below `last`.
SmallVector<Value> SumThreads::addUpChunks(Value memory, ValueRange state,
                                           int64_t last, int64_t step,
                                           int64_t ahead,
                                           function_ref<Value(Value)> place) {
  auto loop = scf::ForOp::create(builder, state[0], constant(last),
                                 constant(ahead * step), state);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(loop.getBody());
  SmallVector<Value> terms;
  for (int64_t term = 0; term < ahead; ++term) {
    Value index = add(loop.getInductionVar(), constant(term * step));
    terms.push_back(memref::LoadOp::create(builder, memory, place(index)));
  }
  Value sum = loop.getRegionIterArg(1);
  for (Value term : terms)
    sum = arith::AddFOp::create(builder, sum, term);
  Value next = add(loop.getInductionVar(), constant(ahead * step));
  scf::YieldOp::create(builder, {next, sum});
  return llvm::to_vector_of<Value>(loop.getResults());
}

void SumThreads::when(Value condition, function_ref<void()> then) {
  auto branch = scf::IfOp::create(builder, condition, false);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(branch.thenBlock());
  then();
}

void SumThreads::emitAll() {
  auto loop = scf::ForOp::create(builder, constant(0),
                                 constant(getNumBlocks(length)), constant(1));
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(loop.getBody());
  emit(loop.getInductionVar());
  // What comes next reuses the shared memory.
  gpu::BarrierOp::create(builder);
}

void SumThreads::emit(Value block) {
  Value id = gpu::ThreadIdOp::create(builder, gpu::Dimension::x);
  Value column = arith::RemUIOp::create(builder, id, constant(columns));
  Value slice = arith::DivUIOp::create(builder, id, constant(columns));
  Value place = add(multiply(block, columns), column);
  auto below = [&](Value a, int64_t b) -> Value {
    return arith::CmpIOp::create(builder, arith::CmpIPredicate::ult, a,
                                 constant(b));
  };
  int64_t slices = threads / columns;
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

/// Elements that the last block may have to read.
static constexpr int64_t kMaxElements = 1 << 16;

bool nag::fitsLastBlock(ArrayRef<PartialSum> sums) {
  int64_t elements = 0;
  for (const PartialSum &sum : sums)
    elements += sum.slots * sum.length;
  return elements > 0 && elements <= kMaxElements;
}

void nag::addUpInLastBlock(DeviceFunction &function, ArrayRef<PartialSum> sums,
                           ArrayRef<Value> results, int64_t blocks,
                           int64_t threads) {
  ThreadCode code(function.builder);
  Value flag = function.addShared(code.getBuilder().getI32Type(), 1);
  Value shared = function.addShared(code.getBuilder().getF32Type(), threads);
  emitInLastBlock(code, code.pointer(flag, Space::Shared), code.constant(0),
                  /*counters=*/1, code.constant(blocks), [&] {
                    for (auto [sum, result] : llvm::zip_equal(sums, results))
                      SumThreads(function, sum,
                                 function.arguments[sum.argument], result,
                                 shared, threads)
                          .emitAll();
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
  Value shared = function.addShared(builder.getF32Type(), kThreads);
  Value block = gpu::BlockIdOp::create(builder, gpu::Dimension::x);
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
        .emit(block);
  }
}
