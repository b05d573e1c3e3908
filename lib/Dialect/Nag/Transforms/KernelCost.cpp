// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "KernelCost.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nag;

/// Bytes of one row of `value` with elements of type `element`.
static int64_t getRowBytes(Value value, Type element) {
  auto type = cast<RankedTensorType>(value.getType());
  int64_t width = type.getRank() == 0 ? 1 : type.getShape().back();
  return width * getTypeBytes(RankedTensorType::get({}, element));
}

KernelCost nag::getCost(const KernelGraph &graph, ArrayRef<unsigned> ids) {
  KernelCost cost;
  cost.launches = 1;
  llvm::SmallMapVector<Value, RowRole, 8> reads, writes;
  for (unsigned id : ids) {
    const KernelGroup &group = graph.getGroup(id);
    for (auto &read : group.reads)
      reads.insert(read);
    for (auto &write : group.writes)
      writes.insert(write);
    for (Operation *op : group.ops)
      if (auto known = dyn_cast<CostOpInterface>(op))
        cost.flops += known.getFlops();
  }
  for (auto &[value, role] : reads) {
    // That two read one number is no reason to be one kernel.
    bool isNumber =
        cast<RankedTensorType>(value.getType()).getNumElements() == 1;
    if (!writes.count(value) && !isNumber)
      cost.bytes += getTypeBytes(value.getType());
    if (role != RowRole::Row)
      continue;
    Type element = getElementTypeOrSelf(value.getType());
    int64_t bytes = getRowBytes(value, getComputeType(element));
    if (writes.count(value)) {
      cost.madeBytes += bytes;
      continue;
    }
    cost.readBytes += bytes;
    cost.storedBytes += getRowBytes(value, element);
  }
  for (auto &[value, role] : writes)
    if (graph.isReadOutside(value, ids))
      cost.bytes += getTypeBytes(value.getType());
  return cost;
}

Savings nag::getSavings(const KernelGraph &graph, unsigned a, unsigned b) {
  KernelCost left = getCost(graph, {a}), right = getCost(graph, {b}),
             both = getCost(graph, {a, b});
  return {left.bytes + right.bytes - both.bytes,
          left.launches + right.launches - both.launches};
}
