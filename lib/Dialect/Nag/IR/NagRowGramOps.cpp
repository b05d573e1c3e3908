// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row-Gram algebra: row programs and constraints of nag.row_gram,
// nag.row_scalars and nag.row_combine.
#include "RowRoles.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace nag;

using Elements = RowBuilder::Elements;

/// One scalar per row of `row`, in its compute type.
static RankedTensorType getLaneType(Value row) {
  auto type = cast<RankedTensorType>(row.getType());
  return RankedTensorType::get(type.getShape().drop_back(),
                               getComputeType(type.getElementType()));
}

//===----------------------------------------------------------------------===//
// Row programs
//===----------------------------------------------------------------------===//

int64_t RowGramOp::getNumRows() {
  return getRows().empty() ? 0 : countRows(getRows().front().getType());
}
RowRole RowGramOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole RowGramOp::getResultRole(unsigned) { return RowRole::Lane; }

SmallVector<Value> RowGramOp::buildRow(ImplicitLocOpBuilder &builder,
                                       ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getRows().front()));
  SmallVector<RowInput> inputs(operands.begin(), operands.end());
  auto products = [&](Elements e) {
    SmallVector<Scalar> terms;
    for (auto [left, right] : llvm::zip(getLeft(), getRight()))
      terms.push_back(right == kOnes ? e[left] : e[left] * e[right]);
    return terms;
  };
  SmallVector<Scalar> sums = rows.sums(inputs, products);
  return SmallVector<Value>(sums.begin(), sums.end());
}

int64_t RowCombineOp::getNumRows() { return countRows(getResult().getType()); }
RowRole RowCombineOp::getOperandRole(unsigned index) {
  return index < getRows().size() ? RowRole::Row : RowRole::Lane;
}
RowRole RowCombineOp::getResultRole(unsigned) { return RowRole::Row; }

SmallVector<Value> RowCombineOp::buildRow(ImplicitLocOpBuilder &builder,
                                          ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getRows().front()));
  size_t count = getRows().size();
  SmallVector<RowInput> inputs(operands.begin(), operands.begin() + count);
  ValueRange scalars = operands.drop_front(count);
  return {rows.map(inputs, [&](Elements e) {
    Scalar sum = e[0] * rows.scalar(scalars[0]);
    for (size_t index = 1; index < count; ++index)
      sum = sum + e[index] * rows.scalar(scalars[index]);
    return getConstant() ? sum + rows.scalar(scalars[count]) : sum;
  })};
}

int64_t RowScalarsOp::getNumRows() {
  if (getScalars().empty())
    return 0;
  return cast<RankedTensorType>(getScalars().front().getType())
      .getNumElements();
}
RowRole RowScalarsOp::getOperandRole(unsigned) { return RowRole::Lane; }
RowRole RowScalarsOp::getResultRole(unsigned) { return RowRole::Lane; }

SmallVector<Value> RowScalarsOp::buildRow(ImplicitLocOpBuilder &builder,
                                          ValueRange operands, Value) {
  Block &body = getBody().front();
  IRMapping mapping;
  for (auto [argument, operand] : llvm::zip(body.getArguments(), operands))
    mapping.map(argument, operand);
  for (Operation &op : body.without_terminator())
    builder.clone(op, mapping);
  return llvm::map_to_vector(
      body.getTerminator()->getOperands(),
      [&](Value value) { return mapping.lookup(value); });
}

//===----------------------------------------------------------------------===//
// Constraints
//===----------------------------------------------------------------------===//

static LogicalResult reject(Operation *op, StringRef label,
                            const Twine &expected, const Twine &actual) {
  return op->emitOpError() << "(" << label << ") expected " << expected
                           << ", but got " << actual;
}

static LogicalResult expectType(Operation *op, StringRef label,
                                const Twine &name, Type expected, Type actual) {
  if (expected == actual)
    return success();
  return op->emitOpError() << "(" << label << ") expected " << name
                           << " of type " << expected << ", but got " << actual;
}

/// All of `rows` have the shape of the first and its compute type.
static LogicalResult verifyRows(Operation *op, StringRef label,
                                ValueRange rows) {
  auto first = cast<RankedTensorType>(rows.front().getType());
  if (first.getRank() < 2)
    return reject(op, label, "rows of rank 2 or more",
                  "rank " + Twine(first.getRank()));
  for (auto [index, row] : llvm::enumerate(rows)) {
    auto type = cast<RankedTensorType>(row.getType());
    if (type.getShape() != first.getShape() ||
        getComputeType(type.getElementType()) !=
            getComputeType(first.getElementType()))
      return expectType(op, label, "row " + Twine(index), first, type);
  }
  return success();
}

LogicalResult RowGramOp::verify() {
  int64_t count = getRows().size();
  if (count > 0 && failed(verifyRows(*this, "C1", getRows())))
    return failure();
  if (getLeft().size() != getRight().size())
    return reject(*this, "C2", "as many right as left rows",
                  Twine(getRight().size()) + " and " + Twine(getLeft().size()));
  for (auto [left, right] : llvm::zip(getLeft(), getRight()))
    if (left < 0 || left >= count || right < kOnes || right >= count)
      return reject(*this, "C2", "pairs of rows below " + Twine(count),
                    "(" + Twine(left) + ", " + Twine(right) + ")");
  if (getLeft().size() != getSums().size())
    return reject(*this, "C3", Twine(getLeft().size()) + " results",
                  Twine(getSums().size()));
  for (Value sum : getSums())
    if (failed(expectType(*this, "C3", "sums", getLaneType(getRows().front()),
                          sum.getType())))
      return failure();
  return success();
}

LogicalResult RowCombineOp::verify() {
  if (getRows().empty() || getRows().size() != getCoefficients().size())
    return reject(*this, "C1", "one coefficient for each of one or more rows",
                  Twine(getRows().size()) + " rows and " +
                      Twine(getCoefficients().size()) + " coefficients");
  SmallVector<Value> rows(getRows());
  rows.push_back(getResult());
  if (failed(verifyRows(*this, "C2", rows)))
    return failure();
  SmallVector<Value> lanes(getCoefficients());
  if (getConstant())
    lanes.push_back(getConstant());
  for (Value lane : lanes)
    if (failed(expectType(*this, "C3", "coefficients", getLaneType(getResult()),
                          lane.getType())))
      return failure();
  return success();
}

LogicalResult RowScalarsOp::verifyRegions() {
  Block &body = getBody().front();
  auto elementsOf = [](TypeRange types) {
    return llvm::map_to_vector(
        types, [](Type type) { return getElementTypeOrSelf(type); });
  };
  if (SmallVector<Type>(body.getArgumentTypes()) !=
      elementsOf(getLanes().getTypes()))
    return reject(*this, "C1", "body arguments of the operands' element types",
                  "a different list");
  if (SmallVector<Type>(body.getTerminator()->getOperandTypes()) !=
      elementsOf(getScalars().getTypes()))
    return reject(*this, "C2", "to yield the results' element types",
                  "a different list");
  SmallVector<Type> types(getOperandTypes());
  llvm::append_range(types, getResultTypes());
  for (Type type : types)
    if (cast<RankedTensorType>(type).getShape() !=
        cast<RankedTensorType>(types.front()).getShape())
      return expectType(*this, "C3", "lanes", types.front(), type);
  return success();
}
