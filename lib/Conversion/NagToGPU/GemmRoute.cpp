// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Selection by the scores that a product makes, in its launch: blocks count
// themselves as they finish, and the last one that makes scores of a sequence
// selects its tokens ("threadFenceReduction" of the CUDA samples).
#include "Gemm.h"
#include "KernelCode.h"
#include "LastBlock.h"
#include "Selection.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace nag;
using namespace nag::gemm;

static constexpr int64_t kWarpSize = 32;

namespace {
class RouteTail : public KernelCode {
public:
  RouteTail(ImplicitLocOpBuilder &builder, const Product &gemmProduct,
            const Schedule &gemmSchedule, const BlockPlace &blockPlace,
            ArrayRef<Value> buffers)
      : KernelCode(builder), product(gemmProduct), schedule(gemmSchedule),
        place(blockPlace), arguments(buffers), route(product.route),
        rows(product.getFirst().m),
        length(route.getScores().getType().getDimSize(1)),
        warps(schedule.getThreads() / kWarpSize),
        warp(div(place.thread, kWarpSize)) {}

  void build();

private:
  void fence() {
    LLVM::FenceOp::create(getBuilder(), LLVM::AtomicOrdering::acq_rel,
                          "device");
  }
  void buildCapacity();
  void buildThreshold();
  /// Calls `body` where the warp is the one of number `last`, from 0, that
  /// counts itself by counter `index`, which then starts again.
  void ifLast(Value counters, Value index, Value last,
              function_ref<void()> body);

  const Product &product;
  const Schedule &schedule;
  const BlockPlace &place;
  ArrayRef<Value> arguments;
  RouteOp route;
  int64_t rows, length, warps;
  Value warp;
};
} // namespace

void RouteTail::ifLast(Value counters, Value index, Value last,
                       function_ref<void()> body) {
  ImplicitLocOpBuilder &builder = getBuilder();
  auto branch = scf::IfOp::create(builder, TypeRange(builder.getI32Type()),
                                  less(place.lane, 1), /*withElse=*/true);
  {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(branch.thenBlock());
    Value counter = offset(counters, mul(extend(index), 4));
    Value before = LLVM::AtomicRMWOp::create(
        builder, LLVM::AtomicBinOp::uinc_wrap, counter, last,
        LLVM::AtomicOrdering::monotonic, "device");
    scf::YieldOp::create(builder, before);
    builder.setInsertionPointToStart(branch.elseBlock());
    scf::YieldOp::create(builder, constant(0));
  }
  Value number = shuffle(branch.getResult(0), constant(0));
  Value isLast =
      arith::CmpIOp::create(builder, arith::CmpIPredicate::eq, number, last);
  ifTrue(isLast, [&] {
    fence();
    body();
  });
}

/// Each sequence has a counter of the tiles that hold some of its rows.
void RouteTail::buildCapacity() {
  Value counters = getArrivalCounters(*this, "_arrived", rows / length);
  Value end = smaller(add(place.row, schedule.tileM), constant(rows));
  Value first = add(div(place.row, length), warp);
  Value behind = add(div(sub(end, constant(1)), length), 1);
  loop(first, behind, warps, [&](Value sequence) {
    Value firstRow = mul(sequence, length);
    Value lastTile = div(add(firstRow, length - 1), schedule.tileM);
    Value last = sub(lastTile, div(firstRow, schedule.tileM));
    ifLast(counters, sequence, last,
           [&] { buildRoute(getBuilder(), route, arguments, sequence); });
  });
}

/// A sequence's indices stand behind those of all before it. The warps of one
/// number count themselves, and the last of them take sequences by turns.
void RouteTail::buildThreshold() {
  Value counters = getArrivalCounters(*this, "_arrived", warps);
  Value last = constant(llvm::divideCeil(rows, schedule.tileM) - 1);
  ifLast(counters, warp, last, [&] {
    loop(warp, constant(rows / length), warps, [&](Value sequence) {
      buildRoute(getBuilder(), route, arguments, sequence);
    });
  });
}

void RouteTail::build() {
  // What the block has stored is there for the one that counts behind it.
  fence();
  barrier();
  if (route.getRouting().getPolicy() == Policy::Capacity)
    buildCapacity();
  else
    buildThreshold();
}

void gemm::buildRouteTail(ThreadCode &code, const Product &product,
                          const Schedule &schedule, const BlockPlace &place,
                          ArrayRef<Value> arguments) {
  RouteTail(code.getBuilder(), product, schedule, place, arguments).build();
}
