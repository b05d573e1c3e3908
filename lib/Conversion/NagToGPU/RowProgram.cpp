// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "RowProgram.h"

#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/IR/RowBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;
using namespace nag;

bool nag::isSharedVector(const RowArgument &argument) {
  return argument.role == RowRole::Whole &&
         isa<RankedTensorType>(argument.value.getType()) &&
         llvm::none_of(
             argument.value.getUsers(),
             llvm::IsaPred<tensor::ExtractSliceOp, tensor::ExtractOp>);
}

int64_t nag::getNumElements(Value tensor) {
  return cast<RankedTensorType>(tensor.getType()).getNumElements();
}

//===----------------------------------------------------------------------===//
// The program of a group
//===----------------------------------------------------------------------===//

static LogicalResult verifyOperands(Operation *op) {
  std::optional<unsigned> offsets =
      cast<RowwiseOpInterface>(op).getOffsetsOperand();
  for (auto [index, operand] : llvm::enumerate(op->getOperands())) {
    DenseElementsAttr constant;
    if (index != offsets && matchPattern(operand, m_Constant(&constant)) &&
        !constant.isSplat())
      return op->emitOpError("expected constants of one value on the GPU");
  }
  for (TypeRange types :
       {TypeRange(op->getOperandTypes()), TypeRange(op->getResultTypes())})
    for (Type type : types)
      if (getElementTypeOrSelf(type).isF64())
        return op->emitOpError("expected f32, bf16 or integers on the GPU, but "
                               "got ")
               << type;
  return verifyHasElements(op);
}

FailureOr<std::unique_ptr<RowProgram>>
RowProgram::build(const RowGroup &group) {
  for (Operation *op : group.getOps())
    if (failed(verifyOperands(op)))
      return failure();
  // Streams are refused here; their parts become arguments as they are read.
  auto inputs = group.collectInputs();
  if (failed(inputs))
    return failure();
  auto program = std::make_unique<RowProgram>();
  program->numRows = group.getNumRows();
  // One output for each tensor outside. Rows at places are rows.
  SmallVector<Value> indices;
  for (const RowOutput &output : group.collectOutputs()) {
    RowRole role = output.role;
    if (output.indices)
      role = output.type.getRank() == 2 ? RowRole::Lane : RowRole::Row;
    for (Value replaced : output.replaced) {
      program->outputs.push_back({output.part, role, output.type, {replaced}});
      indices.push_back(output.indices);
    }
  }
  ImplicitLocOpBuilder builder(group.getOps().front()->getLoc(),
                               group.getOps().front()->getContext());
  builder.setInsertionPointToEnd(&program->body);
  Value row =
      program->body.addArgument(builder.getIndexType(), builder.getLoc());
  DenseMap<Value, RowRole> roles;
  for (auto [tensor, role] : *inputs)
    roles[tensor] = role;
  auto getPart = [&](RowPart part) {
    return program->getArgument(builder, part.first, roles.lookup(part.first));
  };
  auto getWhole = [&](Value tensor) {
    return program->getArgument(builder, tensor, RowRole::Whole);
  };
  auto getIndexed = [&](Value tensor, Value place) {
    return program->getIndexed(builder, tensor, place);
  };
  auto values = group.buildRow(builder, row, {getPart, getWhole, getIndexed});
  for (auto [output, index] : llvm::zip_equal(program->outputs, indices)) {
    program->results.push_back(values.lookup(output.part));
    Value place = index ? values.lookup(resolveRowPart(index)) : Value();
    if (place)
      place =
          arith::IndexCastOp::create(builder, builder.getIndexType(), place);
    program->places.push_back(place);
  }
  program->eraseDeadOps();
  return program;
}

/// A row or a scalar in its compute type.
static Value toComputeType(ImplicitLocOpBuilder &builder, Value value) {
  Type type = getElementTypeOrSelf(value.getType());
  if (getComputeType(type) == type)
    return value;
  return RowBuilder(builder, type).map({value}, [](RowBuilder::Elements e) {
    return e[0];
  });
}

/// Row or scalar `place` (an i32) of a tensor with rows of its own: a row of a
/// table that all rows share.
Value RowProgram::getIndexed(ImplicitLocOpBuilder &builder, Value tensor,
                             Value place) {
  auto type = cast<RankedTensorType>(tensor.getType());
  RankedTensorType table = getRowsType(type, RowRole::Indexed, numRows);
  auto found = llvm::find_if(arguments, [&](const RowArgument &argument) {
    return argument.tensor == tensor && argument.role == RowRole::Whole &&
           argument.value.getType() == table;
  });
  Value memory;
  if (found != arguments.end()) {
    memory = found->value;
  } else {
    BlockArgument value = body.addArgument(table, tensor.getLoc());
    arguments.push_back({value, tensor, RowRole::Whole});
    memory = value;
  }
  Value index =
      arith::IndexCastOp::create(builder, builder.getIndexType(), place);
  if (table.getRank() == 1)
    return toComputeType(builder,
                         tensor::ExtractOp::create(builder, memory, index));
  return toComputeType(
      builder,
      RowBuilder(builder, table.getElementType()).tableRow(memory, index));
}

