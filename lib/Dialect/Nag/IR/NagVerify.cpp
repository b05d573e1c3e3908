// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Dialect/Nag/IR/NagDialect.h"

using namespace mlir;
using namespace nag;

LogicalResult AdamWOp::verify() { return success(); }
LogicalResult AttentionOp::verify() { return success(); }
LogicalResult AttentionVJPOp::verify() { return success(); }
LogicalResult BlockOp::verify() { return success(); }
LogicalResult ClipFactorOp::verify() { return success(); }
LogicalResult ConstrainOp::verify() { return success(); }
LogicalResult CrossEntropyOp::verify() { return success(); }
LogicalResult DecodeOp::verify() { return success(); }
LogicalResult EmbeddingOp::verify() { return success(); }
LogicalResult EmbeddingVJPOp::verify() { return success(); }
LogicalResult EncodeOp::verify() { return success(); }
LogicalResult EncodeVJPOp::verify() { return success(); }
LogicalResult GainOp::verify() { return success(); }
LogicalResult GainVJPOp::verify() { return success(); }
LogicalResult GateOp::verify() { return success(); }
LogicalResult GateVJPOp::verify() { return success(); }
LogicalResult GlobalNormOp::verify() { return success(); }
LogicalResult KernelOp::verifyRegions() { return success(); }
LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &) {
  return success();
}
LogicalResult LinearOp::verify() { return success(); }
LogicalResult MaskedMeanOp::verify() { return success(); }
LogicalResult MaskedMeanVJPOp::verify() { return success(); }
LogicalResult ModulateOp::verify() { return success(); }
LogicalResult RepeatOp::verifySymbolUses(SymbolTableCollection &) {
  return success();
}
LogicalResult RmsNormOp::verify() { return success(); }
LogicalResult RmsNormVJPOp::verify() { return success(); }
LogicalResult RotaryOp::verify() { return success(); }
LogicalResult RotaryTableOp::verify() { return success(); }
LogicalResult RotateOp::verify() { return success(); }
LogicalResult RotateVJPOp::verify() { return success(); }
LogicalResult SoftmaxVJPOp::verify() { return success(); }
LogicalResult SquaredNormOp::verify() { return success(); }
LogicalResult SwigluVJPOp::verify() { return success(); }
LogicalResult TemperOp::verify() { return success(); }
LogicalResult TemperVJPOp::verify() { return success(); }
LogicalResult TokenLossOp::verify() { return success(); }
LogicalResult TokenLossVJPOp::verify() { return success(); }
LogicalResult WeightGradOp::verify() { return success(); }
