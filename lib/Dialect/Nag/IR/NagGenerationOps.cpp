// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Attention to a cache: result types, constraints, costs, interfaces.
#include "DestinationOps.h"
#include "nag/Dialect/Nag/IR/NagGeneration.h"

using namespace mlir;
using namespace nag;
using namespace nag::detail;
using namespace mlir::bufferization;

#define GET_OP_CLASSES
#include "nag/Dialect/Nag/IR/NagGenerationOps.cpp.inc"

LogicalResult
CachedAttentionOp::inferReturnTypes(MLIRContext *, std::optional<Location>,
                                    Adaptor adaptor,
                                    SmallVectorImpl<Type> &types) {
  types.push_back(adaptor.getQuery().getType());
  return success();
}

bool CachedAttentionOp::isContraction() { return true; }

int64_t CachedAttentionOp::getCapacity() {
  return getRows() ? getRows().getType().getShape().back()
                   : getKeyCache().getType().getDimSize(1);
}

/// As nag.attention, for as many positions as the cache and the window let a
/// token see.
int64_t CachedAttentionOp::getFlops() {
  auto shape = getQuery().getType().getShape();
  int64_t tokens = shape[getRoute().empty() ? 1 : 0];
  int64_t seen = getCapacity();
  if (getWindow())
    seen = std::min<int64_t>(seen, *getWindow());
  return (seen + 1) * tokens *
         (4 * shape.back() + 5 * static_cast<int64_t>(getHeads()));
}

SmallVector<RowSpace> CachedAttentionOp::getRowSpaces() {
  RowSpace queries{{getQuery(), getResult()}, Value()};
  if (!getRoute().empty()) {
    queries.values.push_back(getRoute()[0]);
    queries.offsets = getRoute()[1];
  }
  if (getKey().getType().getRank() == 2) {
    queries.values.append({getKey(), getValue()});
    return {queries};
  }
  return {queries, {{getKey(), getValue(), getPositions()}, Value()}};
}

/// The tokens side by side: as many as queries, unless these are routed.
static int64_t countTokens(Value query, Value positions, bool routed) {
  auto shape =
      cast<ShapedType>((routed ? positions : query).getType()).getShape();
  return shape.size() < 2 ? 0 : shape[1];
}

/// A route over `batch` tokens is indices [M] and offsets [2] for M <= B rows
/// of queries.
static LogicalResult verifyRoute(Operation *op, StringRef label, Value query,
                                 OperandRange route, int64_t batch) {
  auto shapeOf = [](Value value) {
    return cast<ShapedType>(value.getType()).getShape();
  };
  ArrayRef<int64_t> rows = shapeOf(query);
  if (route.size() == 2 && rows.size() == 2 && rows[0] <= batch &&
      shapeOf(route[0]) == rows.take_front() &&
      shapeOf(route[1]) == ArrayRef<int64_t>{2})
    return success();
  return op->emitOpError() << "(" << label
                           << ") expected a route of indices [M] and offsets "
                              "[2] and queries [M, heads*hd], M at most "
                           << batch << ", but got queries [" << rows << "] and "
                           << route.size() << " operands as the route";
}

static LogicalResult expectShape(Operation *op, StringRef label, StringRef name,
                                 ArrayRef<int64_t> expected, Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  if (type.getShape() == expected)
    return success();
  return op->emitOpError() << "(" << label << ") expected '" << name
                           << "' of type "
                           << RankedTensorType::get(expected,
                                                    type.getElementType())
                           << ", but got " << type;
}

/// The shape of keys and values: of rows beside a route where they have rank 2.
template <typename Attention>
static SmallVector<int64_t> getTokenShape(Attention op, int64_t batch,
                                          int64_t width) {
  auto key = cast<ShapedType>(op.getKey().getType());
  if (!op.getRoute().empty() && key.getRank() == 2)
    return {cast<ShapedType>(op.getQuery().getType()).getDimSize(0), width};
  return {1, batch, width};
}

/// What nag.cached_attention asks of its sizes and of the token's operands.
static LogicalResult verifyToken(CachedAttentionOp op) {
  auto query = cast<RankedTensorType>(op.getQuery().getType());
  int64_t heads = op.getHeads(), kvHeads = op.getKvHeads();
  bool routed = !op.getRoute().empty();
  int64_t batch = countTokens(op.getQuery(), op.getPositions(), routed);
  if (routed &&
      failed(verifyRoute(op, "C6", op.getQuery(), op.getRoute(), batch)))
    return failure();
  if (!(routed || (query.getRank() == 3 && query.getDimSize(0) == 1)) ||
      heads <= 0 || query.getShape().back() % heads)
    return op.emitOpError()
           << "(C1) expected 'query' of shape [1, B, heads*hd] with heads = "
           << heads << ", but got [" << query.getShape() << "]";
  if (kvHeads <= 0 || heads % kvHeads)
    return op.emitOpError() << "(C2) expected 'heads' a positive multiple of "
                               "'kv_heads', but got "
                            << heads << " and " << kvHeads;
  if (op.getWindow() && int64_t(*op.getWindow()) < 0)
    return op.emitOpError() << "(C3) expected 'window' of 0 or more, but got "
                            << int64_t(*op.getWindow());
  SmallVector<int64_t> token =
      getTokenShape(op, batch, query.getShape().back() / heads * kvHeads);
  if (failed(::expectShape(op, "C1", "key", token, op.getKey())))
    return failure();
  return ::expectShape(op, "C1", "value", token, op.getValue());
}