/// A constant of one value, as a scalar or as a tensor.
static Value createSplat(ImplicitLocOpBuilder &builder,
                         DenseElementsAttr constant, Type type) {
  auto number = constant.getSplatValue<TypedAttr>();
  Type element = getElementTypeOrSelf(type);
  if (auto real = dyn_cast<FloatAttr>(number))
    number = builder.getFloatAttr(element, real.getValueAsDouble());
  Value scalar = arith::ConstantOp::create(builder, number);
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return scalar;
  Value empty = tensor::EmptyOp::create(builder, tensor.getShape(), element);
  return linalg::FillOp::create(builder, scalar, empty).getResult(0);
}

Value RowProgram::getArgument(ImplicitLocOpBuilder &builder, Value tensor,
                              RowRole role) {
  for (const RowArgument &argument : arguments)
    if (argument.tensor == tensor && argument.role == role)
      return argument.value;
  auto type = dyn_cast<RankedTensorType>(tensor.getType());
  if (!type)
    return tensor;
  Type element = type.getElementType(), own = type;
  if (role == RowRole::Row)
    own = RankedTensorType::get({type.getShape().back()},
                                getComputeType(element));
  else if (role == RowRole::Lane)
    own = getComputeType(element);
  else if (type.getRank() == 0)
    own = element;
  DenseElementsAttr constant;
  if (matchPattern(tensor, m_Constant(&constant)))
    return createSplat(builder, constant, own);
  BlockArgument value = body.addArgument(own, tensor.getLoc());
  arguments.push_back({value, tensor, role});
  return value;
}

void RowProgram::eraseDeadOps() {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(body)))
    if (isOpTriviallyDead(&op) && llvm::none_of(op.getResults(), [&](Value v) {
          return llvm::is_contained(results, v) ||
                 llvm::is_contained(places, v);
        }))
      op.erase();
}

Value nag::getRowSource(Value tensor) {
  while (Operation *op = tensor.getDefiningOp()) {
    auto slice = dyn_cast<tensor::ExtractSliceOp>(op);
    bool isPrefix = slice && slice.getSourceType().getRank() == 1;
    if (!isPrefix && !isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op))
      break;
    tensor = op->getOperand(0);
  }
  return tensor;
}

//===----------------------------------------------------------------------===//
// Accesses
//===----------------------------------------------------------------------===//

/// An affine expression without divisions, at one point.
static int64_t evaluate(AffineExpr expr, ArrayRef<int64_t> point) {
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return point[dim.getPosition()];
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return constant.getValue();
  auto binary = cast<AffineBinaryOpExpr>(expr);
  int64_t left = evaluate(binary.getLHS(), point);
  int64_t right = evaluate(binary.getRHS(), point);
  return binary.getKind() == AffineExprKind::Add ? left + right : left * right;
}

LinearAccess::LinearAccess(linalg::GenericOp op, OpOperand &operand)
    : sizes(op.getStaticLoopRanges()), strides(computeStrides(sizes)) {
  AffineMap map = op.getMatchingIndexingMap(&operand);
  auto type = cast<RankedTensorType>(operand.get().getType());
  SmallVector<int64_t> operandStrides = computeStrides(type.getShape());
  auto place = [&](ArrayRef<int64_t> point) {
    int64_t sum = 0;
    for (auto [expr, stride] :
         llvm::zip_equal(map.getResults(), operandStrides))
      sum += evaluate(expr, point) * stride;
    return sum;
  };
  SmallVector<int64_t> point(sizes.size(), 0);
  constant = place(point);
  for (int64_t &coordinate : point) {
    coordinate = 1;
    coefficients.push_back(place(point) - constant);
    coordinate = 0;
  }
}

bool LinearAccess::isIdentity() const {
  if (constant != 0)
    return false;
  for (auto [size, stride, coefficient] :
       llvm::zip_equal(sizes, strides, coefficients))
    if (size > 1 && coefficient != stride)
      return false;
  return true;
}

bool LinearAccess::isPerGroup() const {
  return sizes.size() == 2 && constant == 0 && coefficients[0] == 1 &&
         coefficients[1] == 0;
}

bool LinearAccess::isFlipped() const {
  return sizes.size() == 3 && sizes[1] == 2 && constant == strides[1] &&
         coefficients[0] == strides[0] && coefficients[1] == -strides[1] &&
         coefficients[2] == 1;
}

RowPattern nag::getRowPattern(linalg::GenericOp op) {
  AffineMap map = op.getIndexingMapsArray().back();
  SmallVector<int64_t> sizes = op.getStaticLoopRanges();
  int64_t kept = 1, all = 1;
  for (AffineExpr expr : map.getResults())
    kept *= sizes[cast<AffineDimExpr>(expr).getPosition()];
  for (int64_t size : sizes)
    all *= size;
  if (map.getNumResults() == 0)
    return RowPattern::Reduction;
  if (kept == all)
    return RowPattern::Map;
  return map.isFunctionOfDim(0) ? RowPattern::GroupSum : RowPattern::ColumnSum;
}
