// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Dialect/Nag/Transforms/RoutedRows.h"

#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace nag;

/// True when the offsets are a constant: then they count all rows.
static bool countAll(Value offsets) {
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

void nag::dropRests(Block &block) {
  for (auto put : block.getOps<PutOp>()) {
    auto take = put.getRest().getDefiningOp<TakeOp>();
    if (take && put.getRest() == take.getRest() &&
        put.getIndices() == take.getIndices() &&
        put.getOffsets() == take.getOffsets())
      put.getRestMutable().assign(take.getSource());
  }
}
