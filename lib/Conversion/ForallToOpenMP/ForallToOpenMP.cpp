// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// convert-forall-to-openmp: parallel loops on buffers become OpenMP loops whose
// scratch buffers lie on the stacks of the threads.
#include "nag/Conversion/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/OpenMP/OpenMPDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"

namespace nag {
#define GEN_PASS_DEF_CONVERTFORALLTOOPENMP
#include "nag/Conversion/Passes.h.inc"
} // namespace nag

using namespace mlir;

//===----------------------------------------------------------------------===//
// Scratch buffers
//===----------------------------------------------------------------------===//

/// Bytes of a statically shaped buffer.
static std::optional<int64_t> getBytes(MemRefType type) {
  if (!type.hasStaticShape() || !type.getElementType().isIntOrFloat())
    return std::nullopt;
  return type.getNumElements() *
         llvm::divideCeil(type.getElementTypeBitWidth(), 8);
}

/// True when every use of the buffer ends within the iteration it began in.
static bool staysInIteration(Value buffer) {
  return llvm::all_of(buffer.getUsers(), [](Operation *user) {
    if (isa<scf::YieldOp>(user))
      return false;
    return !isa<ViewLikeOpInterface>(user) ||
           staysInIteration(user->getResult(0));
  });
}

/// Moves the buffers that `scope` allocates to the stack, at its beginning.
static void moveToStack(RewriterBase &rewriter, Region &scope,
                        int64_t maxBytes) {
  SmallVector<memref::AllocOp> buffers;
  scope.walk([&](memref::AllocOp op) {
    std::optional<int64_t> bytes = getBytes(op.getType());
    if (bytes && *bytes <= maxBytes && staysInIteration(op))
      buffers.push_back(op);
  });
  for (memref::AllocOp op : llvm::reverse(buffers)) {
    for (Operation *user : llvm::make_early_inc_range(op->getUsers()))
      if (isa<memref::DeallocOp>(user))
        rewriter.eraseOp(user);
    rewriter.setInsertionPointToStart(&scope.front());
    rewriter.replaceOpWithNewOp<memref::AllocaOp>(
        op, op.getType(), rewriter.getI64IntegerAttr(64));
  }
}

/// Frees what stays on the heap at the end of the function that allocates it.
static void freeAtEnd(RewriterBase &rewriter, func::FuncOp function) {
  for (auto op : function.getOps<memref::AllocOp>()) {
    if (llvm::any_of(op->getUsers(), [](Operation *user) {
          return isa<memref::DeallocOp, func::ReturnOp>(user);
        }))
      continue;
    rewriter.setInsertionPoint(op->getBlock()->getTerminator());
    memref::DeallocOp::create(rewriter, op.getLoc(), op);
  }
}

//===----------------------------------------------------------------------===//
// Work
//===----------------------------------------------------------------------===//

/// Rounds through the innermost loops of `region`, an estimate from below: one
/// per element of a linalg op and per op in its body. Nothing when it cannot
/// be told.
static std::optional<int64_t> estimateWork(Region &region) {
  int64_t work = 1;
  for (Operation &op : region.front().without_terminator()) {
    std::optional<int64_t> part = 0;
    if (auto generic = dyn_cast<linalg::LinalgOp>(op)) {
      SmallVector<int64_t> ranges = generic.getStaticLoopRanges();
      if (ShapedType::isDynamicShape(ranges))
        return std::nullopt;
      part = ShapedType::getNumElements(ranges) *
             static_cast<int64_t>(generic.getBlock()->getOperations().size());
    } else if (auto loop = dyn_cast<scf::ForOp>(op)) {
      auto first = getConstantIntValue(loop.getLowerBound());
      auto last = getConstantIntValue(loop.getUpperBound());
      part = estimateWork(loop.getRegion());
      if (!first || !last || !part)
        return std::nullopt;
      part = *part * std::max<int64_t>(*last - *first, 0);
    } else if (op.getNumRegions() != 0 || isa<CallOpInterface>(op)) {
      return std::nullopt;
    }
    work += *part;
  }
  return work;
}

