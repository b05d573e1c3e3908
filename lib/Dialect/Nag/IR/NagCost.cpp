// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Dialect/Nag/IR/NagDialect.h"

using namespace mlir;
using namespace nag;

int64_t AccumulateOp::getFlops() { return 0; }
int64_t AdamWOp::getFlops() { return 0; }
int64_t AttentionOp::getFlops() { return 0; }
bool AttentionOp::isContraction() { return true; }
int64_t AttentionVJPOp::getFlops() { return 0; }
bool AttentionVJPOp::isContraction() { return true; }
int64_t ClipFactorOp::getFlops() { return 0; }
int64_t ConstrainOp::getFlops() { return 0; }
int64_t CrossEntropyOp::getFlops() { return 0; }
int64_t DecodeOp::getFlops() { return 0; }
int64_t EmbeddingOp::getFlops() { return 0; }
int64_t EmbeddingVJPOp::getFlops() { return 0; }
int64_t EncodeOp::getFlops() { return 0; }
int64_t EncodeVJPOp::getFlops() { return 0; }
int64_t GainOp::getFlops() { return 0; }
int64_t GainVJPOp::getFlops() { return 0; }
int64_t GateOp::getFlops() { return 0; }
int64_t GateVJPOp::getFlops() { return 0; }
int64_t GeluOp::getFlops() { return 0; }
int64_t GeluVJPOp::getFlops() { return 0; }
int64_t GlobalNormOp::getFlops() { return 0; }
int64_t LinearOp::getFlops() { return 0; }
bool LinearOp::isContraction() { return true; }
int64_t MaskedMeanOp::getFlops() { return 0; }
int64_t MaskedMeanVJPOp::getFlops() { return 0; }
int64_t ModulateOp::getFlops() { return 0; }
int64_t Relu2Op::getFlops() { return 0; }
int64_t Relu2VJPOp::getFlops() { return 0; }
int64_t ResidualAddOp::getFlops() { return 0; }
int64_t RmsNormOp::getFlops() { return 0; }
int64_t RmsNormVJPOp::getFlops() { return 0; }
int64_t RotaryOp::getFlops() { return 0; }
int64_t RotaryTableOp::getFlops() { return 0; }
int64_t RotateOp::getFlops() { return 0; }
int64_t RotateVJPOp::getFlops() { return 0; }
int64_t SoftmaxVJPOp::getFlops() { return 0; }
int64_t SquaredNormOp::getFlops() { return 0; }
int64_t SwigluOp::getFlops() { return 0; }
int64_t SwigluVJPOp::getFlops() { return 0; }
int64_t TemperOp::getFlops() { return 0; }
int64_t TemperVJPOp::getFlops() { return 0; }
int64_t TokenLossOp::getFlops() { return 0; }
int64_t TokenLossVJPOp::getFlops() { return 0; }
int64_t WeightGradOp::getFlops() { return 0; }
bool WeightGradOp::isContraction() { return true; }
