// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row programs of depth routing: take, put, soft_skip.
#include "RowRoles.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace nag;

using Elements = RowBuilder::Elements;

/// Row for tensors [B, T, D], lane for [B, T].
static RowRole getPackedRole(Value whole) {
  return cast<RankedTensorType>(whole.getType()).getRank() == 3 ? RowRole::Row
                                                                : RowRole::Lane;
}

static int64_t countIndices(Value indices) {
  return cast<RankedTensorType>(indices.getType()).getDimSize(0);
}

//===----------------------------------------------------------------------===//
// take
//===----------------------------------------------------------------------===//

int64_t TakeOp::getNumRows() { return countIndices(getIndices()); }
RowRole TakeOp::getOperandRole(unsigned index) {
  constexpr RowRole roles[] = {RowRole::Indexed, RowRole::Lane, RowRole::Whole};
  return roles[index];
}
RowRole TakeOp::getResultRole(unsigned index) {
  return index == 0 ? getPackedRole(getSource()) : RowRole::Indexed;
}
std::optional<unsigned> TakeOp::getIndexOperand() { return 1; }
std::optional<unsigned> TakeOp::getOffsetsOperand() { return 2; }
std::optional<unsigned> TakeOp::getBaseOperand(unsigned index) {
  return index == 1 ? std::optional<unsigned>(0) : std::nullopt;
}
std::optional<unsigned> TakeOp::getSharedOperand(unsigned) {
  return std::nullopt;
}

SmallVector<Value> TakeOp::buildRow(ImplicitLocOpBuilder &builder,
                                    ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getSource()));
  Value zero = rows.constant(0);
  if (getPackedRole(getSource()) == RowRole::Lane)
    return {operands[0], zero};
  Scalar nothing(builder, zero);
  return {rows.map({operands[0]}, [](Elements e) { return e[0]; }),
          rows.map({operands[0]}, [&](Elements) { return nothing; })};
}

//===----------------------------------------------------------------------===//
// put
//===----------------------------------------------------------------------===//

int64_t PutOp::getNumRows() { return countIndices(getIndices()); }
RowRole PutOp::getOperandRole(unsigned index) {
  const RowRole roles[] = {getPackedRole(getRest()), RowRole::Base,
                           RowRole::Lane, RowRole::Whole};
  return roles[index];
}
RowRole PutOp::getResultRole(unsigned) { return RowRole::Indexed; }
std::optional<unsigned> PutOp::getIndexOperand() { return 2; }
std::optional<unsigned> PutOp::getOffsetsOperand() { return 3; }
std::optional<unsigned> PutOp::getBaseOperand(unsigned) { return 1; }
std::optional<unsigned> PutOp::getSharedOperand(unsigned) { return 1; }

SmallVector<Value> PutOp::buildRow(ImplicitLocOpBuilder &builder,
                                   ValueRange operands, Value) {
  if (getPackedRole(getRest()) == RowRole::Lane)
    return {operands[0]};
  RowBuilder rows(builder, getComputeElementType(getRest()));
  return {rows.map({operands[0]}, [](Elements e) { return e[0]; })};
}

//===----------------------------------------------------------------------===//
// soft_skip
//===----------------------------------------------------------------------===//

static int64_t countTokens(Value gates) {
  return cast<RankedTensorType>(gates.getType()).getNumElements();
}

/// sigmoid((threshold - |g|) / temperature)
static Scalar softSkip(Scalar gate, Scalar threshold, double temperature) {
  return sigmoid((threshold - abs(gate)) / temperature);
}

int64_t SoftSkipOp::getNumRows() { return countTokens(getGates()); }
RowRole SoftSkipOp::getOperandRole(unsigned index) {
  return index == 0 ? RowRole::Lane : RowRole::Whole;
}
RowRole SoftSkipOp::getResultRole(unsigned) { return RowRole::Sum; }

SmallVector<Value> SoftSkipOp::buildRow(ImplicitLocOpBuilder &builder,
                                        ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getGates()));
  Scalar skip = softSkip(rows.scalar(operands[0]), rows.scalar(operands[1]),
                         getTemperature().convertToDouble());
  return {skip / static_cast<double>(countTokens(getGates()))};
}

int64_t SoftSkipVJPOp::getNumRows() { return countTokens(getGates()); }
RowRole SoftSkipVJPOp::getOperandRole(unsigned index) {
  return index == 0 ? RowRole::Lane : RowRole::Whole;
}
RowRole SoftSkipVJPOp::getResultRole(unsigned) { return RowRole::Lane; }

SmallVector<Value> SoftSkipVJPOp::buildRow(ImplicitLocOpBuilder &builder,
                                           ValueRange operands, Value) {
  RowBuilder rows(builder, getComputeElementType(getGates()));
  double temperature = getTemperature().convertToDouble();
  double tokens = static_cast<double>(countTokens(getGates()));
  Scalar gate = rows.scalar(operands[0]), grad = rows.scalar(operands[2]);
  Scalar skip = softSkip(gate, rows.scalar(operands[1]), temperature);
  Scalar slope = grad * skip * (1.0 - skip) / (temperature * tokens);
  return {select(gate < 0.0, slope, -slope)};
}
