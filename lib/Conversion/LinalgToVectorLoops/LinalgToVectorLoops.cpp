// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// convert-linalg-to-vector-loops: elementwise ops and reductions on buffers
// become loops whose innermost one works on vectors.
#include "nag/Conversion/Passes.h"

#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/TypeUtilities.h"

namespace nag {
#define GEN_PASS_DEF_CONVERTLINALGTOVECTORLOOPS
#include "nag/Conversion/Passes.h.inc"
} // namespace nag

using namespace mlir;
using linalg::GenericOp;

/// Bodies of up to this many ops and results are bound by loads and latency:
/// they work on two vectors at a time. More would not fit the registers.
static constexpr size_t kLightBody = 12;
static constexpr int64_t kFewResults = 2;

//===----------------------------------------------------------------------===//
// What can be done in vectors
//===----------------------------------------------------------------------===//

/// True when moving along the innermost loop moves along `operand` by one
/// element, or not at all.
static bool isContiguous(GenericOp op, OpOperand &operand) {
  AffineMap map = op.getMatchingIndexingMap(&operand);
  unsigned inner = op.getNumLoops() - 1;
  for (auto [i, expr] : llvm::enumerate(map.getResults())) {
    if (!expr.isFunctionOfDim(inner))
      continue;
    if (i + 1 != map.getNumResults() || !isa<AffineDimExpr>(expr))
      return false;
  }
  auto type = cast<MemRefType>(operand.get().getType());
  SmallVector<int64_t> strides;
  int64_t offset;
  return succeeded(type.getStridesAndOffset(strides, offset)) &&
         (strides.empty() || strides.back() == 1);
}

static bool hasVectorForm(Operation &op) {
  return isa<arith::ConstantOp, linalg::IndexOp, linalg::YieldOp>(op) ||
         OpTrait::hasElementwiseMappableTraits(&op);
}

/// The kind of reduction that output `index` accumulates along the innermost
/// loop.
static std::optional<vector::CombiningKind> getReduction(GenericOp op,
                                                         unsigned index) {
  SmallVector<Operation *> combiners;
  if (!matchReduction(op.getRegionOutputArgs(), index, combiners) ||
      combiners.size() != 1)
    return std::nullopt;
  return linalg::getCombinerOpKind(combiners.front());
}

static bool reducesInnermost(GenericOp op) {
  return linalg::isReductionIterator(op.getIteratorTypesArray().back());
}

/// True when all outputs, and no others, vary with the innermost loop, or when
/// it reduces all of them.
static bool hasUniformOutputs(GenericOp op) {
  unsigned inner = op.getNumLoops() - 1;
  for (auto [i, output] : llvm::enumerate(op.getDpsInitsMutable())) {
    bool varies = op.getMatchingIndexingMap(&output).isFunctionOfDim(inner);
    if (varies == reducesInnermost(op))
      return false;
    if (!varies && !getReduction(op, i))
      return false;
  }
  return true;
}

static bool isVectorizable(GenericOp op) {
  if (!op.hasPureBufferSemantics() || op.getNumLoops() == 0 ||
      ShapedType::isDynamicShape(op.getStaticLoopRanges()))
    return false;
  return llvm::all_of(op->getOpOperands(),
                      [&](OpOperand &operand) {
                        return isa<MemRefType>(operand.get().getType()) &&
                               isContiguous(op, operand);
                      }) &&
         llvm::all_of(*op.getBody(), hasVectorForm) && hasUniformOutputs(op);
}

/// Elements that the innermost loop treats at a time, a power of two.
static int64_t getVectorWidth(GenericOp op, int64_t vectorBits) {
  unsigned bits = 32;
  for (Value operand : op->getOperands())
    bits =
        std::max(bits, getElementTypeOrSelf(operand).getIntOrFloatBitWidth());
  int64_t width = vectorBits / bits;
  bool isLight = op.getBody()->getOperations().size() <= kLightBody &&
                 op.getNumDpsInits() <= kFewResults;
  return isLight ? 2 * width : width;
}

//===----------------------------------------------------------------------===//
// Emission
//===----------------------------------------------------------------------===//

namespace {

/// Emits the innermost loop of one op, for one setting of the outer loops.
class InnerLoop {
public:
  InnerLoop(ImplicitLocOpBuilder &loopBuilder, GenericOp generic,
            SmallVector<Value> outerIndices)
      : builder(loopBuilder), op(generic), indices(std::move(outerIndices)),
        reduces(reducesInnermost(generic)) {
    indices.emplace_back();
  }

  void emit(int64_t extent, int64_t width);

private:
  void emitSegment(int64_t first, int64_t end, int64_t width);
  SmallVector<Value> emitStep(Value index, int64_t width,
                              ValueRange accumulators);
  SmallVector<Value> createAccumulators(int64_t width);
  void reduceAccumulators(ValueRange accumulators);

