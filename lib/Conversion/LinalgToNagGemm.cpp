// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// convert-linalg-matmul-to-nag-gemm: matrix products on buffers become calls of
// the GEMM entry points in nag/Runtime/Kernels.h.
#include "nag/Conversion/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace nag {
#define GEN_PASS_DEF_CONVERTLINALGMATMULTONAGGEMM
#include "nag/Conversion/Passes.h.inc"
} // namespace nag

using namespace mlir;

namespace {

using Dims = ArrayRef<unsigned>;

/// A buffer read as a row-major matrix, or as the transpose of one.
struct Matrix {
  Value buffer;
  /// How many of the buffer's leading dimensions make up the stored rows.
  unsigned rowRank;
  bool transposed;
};

/// The operands of a product a * b -> c.
struct Product {
  Matrix a, b, c;
};

/// True when the results of `map` are the dimensions `first`, then `second`.
bool listsDims(AffineMap map, Dims first, Dims second) {
  SmallVector<unsigned> expected(first);
  llvm::append_range(expected, second);
  if (map.getNumResults() != expected.size())
    return false;
  for (auto [result, dim] : llvm::zip(map.getResults(), expected)) {
    auto expr = dyn_cast<AffineDimExpr>(result);
    if (!expr || expr.getPosition() != dim)
      return false;
  }
  return true;
}

/// True when dimensions [begin, end) of a buffer are one dimension in effect.
bool collapses(ArrayRef<int64_t> sizes, ArrayRef<int64_t> strides,
               unsigned begin, unsigned end) {
  for (unsigned dim = begin; dim + 1 < end; ++dim) {
    int64_t stride = strides[dim + 1], size = sizes[dim + 1];
    if (ShapedType::isDynamic(stride) || ShapedType::isDynamic(size) ||
        strides[dim] != stride * size)
      return false;
  }
  return true;
}

std::optional<Matrix> matchMatrix(OpOperand &operand, AffineMap map, Dims rows,
                                  Dims columns) {
  auto type = dyn_cast<MemRefType>(operand.get().getType());
  bool plain = listsDims(map, rows, columns);
  if (!type || (!plain && !listsDims(map, columns, rows)))
    return std::nullopt;
  unsigned rank = type.getRank(),
           rowRank = plain ? rows.size() : columns.size();
  SmallVector<int64_t> strides;
  int64_t offset;
  if (rank == 0 || failed(type.getStridesAndOffset(strides, offset)) ||
      strides.back() != 1 || !collapses(type.getShape(), strides, 0, rowRank) ||
      !collapses(type.getShape(), strides, rowRank, rank))
    return std::nullopt;
  return Matrix{operand.get(), rowRank, !plain};
}

std::optional<Product> matchProduct(linalg::LinalgOp op) {
  if (!op.hasPureBufferSemantics() || !linalg::isaContractionOpInterface(op))
    return std::nullopt;
  Type element = getElementTypeOrSelf(op.getDpsInits()[0].getType());
  if (!element.isF32() && !element.isF64())
    return std::nullopt;
  for (Value operand : op->getOperands())
    if (getElementTypeOrSelf(operand.getType()) != element)
      return std::nullopt;
  FailureOr<linalg::ContractionDimensions> dims =
      linalg::inferContractionDims(op);
  if (failed(dims) || !dims->batch.empty())
    return std::nullopt;
  auto match = [&](unsigned index, Dims rows, Dims columns) {
    OpOperand &operand = op->getOpOperand(index);
    return matchMatrix(operand, op.getMatchingIndexingMap(&operand), rows,
                       columns);
  };
  std::optional<Matrix> a = match(0, dims->m, dims->k);
  std::optional<Matrix> b = match(1, dims->k, dims->n);
  std::optional<Matrix> c = match(2, dims->m, dims->n);
  if (!a || !b || !c || c->transposed)
    return std::nullopt;
  return Product{*a, *b, *c};
}

/// The linalg.fill with zero that stands right before `op` and fills the same
/// buffer, or null.
linalg::FillOp findZeroFill(linalg::LinalgOp op) {
  Operation *previous = op->getPrevNode();
  while (previous && isMemoryEffectFree(previous))
    previous = previous->getPrevNode();
  auto fill = dyn_cast_or_null<linalg::FillOp>(previous);
  if (!fill || fill.getOutputs()[0] != op.getDpsInits()[0] ||
      !matchPattern(fill.getInputs()[0], m_AnyZeroFloat()))
    return {};
  return fill;
}

/// Builds one call in front of an op.
class GemmCall : public ImplicitLocOpBuilder {
public:
  explicit GemmCall(linalg::LinalgOp op)
      : ImplicitLocOpBuilder(op.getLoc(), op),
        element(cast<FloatType>(
            getElementTypeOrSelf(op.getDpsInits()[0].getType()))) {}

