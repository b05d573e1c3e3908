// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Dialect/Nag/Transforms/RoutedRows.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace nag;

/// True when the offsets are those of a capacity that is known: then they count
/// all rows.
static bool countAll(Value offsets) {
  auto route = offsets.getDefiningOp<RouteOp>();
  if (route && !route.getDial())
    return true;
  return matchPattern(offsets, m_Constant());
}

RoutedRows::RoutedRows(Block &block) {
  SmallVector<std::pair<Value, Value>> counted;
  for (Operation &op : block)
    for (const RowSpace &space : getRowSpaces(&op)) {
      for (Value value : space.values)
        classes.unionSets(space.values.front().getAsOpaquePointer(),
                          value.getAsOpaquePointer());
      if (space.offsets && !space.values.empty() && !countAll(space.offsets))
        counted.push_back({space.values.front(), space.offsets});
    }
  for (auto [value, offsets] : counted)
    offsetsOf.insert(
        {classes.getLeaderValue(value.getAsOpaquePointer()), offsets});
}

Value RoutedRows::findOffsets(Value value) const {
  auto leader = classes.findLeader(value.getAsOpaquePointer());
  return leader == classes.member_end() ? Value() : offsetsOf.lookup(*leader);
}

Value RoutedRows::findOffsets(ArrayRef<Operation *> ops) const {
  for (Operation *op : ops)
    for (const RowSpace &space : getRowSpaces(op))
      if (!space.values.empty())
        if (Value offsets = findOffsets(space.values.front());
            offsets && !llvm::is_contained(ops, offsets.getDefiningOp()))
          return offsets;
  return Value();
}

/// The rest as zero rows that are put over the source: a kernel that writes it
/// must not read the source.
static void putZeros(TakeOp take) {
  OpBuilder builder(take->getContext());
  builder.setInsertionPointAfter(take);
  Value zeros = arith::ConstantOp::create(
      builder, take.getLoc(), builder.getZeroAttr(take.getRows().getType()));
  Value rest = PutOp::create(builder, take.getLoc(), zeros, take.getSource(),
                             take.getIndices(), take.getOffsets());
  take.getRest().replaceAllUsesWith(rest);
}

bool nag::isPartOfDial(Operation *op) {
  if (!OpTrait::hasElementwiseMappableTraits(op) || op->getNumResults() != 1 ||
      !op->hasOneUse())
    return false;
  auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
  auto route = dyn_cast<RouteOp>(*op->user_begin());
  return type && type.getRank() == 0 && route &&
         route.getDial() == op->getResult(0);
}

void nag::dropRests(Block &block) {
  for (auto put : block.getOps<PutOp>()) {
    auto take = put.getRest().getDefiningOp<TakeOp>();
    if (take && put.getRest() == take.getRest() &&
        put.getIndices() == take.getIndices() &&
        put.getOffsets() == take.getOffsets())
      put.getRestMutable().assign(take.getSource());
  }
  for (auto take : llvm::make_early_inc_range(block.getOps<TakeOp>()))
    if (!take.getRest().use_empty())
      putZeros(take);
}
