// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Result types from operand types. An operand that does not fit its op gives a
// failure here and a labelled error in NagVerify.cpp.
#include "nag/Dialect/Nag/IR/NagDialect.h"

using namespace mlir;
using namespace nag;

using InferredTypes = SmallVectorImpl<Type>;

static ArrayRef<int64_t> shapeOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape();
}

static Type elementOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getElementType();
}

/// One scalar in the compute type of `like` for each of its rows.
static Type lanesOf(Value like) {
  return RankedTensorType::get(shapeOf(like).drop_back(),
                               getComputeType(elementOf(like)));
}

/// `like` with another last dimension.
static Type withWidth(Value like, int64_t width) {
  SmallVector<int64_t> shape(shapeOf(like));
  shape.back() = width;
  return RankedTensorType::get(shape, elementOf(like));
}

/// A rank-0 tensor of the compute type of `like`.
static Type scalarOf(Value like) {
  return RankedTensorType::get({}, getComputeType(elementOf(like)));
}

static LogicalResult requireRank(std::optional<Location> loc, Value value,
                                 int64_t rank, StringRef name) {
  int64_t actual = shapeOf(value).size();
  if (actual >= rank)
    return success();
  return emitOptionalError(loc, "expected rank ", rank, " or more of '", name,
                           "', but got rank ", actual);
}

LogicalResult EncodeOp::inferReturnTypes(MLIRContext *context,
                                         std::optional<Location> loc,
                                         Adaptor adaptor,
                                         InferredTypes &types) {
  if (failed(requireRank(loc, adaptor.getInput(), 2, "input")))
    return failure();
  types.push_back(StreamType::get(context, shapeOf(adaptor.getInput()),
                                  elementOf(adaptor.getInput())));
  return success();
}

LogicalResult EncodeVJPOp::inferReturnTypes(MLIRContext *,
                                            std::optional<Location>,
                                            Adaptor adaptor,
                                            InferredTypes &types) {
  types.assign({adaptor.getInput().getType(), scalarOf(adaptor.getInput())});
  return success();
}

LogicalResult ModulateOp::inferReturnTypes(MLIRContext *,
                                           std::optional<Location> loc,
                                           Adaptor adaptor,
                                           InferredTypes &types) {
  if (failed(requireRank(loc, adaptor.getDirection(), 1, "direction")))
    return failure();
  types.push_back(lanesOf(adaptor.getDirection()));
  return success();
}

LogicalResult GateOp::inferReturnTypes(MLIRContext *,
                                       std::optional<Location> loc,
                                       Adaptor adaptor, InferredTypes &types) {
  if (failed(requireRank(loc, adaptor.getActivations(), 1, "activations")))
    return failure();
  types.push_back(lanesOf(adaptor.getActivations()));
  return success();
}

LogicalResult GateVJPOp::inferReturnTypes(MLIRContext *,
                                          std::optional<Location>,
                                          Adaptor adaptor,
                                          InferredTypes &types) {
  types.assign({adaptor.getActivations().getType(), adaptor.getBias().getType(),
                adaptor.getLogits().getType(), adaptor.getBeta().getType(),
                adaptor.getAlpha().getType()});
  return success();
}

LogicalResult SoftmaxVJPOp::inferReturnTypes(MLIRContext *,
                                             std::optional<Location>,
                                             Adaptor adaptor,
                                             InferredTypes &types) {
  types.push_back(adaptor.getLogits().getType());
  return success();
}

LogicalResult RotateOp::inferReturnTypes(MLIRContext *, std::optional<Location>,
                                         Adaptor adaptor,
                                         InferredTypes &types) {
  types.push_back(adaptor.getStream().getType());
  return success();
}

LogicalResult RotateVJPOp::inferReturnTypes(MLIRContext *,
                                            std::optional<Location>,
                                            Adaptor adaptor,
                                            InferredTypes &types) {
  types.assign({adaptor.getDirection().getType(), adaptor.getBranch().getType(),
                adaptor.getGates().getType()});
  return success();
}

