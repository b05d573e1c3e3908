// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "KernelBuilder.h"
#include "nag/Dialect/Nag/Transforms/HostOps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Transforms/RegionUtils.h"

using namespace mlir;
using namespace nag;

bool nag::isRepeatedInKernel(Operation *op) {
  if (isa<tensor::EmptyOp>(op))
    return true;
  return !llvm::any_of(op->getResultTypes(),
                       llvm::IsaPred<TensorType, StreamType>);
}

namespace {
/// Wraps the ops of one group in a nag.kernel at the builder's place.
class KernelBuilder {
public:
  KernelBuilder(const KernelGroup &kernelGroup, bool keepProductResults)
      : group(kernelGroup), keepProducts(keepProductResults) {
    members.insert(group.ops.begin(), group.ops.end());
  }

  void build(OpBuilder &builder, DenseMap<Value, Value> &replaced) {
    collectInputs();
    Value offsets = getOffsets(group.offsets, replaced);
    if (offsets)
      inputs.insert(offsets);
    for (Operation *op : group.ops)
      if (Value own = getOffsets(group.counts.lookup(op), replaced)) {
        inputs.insert(own);
        counts[op] = own;
      }
    SmallVector<Value> outputs = getOutputs();
    SmallVector<Location> locs;
    for (Operation *op : group.ops)
      locs.push_back(op->getLoc());
    Location loc = builder.getFusedLoc(locs);
    auto kernel = KernelOp::create(builder, loc, TypeRange(ValueRange(outputs)),
                                   getKernelName(group), inputs.getArrayRef());
    if (offsets)
      kernel->setAttr(kRowCountAttrName, getInputNumber(builder, offsets));
    fillBody(kernel, outputs);
    for (auto [output, result] : llvm::zip_equal(outputs, kernel.getResults()))
      replaced[output] = result;
  }

private:
  /// `offsets`, or what a kernel that is built already yields in their place.
  static Value getOffsets(Value offsets,
                          const DenseMap<Value, Value> &replaced) {
    Value moved = replaced.lookup(offsets);
    return moved ? moved : offsets;
  }

  IntegerAttr getInputNumber(OpBuilder &builder, Value input) const {
    return builder.getI64IntegerAttr(
        std::distance(inputs.begin(), llvm::find(inputs, input)));
  }

  /// Values that come from outside: tensors become inputs, scalars and empty
  /// tensors are computed again inside.
  void collectInputs() {
    SmallVector<Operation *> worklist(llvm::reverse(group.ops));
    while (!worklist.empty()) {
      Operation *op = worklist.pop_back_val();
      SetVector<Value> values(op->operand_begin(), op->operand_end());
      getUsedValuesDefinedAbove(op->getRegions(), values);
      for (Value value : values) {
        Operation *producer = value.getDefiningOp();
        if (producer && members.contains(producer))
          continue;
        if (producer && isRepeatedInKernel(producer)) {
          if (repeated.insert(producer))
            worklist.push_back(producer);
        } else {
          inputs.insert(value);
        }
      }
    }
  }

  SmallVector<Value> getOutputs() const {
    SmallVector<Value> outputs;
    for (Operation *op : group.ops)
      for (OpResult result : op->getResults())
        if (isReadOutside(result) || (keepProducts && needsPlace(result)) ||
            isPutForProduct(result))
          outputs.push_back(result);
    return outputs;
  }

  bool isReadOutside(Value value) const {
    return llvm::any_of(value.getUsers(),
                        [&](Operation *user) { return !isInsideMember(user); });
  }

  /// True for what a product puts and another of the kernel reads: it goes
  /// through memory.
  bool isPutForProduct(OpResult result) const {
    return isa<PutOp>(result.getOwner()) && !group.products.empty();
  }

  /// True for a product's result that row-wise ops read and none overwrites.
  bool needsPlace(OpResult result) const {
    if (!isa<RowProductOpInterface>(result.getOwner()))
      return false;
    Value value = result;
    while (!isReadOutside(value)) {
      OpResult next = findOverwriter(value);
      if (!next)
        return true;
      value = next;
    }
    return false;
  }

  bool isInsideMember(Operation *user) const {
    for (; user; user = user->getParentOp())
      if (members.contains(user))
        return true;
    return false;
  }

  void fillBody(KernelOp kernel, ArrayRef<Value> outputs) {
    Block *body = new Block;
    kernel.getBody().push_back(body);
    IRMapping mapping;
    for (Value input : inputs)
      mapping.map(input, body->addArgument(input.getType(), input.getLoc()));
    OpBuilder builder = OpBuilder::atBlockEnd(body);
    for (Operation *op : llvm::reverse(repeated))
      builder.clone(*op, mapping);
    auto clone = [&](Operation *op) {
      Operation *own = builder.clone(*op, mapping);
      if (Value offsets = counts.lookup(op))
        own->setAttr(kRowCountAttrName, getInputNumber(builder, offsets));
    };
    for (Operation *op : group.ops)
      if (isLoaded(group, op))
        clone(op);
    llvm::for_each(group.products, clone);
    // Selection comes last: a launch ends with it.
    for (bool selects : {false, true})
      for (Operation *op : group.ops)
        if (isa<RouteOp>(op) == selects && !isLoaded(group, op) &&
            !llvm::is_contained(group.products, op))
          clone(op);
    SmallVector<Value> yields;
    for (Value output : outputs)
      yields.push_back(mapping.lookup(output));
    YieldOp::create(builder, kernel.getLoc(), yields);
    for (auto [index, output] : llvm::enumerate(outputs))
      Value(output).replaceUsesWithIf(
          kernel.getResult(index),
          [&](OpOperand &use) { return !isInsideMember(use.getOwner()); });
  }

  const KernelGroup &group;
  bool keepProducts;
  /// Where ops of several counts are together, the inputs that count their
  /// rows.
  DenseMap<Operation *, Value> counts;
  SmallPtrSet<Operation *, 8> members;
  SetVector<Operation *> repeated;
  SetVector<Value> inputs;
};
} // namespace

std::string nag::getKernelName(const KernelGroup &group) {
  SmallVector<StringRef> names;
  auto add = [&](Operation *op) {
    StringRef name = op->getName().stripDialect();
    if (!isa<MakeStreamOp, DirectionOp, LogNormOp>(op) &&
        (names.empty() || names.back() != name))
      names.push_back(name);
  };
  auto isConversion = [](Operation *op) {
    return isa<arith::ExtFOp, arith::TruncFOp>(op);
  };
  bool isNamedByOthers = !llvm::all_of(group.ops, isConversion);
  for (Operation *op : group.ops)
    if (isLoaded(group, op) && !isa<TakeOp>(op) && !isConversion(op))
      add(op);
  llvm::for_each(group.products, add);
  for (Operation *op : group.ops)
    if (!llvm::is_contained(group.products, op) && !isLoaded(group, op) &&
        !(isNamedByOthers && isConversion(op)))
      add(op);
  if (names.size() > 4)
    names.erase(names.begin() + 2, names.end() - 2);
  return llvm::join(names, "_");
}

void nag::buildKernel(OpBuilder &builder, const KernelGroup &group,
                      bool keepProducts, DenseMap<Value, Value> &replaced) {
  KernelBuilder(group, keepProducts).build(builder, replaced);
}