static constexpr int64_t kMaxRows = 65536;

/// Caches of rows, each named by the operand `rows`.
static LogicalResult verifyShared(CachedAttentionOp op, int64_t batch) {
  auto rows = cast<RankedTensorType>(op.getRows().getType());
  auto cache = cast<RankedTensorType>(op.getKeyCache().getType());
  if (rows.getRank() != 2 || rows.getDimSize(0) != batch ||
      rows.getDimSize(1) < 1 || rows.getDimSize(1) > kMaxRows)
    return op.emitOpError() << "(C7) expected 'rows' of shape [" << batch
                            << ", C] with C in [1, " << kMaxRows
                            << "], but got [" << rows.getShape() << "]";
  if (cache.getRank() != 3 || cache.getDimSize(1) < 1)
    return op.emitOpError() << "(C7) expected 'key_cache' of rank 3 with 1 row "
                               "or more, but got "
                            << cache;
  SmallVector<int64_t> shape{
      batch, cache.getDimSize(1),
      cast<ShapedType>(op.getKey().getType()).getShape().back()};
  if (failed(::expectShape(op, "C7", "key_cache", shape, op.getKeyCache())))
    return failure();
  return ::expectShape(op, "C7", "value_cache", shape, op.getValueCache());
}

static LogicalResult verifyRings(CachedAttentionOp op, int64_t batch) {
  auto cache = cast<RankedTensorType>(op.getKeyCache().getType());
  int64_t rows = cache.getRank() == 3 ? cache.getDimSize(1) : 0;
  if (rows < 1 || rows > kMaxRows)
    return op.emitOpError() << "(C4) expected 'key_cache' of rank 3 with 1 to "
                            << kMaxRows << " rows, but got " << cache;
  SmallVector<int64_t> ring{
      batch, rows, cast<ShapedType>(op.getKey().getType()).getShape().back()};
  if (failed(::expectShape(op, "C4", "key_cache", ring, op.getKeyCache())))
    return failure();
  return ::expectShape(op, "C4", "value_cache", ring, op.getValueCache());
}

LogicalResult CachedAttentionOp::verify() {
  if (failed(verifyToken(*this)))
    return failure();
  int64_t batch = countTokens(getQuery(), getPositions(), !getRoute().empty());
  if (failed(getRows() ? verifyShared(*this, batch)
                       : verifyRings(*this, batch)))
    return failure();
  return ::expectShape(*this, "C5", "positions", {1, batch}, getPositions());
}

LogicalResult StreamCachedAttentionOp::verify() {
  auto query = cast<ShapedType>(getQuery().getType());
  int64_t heads = getHeads(), kvHeads = getKvHeads();
  bool routed = !getRoute().empty();
  int64_t batch = countTokens(getQuery(), getPositions(), routed);
  if (routed && failed(verifyRoute(*this, "C1", getQuery(), getRoute(), batch)))
    return failure();
  if (!(routed || (query.getRank() == 3 && query.getDimSize(0) == 1)) ||
      heads <= 0 || query.getShape().back() % heads)
    return emitOpError() << "(C1) expected 'query' of shape [1, B, heads*hd] "
                            "with heads = "
                         << heads << ", but got [" << query.getShape() << "]";
  if (kvHeads <= 0 || heads % kvHeads)
    return emitOpError() << "(C1) expected 'kv_heads' to divide 'heads'";
  int64_t width = kvHeads * getHeadDim();
  auto cache = cast<ShapedType>(getKeyCache().getType());
  int64_t rows = cache.getRank() == 3 ? cache.getDimSize(1) : 0;
  SmallVector<int64_t> token = getTokenShape(*this, batch, width);
  SmallVector<int64_t> ring{batch, rows, width};
  if (getRows()) {
    auto table = cast<ShapedType>(getRows().getType());
    if (table.getRank() != 2 || table.getDimSize(0) != batch)
      return emitOpError() << "(C1) expected 'rows' of shape [" << batch
                           << ", C], but got [" << table.getShape() << "]";
  }
  if (failed(detail::expectShape(*this, "key", token, getKey())) ||
      failed(detail::expectShape(*this, "value", token, getValue())) ||
      failed(detail::expectShape(*this, "key_cache", ring, getKeyCache())) ||
      failed(
          detail::expectShape(*this, "value_cache", ring, getValueCache())) ||
      failed(detail::expectShape(*this, "positions", {1, batch},
                                 getPositions())) ||
      failed(
          detail::expectShape(*this, "output", query.getShape(), getOutput())))
    return failure();
  return verifyForm(*this);
}

NAG_DESTINATION_OP(StreamCachedAttentionOp)