  LogicalResult emit(const Product &product, bool accumulate, Operation *op) {
    FailureOr<func::FuncOp> callee = declare(op);
    if (failed(callee))
      return failure();
    const auto &[a, b, c] = product;
    Value m = extent(c, 0, c.rowRank), n = extent(c, c.rowRank, rank(c));
    Value k =
        a.transposed ? extent(a, 0, a.rowRank) : extent(a, a.rowRank, rank(a));
    SmallVector<Value> arguments{
        flag(a.transposed), flag(b.transposed), m, n, k, scalar(1)};
    for (const Matrix *matrix : {&a, &b}) {
      arguments.push_back(pointer(*matrix));
      arguments.push_back(leading(*matrix));
    }
    arguments.push_back(scalar(accumulate));
    arguments.push_back(pointer(c));
    arguments.push_back(leading(c));
    func::CallOp::create(*this, *callee, arguments);
    return success();
  }

private:
  static unsigned rank(const Matrix &matrix) {
    return cast<MemRefType>(matrix.buffer.getType()).getRank();
  }
  Value flag(bool value) {
    return arith::ConstantOp::create(*this, getI64IntegerAttr(value));
  }
  Value scalar(double value) {
    return arith::ConstantOp::create(*this, getFloatAttr(element, value));
  }
  Value toInteger(Value value) {
    return createOrFold<arith::IndexCastOp>(getI64Type(), value);
  }
  Value extent(const Matrix &matrix, unsigned begin, unsigned end) {
    Value product;
    for (unsigned dim = begin; dim < end; ++dim) {
      Value size = createOrFold<memref::DimOp>(matrix.buffer, dim);
      product = product ? createOrFold<arith::MulIOp>(product, size) : size;
    }
    return toInteger(product);
  }
  Value leading(const Matrix &matrix) {
    auto [strides, offset] =
        cast<MemRefType>(matrix.buffer.getType()).getStridesAndOffset();
    int64_t stride = strides[matrix.rowRank - 1];
    if (!ShapedType::isDynamic(stride))
      return arith::ConstantOp::create(*this, getI64IntegerAttr(stride));
    auto metadata =
        memref::ExtractStridedMetadataOp::create(*this, matrix.buffer);
    return toInteger(metadata.getStrides()[matrix.rowRank - 1]);
  }
  Value pointer(const Matrix &matrix) {
    auto type = cast<MemRefType>(matrix.buffer.getType());
    Value address =
        memref::ExtractAlignedPointerAsIndexOp::create(*this, matrix.buffer);
    if (type.getStridesAndOffset().second != 0) {
      auto metadata =
          memref::ExtractStridedMetadataOp::create(*this, matrix.buffer);
      Value bytes =
          arith::ConstantIndexOp::create(*this, element.getWidth() / 8);
      address = arith::AddIOp::create(
          *this, address,
          arith::MulIOp::create(*this, metadata.getOffset(), bytes));
    }
    return LLVM::IntToPtrOp::create(
        *this, LLVM::LLVMPointerType::get(getContext()), toInteger(address));
  }

  /// The declaration of the entry point in the symbol table around `op`.
  FailureOr<func::FuncOp> declare(Operation *op) {
    StringRef name = element.isF32() ? "nag_gemm_f32" : "nag_gemm_f64";
    Type integer = getI64Type(),
         address = LLVM::LLVMPointerType::get(getContext());
    FunctionType type = getFunctionType(
        {integer, integer, integer, integer, integer, element, address, integer,
         address, integer, element, address, integer},
        {});
    Operation *table = SymbolTable::getNearestSymbolTable(op);
    if (Operation *symbol = SymbolTable::lookupSymbolIn(table, name)) {
      auto function = dyn_cast<func::FuncOp>(symbol);
      if (function && function.getFunctionType() == type)
        return function;
      return symbol->emitError()
             << "expected '" << name << "' to be a function of type " << type;
    }
    InsertionGuard guard(*this);
    setInsertionPointToStart(&table->getRegion(0).front());
    auto function = func::FuncOp::create(*this, name, type);
    function.setPrivate();
    return function;
  }

  FloatType element;
};

struct ConvertLinalgMatmulToNagGemmPass
    : nag::impl::ConvertLinalgMatmulToNagGemmBase<
          ConvertLinalgMatmulToNagGemmPass> {
  void runOnOperation() override {
    SmallVector<linalg::LinalgOp> ops;
    getOperation()->walk([&](linalg::LinalgOp op) { ops.push_back(op); });
    for (linalg::LinalgOp op : ops)
      if (std::optional<Product> product = matchProduct(op))
        if (failed(convert(op, *product)))
          return signalPassFailure();
  }

private:
  /// `product` refers to operands of `op`, which live on.
  LogicalResult convert(linalg::LinalgOp op, const Product &product) {
    linalg::FillOp fill = findZeroFill(op);
    if (failed(GemmCall(op).emit(product, /*accumulate=*/!fill, op)))
      return failure();
    if (fill)
      fill.erase();
    op.erase();
    return success();
  }
};

} // namespace