  Value load(OpOperand &operand, int64_t width);
  void store(Value value, OpOperand &output, int64_t width);
  SmallVector<Value> getPosition(OpOperand &operand);
  bool varies(OpOperand &operand) {
    return op.getMatchingIndexingMap(&operand).isFunctionOfDim(
        op.getNumLoops() - 1);
  }
  Value emitIndex(linalg::IndexOp index, int64_t width);
  Value emitBodyOp(Operation &bodyOp, IRMapping &values, int64_t width);
  Value toVector(Value value, int64_t width);

  ImplicitLocOpBuilder &builder;
  GenericOp op;
  /// One per loop; the last is that of the step at hand.
  SmallVector<Value> indices;
  bool reduces;
  /// Where a reduction stands, one scalar per output.
  SmallVector<Value> running;
};

} // namespace

SmallVector<Value> InnerLoop::getPosition(OpOperand &operand) {
  SmallVector<Value> position;
  SmallVector<OpFoldResult> dims = getAsOpFoldResult(indices);
  AffineMap map = op.getMatchingIndexingMap(&operand);
  for (unsigned i = 0; i < map.getNumResults(); ++i) {
    OpFoldResult index = affine::makeComposedFoldedAffineApply(
        builder, builder.getLoc(), map.getSubMap({i}), dims);
    position.push_back(
        getValueOrCreateConstantIndexOp(builder, builder.getLoc(), index));
  }
  return position;
}

Value InnerLoop::load(OpOperand &operand, int64_t width) {
  Value buffer = operand.get();
  if (!varies(operand))
    return memref::LoadOp::create(builder, buffer, getPosition(operand));
  auto type = VectorType::get(width, getElementTypeOrSelf(buffer));
  return vector::LoadOp::create(builder, type, buffer, getPosition(operand));
}

void InnerLoop::store(Value value, OpOperand &output, int64_t width) {
  vector::StoreOp::create(builder, toVector(value, width), output.get(),
                          getPosition(output));
}

Value InnerLoop::toVector(Value value, int64_t width) {
  if (isa<VectorType>(value.getType()))
    return value;
  return vector::BroadcastOp::create(
      builder, VectorType::get(width, value.getType()), value);
}

Value InnerLoop::emitIndex(linalg::IndexOp index, int64_t width) {
  if (index.getDim() + 1 != op.getNumLoops())
    return indices[index.getDim()];
  auto type = VectorType::get(width, builder.getIndexType());
  Value steps = vector::StepOp::create(builder, type);
  return arith::AddIOp::create(builder, toVector(indices.back(), width), steps);
}

/// The op on vectors where an operand is one; else as it is.
Value InnerLoop::emitBodyOp(Operation &bodyOp, IRMapping &values,
                            int64_t width) {
  SmallVector<Value> operands;
  for (Value operand : bodyOp.getOperands())
    operands.push_back(values.lookupOrDefault(operand));
  Type type = bodyOp.getResult(0).getType();
  if (llvm::any_of(operands,
                   [](Value v) { return isa<VectorType>(v.getType()); })) {
    for (Value &operand : operands)
      operand = toVector(operand, width);
    type = VectorType::get(width, type);
  }
  OperationState state(builder.getLoc(), bodyOp.getName(), operands, type,
                       bodyOp.getAttrs());
  return builder.create(state)->getResult(0);
}

/// The body at `index` and the `width` - 1 elements after it. Returns what it
/// yields.
SmallVector<Value> InnerLoop::emitStep(Value index, int64_t width,
                                       ValueRange accumulators) {
  indices.back() = index;
  IRMapping values;
  for (OpOperand *input : op.getDpsInputOperands())
    values.map(op.getMatchingBlockArgument(input), load(*input, width));
  for (auto [i, output] : llvm::enumerate(op.getDpsInitsMutable())) {
    BlockArgument argument = op.getMatchingBlockArgument(&output);
    if (reduces)
      values.map(argument, accumulators[i]);
    else if (!argument.use_empty())
      values.map(argument, load(output, width));
  }
  for (Operation &bodyOp : op.getBody()->without_terminator()) {
    auto indexOp = dyn_cast<linalg::IndexOp>(bodyOp);
    values.map(bodyOp.getResult(0), indexOp
                                        ? emitIndex(indexOp, width)
                                        : emitBodyOp(bodyOp, values, width));
  }
  return llvm::map_to_vector(
      op.getBody()->getTerminator()->getOperands(),
      [&](Value value) { return values.lookupOrDefault(value); });
}

SmallVector<Value> InnerLoop::createAccumulators(int64_t width) {
  SmallVector<Value> accumulators;
  for (unsigned i = 0; reduces && i < op.getNumDpsInits(); ++i) {
    SmallVector<Operation *> combiners;
    matchReduction(op.getRegionOutputArgs(), i, combiners);
    TypedAttr neutral = *arith::getNeutralElement(combiners.front());
    accumulators.push_back(
        toVector(arith::ConstantOp::create(builder, neutral), width));
  }
  return accumulators;
}

/// Combines the lanes of each accumulator into its running value.
void InnerLoop::reduceAccumulators(ValueRange accumulators) {
  for (auto [i, accumulator] : llvm::enumerate(accumulators))
    running[i] =
        vector::ReductionOp::create(builder, *getReduction(op, i), accumulator,
                                    running[i], arith::FastMathFlags::reassoc);
}

