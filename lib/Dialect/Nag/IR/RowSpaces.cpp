// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which operands and results of an op have the same rows.
#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace nag;

using Spaces = SmallVector<RowSpace>;

/// A capacity without dial fills all of its rows.
Spaces RouteOp::getRowSpaces() {
  bool isFixed = getRouting().getPolicy() == Policy::Capacity && !getDial();
  return {{{getIndices()}, isFixed ? Value() : getOffsets()}};
}

/// Queries and what belongs to them; keys and values, which may be routed too.
static Spaces getAttentionSpaces(OperandRange route, ArrayRef<Value> queries,
                                 ArrayRef<Value> keys) {
  RowSpace space{SmallVector<Value>(queries), Value()};
  if (!route.empty()) {
    space.values.push_back(route[0]);
    space.offsets = route[1];
    if (cast<RankedTensorType>(keys.front().getType()).getRank() == 2) {
      llvm::append_range(space.values, keys);
      return {space};
    }
  }
  return {space, {SmallVector<Value>(keys), Value()}};
}

Spaces AttentionOp::getRowSpaces() {
  return getAttentionSpaces(getRoute(), {getQuery(), getResult()},
                            {getKey(), getValue()});
}

Spaces AttentionVJPOp::getRowSpaces() {
  return getAttentionSpaces(
      getRoute(), {getQuery(), getResult(), getResultGrad(), getQueryGrad()},
      {getKey(), getValue(), getKeyGrad(), getValueGrad()});
}

static bool hasRowsOfTheOp(RowRole role) {
  return role == RowRole::Row || role == RowRole::Lane ||
         role == RowRole::Stream;
}

/// Of a row-wise op or a product: what has the op's rows by its role.
template <typename RowOp> static RowSpace getSpaceOfRoles(RowOp op) {
  RowSpace space;
  for (auto [index, operand] : llvm::enumerate(op->getOperands()))
    if (hasRowsOfTheOp(op.getOperandRole(index)))
      space.values.push_back(operand);
  for (auto [index, result] : llvm::enumerate(op->getResults()))
    if (hasRowsOfTheOp(op.getResultRole(index)))
      space.values.push_back(result);
  return space;
}

Spaces nag::getRowSpaces(Operation *op) {
  if (auto other = dyn_cast<RowSpaceOpInterface>(op))
    return other.getRowSpaces();
  if (auto product = dyn_cast<RowProductOpInterface>(op))
    return {getSpaceOfRoles(product)};
  RowSpace space;
  if (isa<MakeStreamOp, DirectionOp, LogNormOp>(op)) {
    llvm::append_range(space.values, op->getOperands());
    llvm::append_range(space.values, op->getResults());
    return {space};
  }
  auto rowwise = dyn_cast<RowwiseOpInterface>(op);
  if (!rowwise || rowwise.getNumRows() == 0)
    return {};
  space = getSpaceOfRoles(rowwise);
  if (auto offsets = rowwise.getOffsetsOperand())
    space.offsets = op->getOperand(*offsets);
  return {space};
}

bool nag::isIdentityRoute(Value indices, Value offsets) {
  DenseIntElementsAttr places, ends;
  if (!matchPattern(indices, m_Constant(&places)))
    return false;
  int64_t expected = 0;
  for (const APInt &place : places)
    if (place.getSExtValue() != expected++)
      return false;
  if (!offsets)
    return true;
  if (!matchPattern(offsets, m_Constant(&ends)))
    return false;
  int64_t sequences = ends.getNumElements() - 1, index = 0;
  for (const APInt &end : ends)
    if (end.getSExtValue() * sequences != expected * index++)
      return false;
  return true;
}
