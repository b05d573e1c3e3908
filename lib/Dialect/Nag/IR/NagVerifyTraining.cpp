// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Verifiers of losses and of the optimizer.
#include "Verify.h"

#include "nag/Dialect/Nag/IR/NagDialect.h"

using namespace mlir;
using namespace nag;
using namespace nag::verifier;

static LogicalResult verifyTokens(Operation *op, StringRef label, Value targets,
                                  ArrayRef<int64_t> shape) {
  return expectShape(op, label, "targets", shape, targets);
}

static LogicalResult verifyVocabulary(Operation *op, Value logits,
                                      Value targets, int64_t vocab) {
  if (failed(verifyTokens(op, "C1", targets,
                          tensorType(logits).getShape().drop_back())))
    return failure();
  int64_t padded = widthOf(logits);
  return expectTrue(op, "C2", vocab >= 1 && vocab <= padded,
                    "'vocab' in [1, " + Twine(padded) + "]", Twine(vocab));
}

LogicalResult CrossEntropyOp::verify() {
  return verifyVocabulary(*this, getLogits(), getTargets(), getVocab());
}

LogicalResult TokenLossOp::verify() {
  return verifyVocabulary(*this, getLogits(), getTargets(), getVocab());
}

LogicalResult TokenLossVJPOp::verify() {
  if (failed(verifyVocabulary(*this, getLogits(), getTargets(), getVocab())) ||
      failed(expectType(*this, "C3", "lse", laneType(getLogits()),
                        getLse().getType())))
    return failure();
  return expectType(*this, "C3", "losses_grad", laneType(getLogits()),
                    getLossesGrad().getType());
}

LogicalResult TargetCountOp::verify() { return success(); }

/// (C1) to (C4) of nag.head_loss.
static LogicalResult verifyHead(Operation *op, Value input, Value weight,
                                Value targets, Value logScale, int64_t vocab) {
  if (failed(verifyTokens(op, "C1", targets,
                          tensorType(input).getShape().drop_back())) ||
      failed(expectRank(op, "C3", "weight", 2, weight)))
    return failure();
  int64_t padded = tensorType(weight).getDimSize(0);
  if (failed(expectTrue(op, "C2", vocab >= 1 && vocab <= padded,
                        "'vocab' in [1, " + Twine(padded) + "]",
                        Twine(vocab))) ||
      failed(expectShape(op, "C3", "weight", {padded, widthOf(input)}, weight)))
    return failure();
  if (!logScale)
    return success();
  return expectType(op, "C4", "log_scale", laneType(input), logScale.getType());
}

LogicalResult HeadLossOp::verify() {
  return verifyHead(*this, getInput(), getWeight(), getTargets(), getLogScale(),
                    getVocab());
}

LogicalResult HeadLossVJPOp::verify() {
  if (failed(verifyHead(*this, getInput(), getWeight(), getTargets(),
                        getLogScale(), getVocab())))
    return failure();
  if (failed(expectType(*this, "C5", "losses_grad", laneType(getInput()),
                        getLossesGrad().getType())) ||
      failed(expectType(*this, "C6", "losses", laneType(getInput()),
                        getLosses().getType())) ||
      failed(expectType(*this, "C6", "input_grad", getInput().getType(),
                        getInputGrad().getType())) ||
      (getLogScale() &&
       failed(expectType(*this, "C6", "log_scale_grad", laneType(getInput()),
                         getLogScaleGrad().getType()))))
    return failure();
  return verifyWeightGrad(*this, "C7", getWeight(), getWeightGrad());
}

LogicalResult MaskedMeanOp::verify() {
  return verifyTokens(*this, "C1", getTargets(),
                      tensorType(getValues()).getShape());
}

LogicalResult MaskedMeanVJPOp::verify() {
  return expectType(*this, "C1", "mean_grad", getCount().getType(),
                    getMeanGrad().getType());
}

LogicalResult SquaredNormOp::verify() { return success(); }

LogicalResult GlobalNormOp::verify() {
  return expectTrue(*this, "C1", !getInputs().empty(), "at least one operand",
                    "none");
}

LogicalResult ClipFactorOp::verify() {
  if (failed(expectType(*this, "C1", "limit", getNorm().getType(),
                        getLimit().getType())))
    return failure();
  return expectType(*this, "C1", "scale", getNorm().getType(),
                    getScale().getType());
}

LogicalResult AdamWOp::verify() {
  ArrayRef<int64_t> shape = tensorType(getParameter()).getShape();
  if (failed(expectShape(*this, "C1", "moment1", shape, getMoment1())) ||
      failed(expectShape(*this, "C1", "moment2", shape, getMoment2())))
    return failure();
  return expectShape(*this, "C1", "gradient", shape, getGradient());
}

LogicalResult ConstrainOp::verify() {
  return expectTrue(*this, "C1", tensorType(getInput()).getRank() > 0,
                    "'input' of rank 1 or more", "rank 0");
}