static bool isWorthThreads(scf::ForallOp loop, int64_t minWork) {
  std::optional<int64_t> work = estimateWork(loop.getRegion());
  for (OpFoldResult bound : loop.getMixedUpperBound()) {
    std::optional<int64_t> count = getConstantIntValue(bound);
    if (!count || !work)
      return true;
    work = *work * *count;
  }
  return *work >= minWork;
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

/// Moves the body of `loop` to the insertion point.
static void inlineBody(RewriterBase &rewriter, scf::ForallOp loop,
                       ValueRange indices) {
  rewriter.eraseOp(loop.getTerminator());
  rewriter.inlineBlockBefore(loop.getBody(), rewriter.getInsertionBlock(),
                             rewriter.getInsertionPoint(), indices);
}

static void emitSequential(RewriterBase &rewriter, scf::ForallOp loop) {
  ImplicitLocOpBuilder builder(loop.getLoc(), rewriter);
  SmallVector<Value> indices;
  OpBuilder::InsertionGuard guard(rewriter);
  auto lower = loop.getLowerBound(builder), upper = loop.getUpperBound(builder);
  auto step = loop.getStep(builder);
  for (auto [begin, end, by] : llvm::zip_equal(lower, upper, step)) {
    auto nest = scf::ForOp::create(rewriter, loop.getLoc(), begin, end, by);
    rewriter.setInsertionPoint(nest.getBody()->getTerminator());
    indices.push_back(nest.getInductionVar());
  }
  inlineBody(rewriter, loop, indices);
}

/// omp.parallel { scratch; omp.wsloop { omp.loop_nest { body } } }
static void emitParallel(RewriterBase &rewriter, scf::ForallOp loop,
                         int64_t maxStackBytes) {
  Location loc = loop.getLoc();
  ImplicitLocOpBuilder builder(loc, rewriter);
  omp::LoopNestOperands bounds;
  bounds.loopLowerBounds = loop.getLowerBound(builder);
  bounds.loopUpperBounds = loop.getUpperBound(builder);
  bounds.loopSteps = loop.getStep(builder);
  auto parallel = omp::ParallelOp::create(rewriter, loc);
  rewriter.createBlock(&parallel.getRegion());
  auto terminator = omp::TerminatorOp::create(rewriter, loc);
  rewriter.setInsertionPoint(terminator);
  auto share = omp::WsloopOp::create(rewriter, loc);
  share.setNowait(true);
  rewriter.createBlock(&share.getRegion());
  auto nest = omp::LoopNestOp::create(rewriter, loc, bounds);
  unsigned rank = loop.getRank();
  Block *body = rewriter.createBlock(
      &nest.getRegion(), {}, SmallVector<Type>(rank, rewriter.getIndexType()),
      SmallVector<Location>(rank, loc));
  rewriter.setInsertionPoint(omp::YieldOp::create(rewriter, loc, ValueRange()));
  inlineBody(rewriter, loop, body->getArguments());
  moveToStack(rewriter, parallel.getRegion(), maxStackBytes);
}

namespace {

struct ConvertForallToOpenMPPass
    : nag::impl::ConvertForallToOpenMPBase<ConvertForallToOpenMPPass> {
  using ConvertForallToOpenMPBase::ConvertForallToOpenMPBase;

  void runOnOperation() override {
    getOperation()->walk([&](func::FuncOp function) {
      if (failed(convert(function)))
        signalPassFailure();
    });
  }

private:
  LogicalResult convert(func::FuncOp function) {
    SmallVector<scf::ForallOp> loops;
    function.walk([&](scf::ForallOp loop) { loops.push_back(loop); });
    IRRewriter rewriter(function.getContext());
    for (scf::ForallOp loop : loops) {
      if (loop->getNumResults() != 0)
        return loop->emitOpError("expected buffers, but got tensors; bufferize "
                                 "it first");
      rewriter.setInsertionPoint(loop);
      bool nested = loop->getParentOfType<omp::ParallelOp>() ||
                    loop->getParentOfType<scf::ForallOp>();
      if (nested || !isWorthThreads(loop, minWork))
        emitSequential(rewriter, loop);
      else
        emitParallel(rewriter, loop, maxStackBytes);
      rewriter.eraseOp(loop);
    }
    if (!function.isExternal()) {
      moveToStack(rewriter, function.getBody(), maxStackBytes);
      freeAtEnd(rewriter, function);
    }
    return success();
  }
};

} // namespace
