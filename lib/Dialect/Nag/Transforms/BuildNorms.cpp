// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -nag-build-norms: @norms from @logits.
#include "nag/Dialect/Nag/Transforms/InspectionPasses.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/SmallVectorExtras.h"

namespace nag {
#define GEN_PASS_DEF_NAGBUILDNORMS
#include "nag/Dialect/Nag/Transforms/InspectionPasses.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

/// The ops of a layer that add to its carry, in order.
static SmallVector<ResidualAddOp> findAdditions(func::FuncOp layer,
                                                Type carry) {
  SmallVector<ResidualAddOp> found;
  layer.walk([&](ResidualAddOp op) {
    if (op.getType() == carry)
      found.push_back(op);
  });
  return found;
}

static func::FuncOp getLayer(RepeatOp repeat) {
  return repeat->getParentOfType<ModuleOp>().lookupSymbol<func::FuncOp>(
      repeat.getCallee());
}

bool nag::hasResidualNorms(func::FuncOp logits) {
  auto repeats = logits.getOps<RepeatOp>();
  return !repeats.empty() && llvm::all_of(repeats, [](RepeatOp repeat) {
    return repeat.getCarry().size() == 1 && !repeat.getReverse() &&
           isa<RankedTensorType>(repeat.getCarry()[0].getType()) &&
           !findAdditions(getLayer(repeat), repeat.getCarry()[0].getType())
                .empty();
  });
}

/// [count, ...] of the lanes [...].
static RankedTensorType stack(RankedTensorType lane, int64_t count) {
  SmallVector<int64_t> shape{count};
  llvm::append_range(shape, lane.getShape());
  return RankedTensorType::get(shape, lane.getElementType());
}

/// The first two dimensions are grouped, the others stay.
static SmallVector<ReassociationIndices> groupFirstTwo(int64_t rank) {
  SmallVector<ReassociationIndices> groups{{0, 1}};
  for (int64_t i = 2; i < rank; ++i)
    groups.push_back({i});
  return groups;
}

/// log rms of the rows as a stack of one lane.
static Value takeNorm(OpBuilder &builder, Location loc, Value rows) {
  auto type = cast<RankedTensorType>(rows.getType());
  auto stream = StreamType::get(builder.getContext(), type.getShape(),
                                type.getElementType());
  auto lane = cast<RankedTensorType>(stream.getLogNormType());
  auto scalar = RankedTensorType::get({}, lane.getElementType());
  Value zero = arith::ConstantOp::create(
      builder, loc, cast<TypedAttr>(builder.getZeroAttr(scalar)));
  Value encoded = EncodeOp::create(builder, loc, stream, rows, zero);
  Value norm = LogNormOp::create(builder, loc, lane, encoded);
  return tensor::ExpandShapeOp::create(builder, loc, stack(lane, 1), norm,
                                       groupFirstTwo(lane.getRank() + 1));
}

static Value concatenate(OpBuilder &builder, Location loc,
                         ArrayRef<Value> stacks) {
  if (stacks.size() == 1)
    return stacks.front();
  return tensor::ConcatOp::create(builder, loc, /*dim=*/0, stacks);
}

/// Copies a layer; the copy also returns a stack of its additions' norms.
static func::FuncOp copyLayer(func::FuncOp layer, Type carry) {
  OpBuilder builder(layer);
  builder.setInsertionPointAfter(layer);
  auto copy = cast<func::FuncOp>(builder.clone(*layer));
  copy.setName((layer.getName() + ".norms").str());
  SmallVector<Value> norms;
  for (ResidualAddOp op : findAdditions(copy, carry)) {
    builder.setInsertionPointAfter(op);
    norms.push_back(takeNorm(builder, op.getLoc(), op.getResult()));
  }
  Operation *end = copy.front().getTerminator();
  builder.setInsertionPoint(end);
  Value all = concatenate(builder, end->getLoc(), norms);
  end->insertOperands(end->getNumOperands(), all);
  copy.setType(builder.getFunctionType(
      copy.getArgumentTypes(), SmallVector<Type>(end->getOperandTypes())));
  return copy;
}

/// Calls the copied layer in place of the layer; returns the norms of all
/// iterations in one stack.
static Value replaceRepeat(RepeatOp repeat, func::FuncOp layer) {
  OpBuilder builder(repeat);
  auto norms = cast<RankedTensorType>(layer.getResultTypes().back());
  SmallVector<Type> stacked(repeat.getStackedResults().getTypes());
  stacked.push_back(stack(norms, repeat.getCount()));
  auto replacement = RepeatOp::create(
      builder, repeat.getLoc(), repeat.getCarryResults().getTypes(), stacked,
      layer.getName(), repeat.getCount(), repeat.getCarry(),
      repeat.getStacked(), repeat.getShared(), repeat.getFirst(),
      /*reverse=*/false);
  repeat.replaceAllUsesWith(replacement.getResults().drop_back());
  repeat.erase();
  builder.setInsertionPointAfter(replacement);
  return tensor::CollapseShapeOp::create(builder, replacement.getLoc(),
                                         replacement.getResults().back(),
                                         groupFirstTwo(norms.getRank() + 1));
}

/// Erases what only the logits needed.
static void eraseUnused(func::FuncOp function) {
  for (Operation &op :
       llvm::make_early_inc_range(llvm::reverse(function.front())))
    if (op.use_empty() && isMemoryEffectFree(&op) &&
        !op.hasTrait<OpTrait::IsTerminator>())
      op.erase();
}

static void buildNorms(func::FuncOp logits) {
  OpBuilder builder(logits);
  builder.setInsertionPointAfter(logits);
  auto norms = cast<func::FuncOp>(builder.clone(*logits));
  norms.setName("norms");
  SmallVector<Value> stacks;
  llvm::DenseMap<Operation *, func::FuncOp> copies;
  for (RepeatOp repeat : llvm::to_vector(norms.getOps<RepeatOp>())) {
    Value residual = repeat.getCarry()[0];
    builder.setInsertionPoint(repeat);
    if (stacks.empty())
      stacks.push_back(takeNorm(builder, repeat.getLoc(), residual));
    func::FuncOp layer = getLayer(repeat);
    func::FuncOp &copy = copies[layer];
    if (!copy)
      copy = copyLayer(layer, residual.getType());
    stacks.push_back(replaceRepeat(repeat, copy));
  }
  Operation *end = norms.front().getTerminator();
  builder.setInsertionPoint(end);
  end->setOperands(concatenate(builder, end->getLoc(), stacks));
  norms.setType(builder.getFunctionType(norms.getArgumentTypes(),
                                        end->getOperand(0).getType()));
  Attribute name = builder.getDictionaryAttr(
      builder.getNamedAttr(kNameAttrName, builder.getStringAttr("norms")));
  norms.setResAttrsAttr(builder.getArrayAttr(name));
  eraseUnused(norms);
}

namespace {
struct BuildNorms : nag::impl::NagBuildNormsBase<BuildNorms> {
  using NagBuildNormsBase::NagBuildNormsBase;

  void runOnOperation() override {
    if (failed(build()))
      signalPassFailure();
  }

private:
  LogicalResult build() {
    ModuleOp module = getOperation();
    auto logits = module.lookupSymbol<func::FuncOp>("logits");
    if (!logits || logits.isExternal())
      return module.emitError("expected a function @logits, but got none");
    if (!hasResidualNorms(logits))
      return logits.emitOpError("expected nag.repeat of layers with "
                                "nag.residual_add to the one tensor that they "
                                "carry");
    if (Operation *other = module.lookupSymbol("norms"))
      return other->emitError("expected no function @norms beside @logits yet");
    buildNorms(logits);
    return success();
  }
};
} // namespace