LogicalResult DecodeOp::inferReturnTypes(MLIRContext *,
                                         std::optional<Location> loc,
                                         Adaptor adaptor,
                                         InferredTypes &types) {
  if (failed(requireRank(loc, adaptor.getWeight(), 2, "weight")))
    return failure();
  auto stream = cast<StreamType>(adaptor.getStream().getType());
  SmallVector<int64_t> shape(stream.getShape());
  shape.back() = shapeOf(adaptor.getWeight()).front();
  types.push_back(RankedTensorType::get(shape, stream.getElementType()));
  return success();
}

LogicalResult TemperOp::inferReturnTypes(MLIRContext *, std::optional<Location>,
                                         Adaptor adaptor,
                                         InferredTypes &types) {
  types.push_back(adaptor.getInput().getType());
  return success();
}

LogicalResult TemperVJPOp::inferReturnTypes(MLIRContext *,
                                            std::optional<Location>,
                                            Adaptor adaptor,
                                            InferredTypes &types) {
  types.assign({adaptor.getInput().getType(), adaptor.getLogScale().getType()});
  return success();
}

LogicalResult EmbeddingOp::inferReturnTypes(MLIRContext *,
                                            std::optional<Location> loc,
                                            Adaptor adaptor,
                                            InferredTypes &types) {
  if (failed(requireRank(loc, adaptor.getTable(), 2, "table")))
    return failure();
  SmallVector<int64_t> shape(shapeOf(adaptor.getTokens()));
  shape.push_back(shapeOf(adaptor.getTable()).back());
  types.push_back(RankedTensorType::get(shape, elementOf(adaptor.getTable())));
  return success();
}

LogicalResult EmbeddingVJPOp::inferReturnTypes(MLIRContext *,
                                               std::optional<Location> loc,
                                               Adaptor adaptor,
                                               InferredTypes &types) {
  Value grad = adaptor.getResultGrad();
  if (failed(requireRank(loc, grad, 1, "result_grad")))
    return failure();
  if (adaptor.getRows() <= 0)
    return emitOptionalError(loc, "expected positive 'rows', but got ",
                             adaptor.getRows());
  types.push_back(RankedTensorType::get(
      {static_cast<int64_t>(adaptor.getRows()), shapeOf(grad).back()},
      elementOf(grad)));
  return success();
}

LogicalResult LinearOp::inferReturnTypes(MLIRContext *,
                                         std::optional<Location> loc,
                                         Adaptor adaptor,
                                         InferredTypes &types) {
  if (failed(requireRank(loc, adaptor.getInput(), 1, "input")) ||
      failed(requireRank(loc, adaptor.getWeight(), 2, "weight")))
    return failure();
  ArrayRef<int64_t> weight = shapeOf(adaptor.getWeight());
  types.push_back(withWidth(adaptor.getInput(), adaptor.getTransposeWeight()
                                                    ? weight.back()
                                                    : weight.front()));
  return success();
}

LogicalResult WeightGradOp::inferReturnTypes(MLIRContext *,
                                             std::optional<Location> loc,
                                             Adaptor adaptor,
                                             InferredTypes &types) {
  if (failed(requireRank(loc, adaptor.getResultGrad(), 1, "result_grad")) ||
      failed(requireRank(loc, adaptor.getInput(), 1, "input")))
    return failure();
  types.push_back(
      RankedTensorType::get({shapeOf(adaptor.getResultGrad()).back(),
                             shapeOf(adaptor.getInput()).back()},
                            elementOf(adaptor.getInput())));
  return success();
}

/// Element types apart.
static bool haveSameShapes(TypeRange inferred, TypeRange actual) {
  return inferred.size() == actual.size() &&
         llvm::all_of_zip(inferred, actual, [](Type expected, Type type) {
           return cast<RankedTensorType>(expected).getShape() ==
                  cast<RankedTensorType>(type).getShape();
         });
}

