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

Value nag::takeTicket(ThreadCode &code, int64_t count) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  Value flag = code.dynamicShared();
  inFirstThread(code, [&] {
    // Wraps around to 0 at the last block.
    Value before = update(builder, LLVM::AtomicBinOp::uinc_wrap,
                          getArrivalCounters(code, "_tickets", 1),
                          code.constant(count - 1));
    code.store(before, flag, 4);
  });
  code.barrier();
  Value ticket = code.load(builder.getI32Type(), flag, 4);
  code.barrier();
  return ticket;
}

/// Blocks that have stored, then blocks that have waited.
static Value getCounters(ThreadCode &code) {
  return getArrivalCounters(code, "_stored", 2);
}

void nag::countStored(ThreadCode &code) {
  code.barrier();
  inFirstThread(code, [&] {
    fence(code.getBuilder());
    update(code.getBuilder(), LLVM::AtomicBinOp::add, getCounters(code),
           code.constant(1));
  });
}

/// Reads `counter` until it is `count`.
static void spin(ThreadCode &code, Value counter, int64_t count) {
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

void nag::awaitStored(ThreadCode &code, int64_t writers, int64_t readers) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  inFirstThread(code, [&] {
    Value counters = getCounters(code);
    spin(code, counters, writers);
    fence(builder);
    Value waited = update(builder, LLVM::AtomicBinOp::uinc_wrap,
                          code.offset(counters, 4), code.constant(readers - 1));
    // The last one leaves it as the next launch needs it.
    code.ifTrue(code.less(code.constant(readers - 2), waited), [&] {
      update(builder, LLVM::AtomicBinOp::xchg, counters, code.constant(0));
    });
  });
  code.barrier();
}
