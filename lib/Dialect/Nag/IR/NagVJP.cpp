// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Dialect/Nag/IR/NagDialect.h"

using namespace mlir;
using namespace nag;

SmallVector<Cotangent> AttentionOp::buildVJP(OpBuilder &, ArrayRef<Cotangent>) {
  return {};
}
SmallVector<Cotangent> DirectionOp::buildVJP(OpBuilder &, ArrayRef<Cotangent>) {
  return {};
}
SmallVector<Cotangent> EmbeddingOp::buildVJP(OpBuilder &, ArrayRef<Cotangent>) {
  return {};
}
SmallVector<Cotangent> EncodeOp::buildVJP(OpBuilder &, ArrayRef<Cotangent>) {
  return {};
}
SmallVector<Cotangent> GainOp::buildVJP(OpBuilder &, ArrayRef<Cotangent>) {
  return {};
}
SmallVector<Cotangent> GateOp::buildVJP(OpBuilder &, ArrayRef<Cotangent>) {
  return {};
}
SmallVector<Cotangent> GeluOp::buildVJP(OpBuilder &, ArrayRef<Cotangent>) {
  return {};
}
SmallVector<Cotangent> LinearOp::buildVJP(OpBuilder &, ArrayRef<Cotangent>) {
  return {};
}
SmallVector<Cotangent> LogNormOp::buildVJP(OpBuilder &, ArrayRef<Cotangent>) {
  return {};
}
SmallVector<Cotangent> MakeStreamOp::buildVJP(OpBuilder &,
                                              ArrayRef<Cotangent>) {
  return {};
}
SmallVector<Cotangent> MaskedMeanOp::buildVJP(OpBuilder &,
                                              ArrayRef<Cotangent>) {
  return {};
}
SmallVector<Cotangent> Relu2Op::buildVJP(OpBuilder &, ArrayRef<Cotangent>) {
  return {};
}
SmallVector<Cotangent> ResidualAddOp::buildVJP(OpBuilder &,
                                               ArrayRef<Cotangent>) {
  return {};
}
SmallVector<Cotangent> RmsNormOp::buildVJP(OpBuilder &, ArrayRef<Cotangent>) {
  return {};
}
SmallVector<Cotangent> RotaryOp::buildVJP(OpBuilder &, ArrayRef<Cotangent>) {
  return {};
}
SmallVector<Cotangent> RotateOp::buildVJP(OpBuilder &, ArrayRef<Cotangent>) {
  return {};
}
SmallVector<Cotangent> SwigluOp::buildVJP(OpBuilder &, ArrayRef<Cotangent>) {
  return {};
}
SmallVector<Cotangent> TemperOp::buildVJP(OpBuilder &, ArrayRef<Cotangent>) {
  return {};
}
SmallVector<Cotangent> TokenLossOp::buildVJP(OpBuilder &, ArrayRef<Cotangent>) {
  return {};
}