bool WeightGradOp::isCompatibleReturnTypes(TypeRange inferred,
                                           TypeRange actual) {
  return haveSameShapes(inferred, actual);
}

LogicalResult AttentionOp::inferReturnTypes(MLIRContext *,
                                            std::optional<Location> loc,
                                            Adaptor adaptor,
                                            InferredTypes &types) {
  Value query = adaptor.getQuery();
  bool routed = !adaptor.getRoute().empty();
  if (failed(requireRank(loc, query, routed ? 2 : 3, "query")))
    return failure();
  ArrayRef<int64_t> shape = shapeOf(query);
  int64_t heads = adaptor.getHeads();
  if (heads <= 0)
    return emitOptionalError(loc, "expected positive 'heads', but got ", heads);
  SmallVector<int64_t> lse{shape[0], heads, shape[1]};
  if (routed)
    lse = {heads, shape[0]};
  types.push_back(query.getType());
  types.push_back(RankedTensorType::get(lse, getComputeType(elementOf(query))));
  return success();
}

LogicalResult AttentionVJPOp::inferReturnTypes(MLIRContext *,
                                               std::optional<Location>,
                                               Adaptor adaptor,
                                               InferredTypes &types) {
  types.assign({adaptor.getQuery().getType(), adaptor.getKey().getType(),
                adaptor.getValue().getType()});
  return success();
}

LogicalResult RotaryOp::inferReturnTypes(MLIRContext *, std::optional<Location>,
                                         Adaptor adaptor,
                                         InferredTypes &types) {
  types.push_back(adaptor.getInput().getType());
  return success();
}

LogicalResult RmsNormOp::inferReturnTypes(MLIRContext *,
                                          std::optional<Location>,
                                          Adaptor adaptor,
                                          InferredTypes &types) {
  types.push_back(adaptor.getInput().getType());
  return success();
}

LogicalResult InverseRmsOp::inferReturnTypes(MLIRContext *,
                                             std::optional<Location> loc,
                                             Adaptor adaptor,
                                             InferredTypes &types) {
  auto input = cast<RankedTensorType>(adaptor.getInput().getType());
  SmallVector<int64_t> shape(input.getShape());
  if (shape.empty())
    return emitOptionalError(loc, "expected an input of rank 1 or more");
  shape.back() = adaptor.getGroups();
  types.push_back(
      RankedTensorType::get(shape, getComputeType(input.getElementType())));
  return success();
}

LogicalResult RmsNormVJPOp::inferReturnTypes(MLIRContext *,
                                             std::optional<Location>,
                                             Adaptor adaptor,
                                             InferredTypes &types) {
  types.push_back(adaptor.getInput().getType());
  return success();
}

LogicalResult GainOp::inferReturnTypes(MLIRContext *, std::optional<Location>,
                                       Adaptor adaptor, InferredTypes &types) {
  types.push_back(adaptor.getInput().getType());
  return success();
}

LogicalResult GainVJPOp::inferReturnTypes(MLIRContext *,
                                          std::optional<Location>,
                                          Adaptor adaptor,
                                          InferredTypes &types) {
  types.assign({adaptor.getInput().getType(), adaptor.getGain().getType()});
  return success();
}

LogicalResult SwigluVJPOp::inferReturnTypes(MLIRContext *,
                                            std::optional<Location>,
                                            Adaptor adaptor,
                                            InferredTypes &types) {
  types.assign({adaptor.getGate().getType(), adaptor.getUp().getType()});
  return success();
}

LogicalResult CrossEntropyOp::inferReturnTypes(MLIRContext *,
                                               std::optional<Location>,
                                               Adaptor adaptor,
                                               InferredTypes &types) {
  types.push_back(scalarOf(adaptor.getLogits()));
  return success();
}

