// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -nag-lower-head: the head and its loss, one chunk of rows after the other.
#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/ReshapeOpsUtils.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace nag {
#define GEN_PASS_DEF_NAGLOWERHEAD
#include "nag/Dialect/Nag/Transforms/Passes.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

static RankedTensorType tensorTypeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

/// Rows of a tile of a product: chunks of many rows are whole tiles.
static constexpr int64_t kTileRows = 128;

/// Rows per chunk, about `wanted`: a divisor of `rows` where one is not much
/// smaller, so that all chunks are alike; else the last chunk is shorter.
static int64_t chooseRows(int64_t rows, int64_t wanted) {
  if (wanted >= rows)
    return rows;
  for (int64_t divisor = wanted; 4 * divisor >= 3 * wanted; --divisor)
    if (rows % divisor == 0)
      return divisor;
  if (wanted < kTileRows)
    return wanted;
  return std::min<int64_t>(rows, llvm::alignTo(wanted, kTileRows));
}

namespace {

/// A head whose ops are built for one chunk of rows after the other.
class ChunkedHead {
public:
  ChunkedHead(Operation *head, int64_t rowsPerChunk)
      : builder(head->getLoc(), head), op(head), chunkRows(rowsPerChunk) {
    input = tensorTypeOf(head->getOperand(0));
    rows = input.getNumElements() / input.getShape().back();
  }

  void lowerLoss(HeadLossOp loss);
  void lowerVJP(HeadLossVJPOp vjp);

private:
  /// What both ops compute for a chunk.
  struct Logits {
    Value input, logScale, targets, products, logits, losses, lse;
  };

  template <typename OpTy> Logits buildLogits(OpTy head, int64_t first);
  Value makeScalars(RowwiseOpInterface maker, int64_t first);
  Value slice(Value tensor, bool hasWidth, int64_t first);
  void replaceByJoined(OpResult result, ArrayRef<Value> parts);
  Value reshape(Value tensor, ArrayRef<int64_t> shape);

  ImplicitLocOpBuilder builder;
  Operation *op;
  int64_t chunkRows, rows;
  RankedTensorType input;
};

} // namespace

Value ChunkedHead::reshape(Value tensor, ArrayRef<int64_t> shape) {
  RankedTensorType from = tensorTypeOf(tensor);
  if (from.getShape() == shape)
    return tensor;
  auto to = RankedTensorType::get(shape, from.getElementType());
  auto map = getReassociationIndicesForReshape(from, to);
  if (from.getRank() > to.getRank())
    return tensor::CollapseShapeOp::create(builder, to, tensor, *map);
  return tensor::ExpandShapeOp::create(builder, to, tensor, *map);
}

/// True for an op that makes a scalar of each row, of scalars of the row and of
/// what rows share.
static bool makesScalars(RowwiseOpInterface op) {
  if (op->getNumResults() != 1 || op.getResultRole(0) != RowRole::Lane)
    return false;
  return llvm::all_of(op->getOpOperands(), [&](OpOperand &operand) {
    RowRole role = op.getOperandRole(operand.getOperandNumber());
    return role == RowRole::Lane || role == RowRole::Whole;
  });
}

/// What `maker` makes of the chunk's rows alone.
Value ChunkedHead::makeScalars(RowwiseOpInterface maker, int64_t first) {
  IRMapping mapping;
  for (OpOperand &operand : maker->getOpOperands())
    if (maker.getOperandRole(operand.getOperandNumber()) == RowRole::Lane)
      mapping.map(operand.get(), slice(operand.get(), false, first));
  Value result = builder.clone(*maker, mapping)->getResult(0);
  result.setType(RankedTensorType::get(std::min(chunkRows, rows - first),
                                       getElementTypeOrSelf(result)));
  return result;
}

/// The chunk's rows, from `first` on, of [rows..., d] or [rows...]. Each chunk
/// rounds its own rows: its products can, as they load them. Scalars, such as
/// a token's weight in the loss, are made where they are read.
Value ChunkedHead::slice(Value tensor, bool hasWidth, int64_t first) {
  if (chunkRows == rows)
    return tensor;
  if (auto maker = tensor.getDefiningOp<RowwiseOpInterface>();
      maker && makesScalars(maker))
    return makeScalars(maker, first);
  if (auto rounding = tensor.getDefiningOp<arith::TruncFOp>()) {
    Value part = slice(rounding.getIn(), hasWidth, first);
    Type rounded = tensorTypeOf(part).clone(getElementTypeOrSelf(tensor));
    return arith::TruncFOp::create(builder, rounded, part);
  }
  SmallVector<int64_t> shape{rows};
  if (hasWidth)
    shape.push_back(tensorTypeOf(tensor).getShape().back());
  Value matrix = reshape(tensor, shape);
  SmallVector<OpFoldResult> offsets(shape.size(), builder.getIndexAttr(0)),
      sizes = getAsIndexOpFoldResult(builder.getContext(), shape),
      strides(shape.size(), builder.getIndexAttr(1));
  offsets.front() = builder.getIndexAttr(first);
  sizes.front() = builder.getIndexAttr(std::min(chunkRows, rows - first));
  return tensor::ExtractSliceOp::create(builder, matrix, offsets, sizes,
                                        strides);
}

