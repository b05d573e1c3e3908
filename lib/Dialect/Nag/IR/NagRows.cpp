// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Dialect/Nag/IR/NagDialect.h"

using namespace mlir;
using namespace nag;

int64_t AccumulateOp::getNumRows() { return 0; }
RowRole AccumulateOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole AccumulateOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> AccumulateOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                          Value) {
  return {};
}
int64_t AdamWOp::getNumRows() { return 0; }
RowRole AdamWOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole AdamWOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> AdamWOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                     Value) {
  return {};
}
int64_t ClipFactorOp::getNumRows() { return 0; }
RowRole ClipFactorOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole ClipFactorOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> ClipFactorOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                          Value) {
  return {};
}
int64_t ConstrainOp::getNumRows() { return 0; }
RowRole ConstrainOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole ConstrainOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> ConstrainOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                         Value) {
  return {};
}
int64_t EmbeddingOp::getNumRows() { return 0; }
RowRole EmbeddingOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole EmbeddingOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> EmbeddingOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                         Value) {
  return {};
}
int64_t EncodeOp::getNumRows() { return 0; }
RowRole EncodeOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole EncodeOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> EncodeOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                      Value) {
  return {};
}
int64_t EncodeVJPOp::getNumRows() { return 0; }
RowRole EncodeVJPOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole EncodeVJPOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> EncodeVJPOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                         Value) {
  return {};
}
int64_t GainOp::getNumRows() { return 0; }
RowRole GainOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole GainOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> GainOp::buildRow(ImplicitLocOpBuilder &, ValueRange, Value) {
  return {};
}
int64_t GainVJPOp::getNumRows() { return 0; }
RowRole GainVJPOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole GainVJPOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> GainVJPOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                       Value) {
  return {};
}
int64_t GateOp::getNumRows() { return 0; }
RowRole GateOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole GateOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> GateOp::buildRow(ImplicitLocOpBuilder &, ValueRange, Value) {
  return {};
}
int64_t GateVJPOp::getNumRows() { return 0; }
RowRole GateVJPOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole GateVJPOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> GateVJPOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                       Value) {
  return {};
}
int64_t GeluOp::getNumRows() { return 0; }
RowRole GeluOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole GeluOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> GeluOp::buildRow(ImplicitLocOpBuilder &, ValueRange, Value) {
  return {};
}
int64_t GeluVJPOp::getNumRows() { return 0; }
RowRole GeluVJPOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole GeluVJPOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> GeluVJPOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                       Value) {
  return {};
}
int64_t MaskedMeanOp::getNumRows() { return 0; }
RowRole MaskedMeanOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole MaskedMeanOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> MaskedMeanOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                          Value) {
  return {};
}
int64_t MaskedMeanVJPOp::getNumRows() { return 0; }
RowRole MaskedMeanVJPOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole MaskedMeanVJPOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> MaskedMeanVJPOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                             Value) {
  return {};
}
int64_t Relu2Op::getNumRows() { return 0; }
RowRole Relu2Op::getOperandRole(unsigned) { return RowRole::Row; }
RowRole Relu2Op::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> Relu2Op::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                     Value) {
  return {};
}
int64_t Relu2VJPOp::getNumRows() { return 0; }
RowRole Relu2VJPOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole Relu2VJPOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> Relu2VJPOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                        Value) {
  return {};
}
int64_t ResidualAddOp::getNumRows() { return 0; }
RowRole ResidualAddOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole ResidualAddOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> ResidualAddOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                           Value) {
  return {};
}
int64_t RmsNormOp::getNumRows() { return 0; }
RowRole RmsNormOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole RmsNormOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> RmsNormOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                       Value) {
  return {};
}
int64_t RmsNormVJPOp::getNumRows() { return 0; }
RowRole RmsNormVJPOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole RmsNormVJPOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> RmsNormVJPOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                          Value) {
  return {};
}
int64_t RotaryOp::getNumRows() { return 0; }
RowRole RotaryOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole RotaryOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> RotaryOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                      Value) {
  return {};
}
int64_t RotaryTableOp::getNumRows() { return 0; }
RowRole RotaryTableOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole RotaryTableOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> RotaryTableOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                           Value) {
  return {};
}
int64_t RotateOp::getNumRows() { return 0; }
RowRole RotateOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole RotateOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> RotateOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                      Value) {
  return {};
}
int64_t RotateVJPOp::getNumRows() { return 0; }
RowRole RotateVJPOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole RotateVJPOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> RotateVJPOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                         Value) {
  return {};
}
int64_t SoftmaxVJPOp::getNumRows() { return 0; }
RowRole SoftmaxVJPOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole SoftmaxVJPOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> SoftmaxVJPOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                          Value) {
  return {};
}
int64_t SquaredNormOp::getNumRows() { return 0; }
RowRole SquaredNormOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole SquaredNormOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> SquaredNormOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                           Value) {
  return {};
}
int64_t SwigluOp::getNumRows() { return 0; }
RowRole SwigluOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole SwigluOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> SwigluOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                      Value) {
  return {};
}
int64_t SwigluVJPOp::getNumRows() { return 0; }
RowRole SwigluVJPOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole SwigluVJPOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> SwigluVJPOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                         Value) {
  return {};
}
int64_t TemperOp::getNumRows() { return 0; }
RowRole TemperOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole TemperOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> TemperOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                      Value) {
  return {};
}
int64_t TemperVJPOp::getNumRows() { return 0; }
RowRole TemperVJPOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole TemperVJPOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> TemperVJPOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                         Value) {
  return {};
}
int64_t TokenLossOp::getNumRows() { return 0; }
RowRole TokenLossOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole TokenLossOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> TokenLossOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                         Value) {
  return {};
}
int64_t TokenLossVJPOp::getNumRows() { return 0; }
RowRole TokenLossVJPOp::getOperandRole(unsigned) { return RowRole::Row; }
RowRole TokenLossVJPOp::getResultRole(unsigned) { return RowRole::Row; }
SmallVector<Value> TokenLossVJPOp::buildRow(ImplicitLocOpBuilder &, ValueRange,
                                            Value) {
  return {};
}