/// The elements [first, end), `width` at a time.
void InnerLoop::emitSegment(int64_t first, int64_t end, int64_t width) {
  auto constant = [&](int64_t number) -> Value {
    return arith::ConstantIndexOp::create(builder, number);
  };
  auto storeAll = [&](ArrayRef<Value> values) {
    for (auto [output, value] : llvm::zip(op.getDpsInitsMutable(), values))
      store(value, output, width);
  };
  SmallVector<Value> accumulators = createAccumulators(width);
  if (end - first == width) {
    SmallVector<Value> values = emitStep(constant(first), width, accumulators);
    return reduces ? reduceAccumulators(values) : storeAll(values);
  }
  auto loop = scf::ForOp::create(builder, constant(first), constant(end),
                                 constant(width), accumulators);
  {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(loop.getBody());
    SmallVector<Value> values =
        emitStep(loop.getInductionVar(), width, loop.getRegionIterArgs());
    if (reduces)
      scf::YieldOp::create(builder, values);
    else
      storeAll(values);
  }
  reduceAccumulators(loop.getResults());
}

/// All `extent` elements; what `width` does not divide in vectors of half the
/// width, and so on.
void InnerLoop::emit(int64_t extent, int64_t width) {
  if (reduces)
    for (OpOperand &output : op.getDpsInitsMutable())
      running.push_back(load(output, 1));
  int64_t first = 0;
  for (; width > 0 && first < extent; width /= 2) {
    int64_t end = extent - (extent - first) % width;
    if (end > first)
      emitSegment(first, end, width);
    first = end;
  }
  if (reduces)
    for (auto [output, value] : llvm::zip(op.getDpsInitsMutable(), running))
      memref::StoreOp::create(builder, value, output.get(),
                              getPosition(output));
}

static void convertGeneric(GenericOp op, int64_t vectorBits) {
  ImplicitLocOpBuilder builder(op.getLoc(), op);
  SmallVector<int64_t> ranges = op.getStaticLoopRanges();
  SmallVector<Value> outer;
  Value zero, one;
  for (int64_t range : ArrayRef(ranges).drop_back()) {
    if (!zero) {
      zero = arith::ConstantIndexOp::create(builder, 0);
      one = arith::ConstantIndexOp::create(builder, 1);
    }
    Value end = arith::ConstantIndexOp::create(builder, range);
    auto loop = scf::ForOp::create(builder, zero, end, one);
    builder.setInsertionPointToStart(loop.getBody());
    outer.push_back(loop.getInductionVar());
  }
  InnerLoop(builder, op, std::move(outer))
      .emit(ranges.back(), getVectorWidth(op, vectorBits));
  op.erase();
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

namespace {

struct ConvertLinalgToVectorLoopsPass
    : nag::impl::ConvertLinalgToVectorLoopsBase<
          ConvertLinalgToVectorLoopsPass> {
  using ConvertLinalgToVectorLoopsBase::ConvertLinalgToVectorLoopsBase;

  void runOnOperation() override {
    generalize();
    SmallVector<GenericOp> generics;
    getOperation()->walk([&](GenericOp op) {
      if (isVectorizable(op))
        generics.push_back(op);
    });
    for (GenericOp op : generics)
      convertGeneric(op, vectorBits);
  }

private:
  /// Copies, fills and other named elementwise ops become linalg.generic.
  void generalize() {
    IRRewriter rewriter(&getContext());
    getOperation()->walk([&](Operation *op) {
      rewriter.setInsertionPoint(op);
      if (auto copy = dyn_cast<memref::CopyOp>(op)) {
        linalg::makeMemRefCopyOp(rewriter, copy.getLoc(), copy.getSource(),
                                 copy.getTarget());
        return rewriter.eraseOp(copy);
      }
      if (isa<linalg::FillOp>(op))
        return generalizeFill(rewriter, cast<linalg::FillOp>(op));
      auto named = dyn_cast<linalg::LinalgOp>(op);
      if (named && !isa<GenericOp>(op) &&
          named.getNumParallelLoops() == named.getNumLoops())
        (void)linalg::generalizeNamedOp(rewriter, named);
    });
  }

  /// A fill whose scalar the body captures, rather than reads as an operand.
  static void generalizeFill(RewriterBase &rewriter, linalg::FillOp fill) {
    Value output = fill.output();
    unsigned rank = cast<ShapedType>(output.getType()).getRank();
    if (!isa<MemRefType>(output.getType()))
      return;
    SmallVector<utils::IteratorType> iterators(rank,
                                               utils::IteratorType::parallel);
    Value scalar = fill.value();
    GenericOp::create(rewriter, fill.getLoc(), TypeRange(), ValueRange(),
                      output, rewriter.getMultiDimIdentityMap(rank), iterators,
                      [&](OpBuilder &nested, Location loc, ValueRange) {
                        linalg::YieldOp::create(nested, loc, scalar);
                      });
    rewriter.eraseOp(fill);
  }
};

} // namespace