/// The chunks' rows in place of `result`; where only a wider type of it is
/// read, each chunk widens its own.
void ChunkedHead::replaceByJoined(OpResult result, ArrayRef<Value> parts) {
  if (parts.size() == 1)
    return result.replaceAllUsesWith(parts.front());
  SmallVector<Value> terms(parts);
  Value replaced = result;
  auto widening = result.hasOneUse()
                      ? dyn_cast<arith::ExtFOp>(*result.user_begin())
                      : arith::ExtFOp();
  if (widening) {
    replaced = widening.getOut();
    for (Value &term : terms) {
      OpBuilder behind(term.getContext());
      behind.setInsertionPointAfterValue(term);
      term = arith::ExtFOp::create(
          behind, op->getLoc(),
          tensorTypeOf(term).clone(getElementTypeOrSelf(replaced)), term);
    }
  }
  Value whole = tensor::ConcatOp::create(builder, 0, terms);
  replaced.replaceAllUsesWith(reshape(whole, tensorTypeOf(result).getShape()));
  if (widening)
    widening.erase();
}

template <typename OpTy>
ChunkedHead::Logits ChunkedHead::buildLogits(OpTy head, int64_t first) {
  Logits chunk;
  chunk.input = slice(head.getInput(), true, first);
  chunk.targets = slice(head.getTargets(), false, first);
  chunk.products = LinearOp::create(builder, chunk.input, head.getWeight());
  chunk.logits = chunk.products;
  if (head.getLogScale()) {
    chunk.logScale = slice(head.getLogScale(), false, first);
    chunk.logits = TemperOp::create(builder, chunk.products, chunk.logScale,
                                    head.getFactorAttr());
  }
  auto loss =
      TokenLossOp::create(builder, chunk.logits, chunk.targets,
                          head.getVocabAttr(), head.getIgnoreIndexAttr());
  chunk.losses = loss.getLosses();
  chunk.lse = loss.getLse();
  return chunk;
}

void ChunkedHead::lowerLoss(HeadLossOp loss) {
  SmallVector<Value> losses;
  for (int64_t first = 0; first < rows; first += chunkRows)
    losses.push_back(buildLogits(loss, first).losses);
  replaceByJoined(op->getResult(0), losses);
  op->erase();
}

void ChunkedHead::lowerVJP(HeadLossVJPOp vjp) {
  SmallVector<Value> losses, inputGrads, scaleGrads;
  Value weightGrad;
  for (int64_t first = 0; first < rows; first += chunkRows) {
    Logits chunk = buildLogits(vjp, first);
    losses.push_back(chunk.losses);
    Value grad =
        TokenLossVJPOp::create(builder, chunk.logits, chunk.targets, chunk.lse,
                               slice(vjp.getLossesGrad(), false, first),
                               vjp.getVocabAttr(), vjp.getIgnoreIndexAttr());
    if (chunk.logScale) {
      auto temper = TemperVJPOp::create(builder, chunk.products, chunk.logScale,
                                        grad, vjp.getFactorAttr());
      grad = temper.getInputGrad();
      scaleGrads.push_back(temper.getLogScaleGrad());
    }
    inputGrads.push_back(LinearOp::create(builder, grad, vjp.getWeight(),
                                          /*transpose_weight=*/true));
    Value part = WeightGradOp::create(builder, vjp.getWeightGrad().getType(),
                                      grad, chunk.input);
    weightGrad =
        weightGrad ? AccumulateOp::create(builder, weightGrad, part) : part;
  }
  replaceByJoined(cast<OpResult>(vjp.getLosses()), losses);
  replaceByJoined(cast<OpResult>(vjp.getInputGrad()), inputGrads);
  vjp.getWeightGrad().replaceAllUsesWith(weightGrad);
  if (vjp.getLogScale())
    replaceByJoined(cast<OpResult>(vjp.getLogScaleGrad()), scaleGrads);
  op->erase();
}

namespace {
struct LowerHeadPass : nag::impl::NagLowerHeadBase<LowerHeadPass> {
  using NagLowerHeadBase::NagLowerHeadBase;

  void runOnOperation() override {
    if (bytes < 1 || maxChunks < 1) {
      getOperation()->emitError("expected 'bytes' and 'max-chunks' of 1 or "
                                "more, but got ")
          << bytes.getValue() << " and " << maxChunks.getValue();
      return signalPassFailure();
    }
    SmallVector<Operation *> heads;
    getOperation()->walk([&](Operation *op) {
      if (isa<HeadLossOp, HeadLossVJPOp>(op))
        heads.push_back(op);
    });
    for (Operation *head : heads)
      lower(head);
  }

  void lower(Operation *head) {
    RankedTensorType type = tensorTypeOf(head->getOperand(0));
    int64_t rows = type.getNumElements() / type.getShape().back();
    int64_t rowBytes = tensorTypeOf(head->getOperand(1)).getDimSize(0) *
                       type.getElementTypeBitWidth() / 8;
    int64_t wanted =
        std::max<int64_t>(bytes / rowBytes, llvm::divideCeil(rows, maxChunks));
    int64_t chunkRows = chooseRows(rows, wanted);
    if (remarks)
      head->emitRemark() << llvm::divideCeil(rows, chunkRows) << " chunks of "
                         << chunkRows << " rows, " << chunkRows * rowBytes
                         << " bytes of logits in memory instead of "
                         << rows * rowBytes;
    ChunkedHead chunked(head, chunkRows);
    if (auto loss = dyn_cast<HeadLossOp>(head))
      chunked.lowerLoss(loss);
    else
      chunked.lowerVJP(cast<HeadLossVJPOp>(head));
  }
};
} // namespace
