// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Order by PTX ISA, "Memory Consistency Model": a block's barrier orders its
// writes before its first thread's fence, which with the counter orders them
// before the fence and the barrier of who has seen it counted.
#include "BlockOrder.h"
#include "LastBlock.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace nag;

static constexpr StringLiteral kScope = "device";

static void fence(ImplicitLocOpBuilder &builder) {
  LLVM::FenceOp::create(builder, LLVM::AtomicOrdering::acq_rel, kScope);
}

static Value update(ImplicitLocOpBuilder &builder, LLVM::AtomicBinOp operation,
                    Value counter, Value value) {
  return LLVM::AtomicRMWOp::create(builder, operation, counter, value,
                                   LLVM::AtomicOrdering::monotonic, kScope);
}

static void inFirstThread(ThreadCode &code, function_ref<void()> body) {
  code.ifTrue(code.less(code.threadIndex(), 1), body);
}

/// What was in `counter` before this block added 1, for all of its threads;
/// behind `last` comes 0. All threads come here.
static Value countUp(ThreadCode &code, Value counter, Value last, Value flag) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  inFirstThread(code, [&] {
    code.store(update(builder, LLVM::AtomicBinOp::uinc_wrap, counter, last),
               flag, 4);
  });
  code.barrier();
  return code.load(builder.getI32Type(), flag, 4);
}

Value nag::takeTicket(ThreadCode &code, int64_t count) {
  Value ticket = countUp(code, getArrivalCounters(code, "_tickets", 1),
                         code.constant(count - 1), code.dynamicShared());
  code.barrier();
  return ticket;
}

/// Counts this block in `counter`. All threads come here.
static void countBlock(ThreadCode &code, Value counter) {
  code.barrier();
  inFirstThread(code, [&] {
    fence(code.getBuilder());
    update(code.getBuilder(), LLVM::AtomicBinOp::add, counter,
           code.constant(1));
  });
}

/// Reads `counter` until it is `count`.
static void spin(ThreadCode &code, Value counter, Value count) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  auto loop = scf::WhileOp::create(builder, TypeRange(), ValueRange());
  OpBuilder::InsertionGuard guard(builder);
  builder.createBlock(&loop.getBefore());
  Value seen = LLVM::LoadOp::create(
      builder, builder.getI32Type(), counter, /*alignment=*/4,
      /*isVolatile=*/false, /*isNonTemporal=*/false, /*isInvariant=*/false,
      /*isInvariantGroup=*/false, LLVM::AtomicOrdering::monotonic, kScope);
  scf::ConditionOp::create(builder, code.less(seen, count), ValueRange());
  builder.createBlock(&loop.getAfter());
  scf::YieldOp::create(builder);
}

/// Waits until `writers` blocks are counted in `counter`, which the last of
/// `readers` blocks that do so leaves as the next launch needs it; the counter
/// behind it counts those. All threads come here.
static void awaitBlocks(ThreadCode &code, Value counter, int64_t writers,
                        int64_t readers) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  inFirstThread(code, [&] {
    spin(code, counter, code.constant(writers));
    fence(builder);
    Value waited = update(builder, LLVM::AtomicBinOp::uinc_wrap,
                          code.offset(counter, 4), code.constant(readers - 1));
    code.ifTrue(code.less(code.bitXor(waited, readers - 1), 1), [&] {
      update(builder, LLVM::AtomicBinOp::xchg, counter, code.constant(0));
    });
  });
  code.barrier();
}

/// Blocks that have stored, then blocks that have waited.
static Value getCounters(ThreadCode &code) {
  return getArrivalCounters(code, "_stored", 2);
}

void nag::countStored(ThreadCode &code) { countBlock(code, getCounters(code)); }

void nag::awaitStored(ThreadCode &code, int64_t writers, int64_t readers) {
  awaitBlocks(code, getCounters(code), writers, readers);
}

void nag::endSharedSum(ThreadCode &code, Value flag, Value counter,
                       int64_t counters, Value count,
                       function_ref<void()> store, function_ref<void()> addUp) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  // Blocks that have come here, and those that have stored.
  Value come = code.offset(getArrivalCounters(code, "_parts", 2 * counters),
                           code.mul(counter, 8));
  Value stored = code.offset(come, 4), others = code.add(count, -1);
  code.barrier();
  code.ifElse(
      code.less(countUp(code, come, others, flag), others),
      [&] {
        store();
        countBlock(code, stored);
      },
      [&] {
        inFirstThread(code, [&] {
          spin(code, stored, others);
          fence(builder);
          update(builder, LLVM::AtomicBinOp::xchg, stored, code.constant(0));
        });
        code.barrier();
        addUp();
      });
}

BlockPhases::BlockPhases(ThreadCode &threadCode, ArrayRef<int64_t> phaseBlocks)
    : code(threadCode), blocks(phaseBlocks),
      number(takeTicket(code, llvm::sum_of(blocks))) {}

/// Of the phases' waits, the counters of number `wait`.
Value BlockPhases::getCounters(size_t wait) {
  int64_t waits = int64_t(blocks.size()) - 1;
  return code.offset(getArrivalCounters(code, "_phases", 2 * waits),
                     int64_t(wait) * 8);
}

void BlockPhases::build(function_ref<void(Value)> body) {
  // Blocks of earlier phases have wrapped around, far beyond those that follow.
  code.ifTrue(code.less(number, blocks[phase]), [&] {
    if (phase > 0)
      awaitBlocks(code, getCounters(phase - 1), blocks[phase - 1],
                  blocks[phase]);
    body(number);
    if (phase + 1 < blocks.size())
      countBlock(code, getCounters(phase));
  });
  number = code.add(number, -blocks[phase]);
  ++phase;
}