LogicalResult TokenLossOp::inferReturnTypes(MLIRContext *,
                                            std::optional<Location> loc,
                                            Adaptor adaptor,
                                            InferredTypes &types) {
  if (failed(requireRank(loc, adaptor.getLogits(), 1, "logits")))
    return failure();
  types.assign(2, lanesOf(adaptor.getLogits()));
  return success();
}

LogicalResult TokenLossVJPOp::inferReturnTypes(MLIRContext *,
                                               std::optional<Location>,
                                               Adaptor adaptor,
                                               InferredTypes &types) {
  types.push_back(adaptor.getLogits().getType());
  return success();
}

LogicalResult TargetCountOp::inferReturnTypes(MLIRContext *,
                                              std::optional<Location>,
                                              Adaptor adaptor,
                                              InferredTypes &types) {
  types.push_back(RankedTensorType::get({}, adaptor.getType()));
  return success();
}

LogicalResult HeadLossOp::inferReturnTypes(MLIRContext *,
                                           std::optional<Location> loc,
                                           Adaptor adaptor,
                                           InferredTypes &types) {
  if (failed(requireRank(loc, adaptor.getInput(), 1, "input")))
    return failure();
  types.push_back(lanesOf(adaptor.getInput()));
  return success();
}

LogicalResult HeadLossVJPOp::inferReturnTypes(MLIRContext *,
                                              std::optional<Location> loc,
                                              Adaptor adaptor,
                                              InferredTypes &types) {
  if (failed(requireRank(loc, adaptor.getInput(), 1, "input")))
    return failure();
  types.assign({lanesOf(adaptor.getInput()), adaptor.getInput().getType(),
                adaptor.getWeight().getType()});
  if (adaptor.getLogScale())
    types.push_back(lanesOf(adaptor.getInput()));
  return success();
}

bool HeadLossVJPOp::isCompatibleReturnTypes(TypeRange inferred,
                                            TypeRange actual) {
  return haveSameShapes(inferred, actual);
}

LogicalResult MaskedMeanOp::inferReturnTypes(MLIRContext *,
                                             std::optional<Location>,
                                             Adaptor adaptor,
                                             InferredTypes &types) {
  types.assign(2, scalarOf(adaptor.getValues()));
  return success();
}

LogicalResult MaskedMeanVJPOp::inferReturnTypes(MLIRContext *,
                                                std::optional<Location>,
                                                Adaptor adaptor,
                                                InferredTypes &types) {
  types.push_back(RankedTensorType::get(shapeOf(adaptor.getTargets()),
                                        elementOf(adaptor.getMeanGrad())));
  return success();
}

LogicalResult SquaredNormOp::inferReturnTypes(MLIRContext *,
                                              std::optional<Location>,
                                              Adaptor adaptor,
                                              InferredTypes &types) {
  types.push_back(scalarOf(adaptor.getInput()));
  return success();
}

LogicalResult GlobalNormOp::inferReturnTypes(MLIRContext *,
                                             std::optional<Location> loc,
                                             Adaptor adaptor,
                                             InferredTypes &types) {
  if (adaptor.getInputs().empty())
    return emitOptionalError(loc, "expected at least one operand");
  types.push_back(scalarOf(adaptor.getInputs().front()));
  return success();
}

LogicalResult ClipFactorOp::inferReturnTypes(MLIRContext *,
                                             std::optional<Location>,
                                             Adaptor adaptor,
                                             InferredTypes &types) {
  types.assign(2, adaptor.getNorm().getType());
  return success();
}

LogicalResult AdamWOp::inferReturnTypes(MLIRContext *, std::optional<Location>,
                                        Adaptor adaptor, InferredTypes &types) {
  types.assign({adaptor.getParameter().getType(),
                adaptor.getMoment1().getType(),
                adaptor.getMoment2().getType()});
  return success();
}

LogicalResult ConstrainOp::inferReturnTypes(MLIRContext *,
                                            std::optional<Location>,
                                            Adaptor adaptor,
                                            InferredTypes &types) {
  types.push_back(adaptor.getInput().getType());
  return success();
}
