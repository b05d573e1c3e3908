// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Derivatives of linalg.fill and of linalg.generic without reductions.
#include "Models.h"
#include "nag/Dialect/Nag/Transforms/DifferentiableModels.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nag;

Value nag::sumOver(ImplicitLocOpBuilder &b, Value full, AffineMap map,
                   Type type) {
  Type element = getElementTypeOrSelf(type);
  auto sumType = dyn_cast<RankedTensorType>(type);
  if (!sumType)
    sumType = RankedTensorType::get({}, element);
  SmallVector<utils::IteratorType> iterators(map.getNumDims(),
                                             utils::IteratorType::reduction);
  for (AffineExpr result : map.getResults())
    iterators[cast<AffineDimExpr>(result).getPosition()] =
        utils::IteratorType::parallel;
  AffineMap identity = b.getMultiDimIdentityMap(map.getNumDims());
  Value zeros = arith::ConstantOp::create(b, b.getZeroAttr(sumType));
  Value sum = linalg::GenericOp::create(
                  b, TypeRange(sumType), full, zeros,
                  ArrayRef<AffineMap>{identity, map}, iterators,
                  [](OpBuilder &nested, Location loc, ValueRange args) {
                    Value next =
                        arith::AddFOp::create(nested, loc, args[1], args[0]);
                    linalg::YieldOp::create(nested, loc, next);
                  })
                  .getResult(0);
  if (isa<RankedTensorType>(type))
    return sum;
  return tensor::ExtractOp::create(b, sum, ValueRange());
}

namespace {

struct FillModel
    : DifferentiableOpInterface::ExternalModel<FillModel, linalg::FillOp> {
  Cotangents buildVJP(Operation *op, OpBuilder &builder,
                      ArrayRef<Cotangent> cotangents) const {
    auto fill = cast<linalg::FillOp>(op);
    ImplicitLocOpBuilder b(op->getLoc(), builder);
    Value filled = fill.getResult(0);
    unsigned rank = cast<RankedTensorType>(filled.getType()).getRank();
    Value sum = sumOver(b, cotangents[0].value,
                        AffineMap::get(rank, 0, op->getContext()),
                        fill.getInputs()[0].getType());
    return {tensorCotangent(sum), Cotangent{}};
  }
};

/// Reverse mode over the scalar body of a linalg.generic.
class BodyReverser {
public:
  BodyReverser(Block &genericBody, OpBuilder &opBuilder)
      : body(genericBody), builder(opBuilder) {}

  /// Copies the body for arguments `arguments` and returns the cotangent of
  /// argument `wanted` from those of the yielded values (null for zero).
  FailureOr<Value> reverse(ValueRange arguments, ArrayRef<Cotangent> yielded,
                           unsigned wanted) {
    IRMapping mapping;
    mapping.map(body.getArguments(), arguments);
    SmallVector<Operation *> copies;
    for (Operation &op : body.without_terminator())
      copies.push_back(builder.clone(op, mapping));
    Operation *yield = body.getTerminator();
    for (auto [value, cotangent] : llvm::zip(yield->getOperands(), yielded))
      accumulate(mapping.lookupOrDefault(value), cotangent.value);
    for (Operation *op : llvm::reverse(copies))
      if (failed(reverse(op)))
        return failure();
    return cotangents.lookup(arguments[wanted]);
  }

private:
  LogicalResult reverse(Operation *op) {
    auto given = llvm::map_to_vector(op->getResults(), [&](Value result) {
      return tensorCotangent(cotangents.lookup(result));
    });
    if (llvm::none_of(given, [](Cotangent c) { return bool(c); }) ||
        llvm::none_of(op->getOperandTypes(), llvm::IsaPred<FloatType>))
      return success();
    auto differentiable = dyn_cast<DifferentiableOpInterface>(op);
    if (!differentiable)
      return op->emitOpError() << "in a differentiated linalg.generic has no "
                                  "derivative (DifferentiableOpInterface)";
    Cotangents computed = differentiable.buildVJP(builder, given);
    if (computed.size() != op->getNumOperands())
      return failure();
    for (auto [operand, cotangent] : llvm::zip(op->getOperands(), computed))
      accumulate(operand, cotangent.value);
    return success();
  }

  void accumulate(Value value, Value cotangent) {
    if (!cotangent)
      return;
    Value &sum = cotangents[value];
    sum = sum ? arith::AddFOp::create(builder, value.getLoc(), sum, cotangent)
              : cotangent;
  }

  Block &body;
  OpBuilder &builder;
  llvm::DenseMap<Value, Value> cotangents;
};

/// Builds the cotangent of one operand of a generic: the reverse body over the
/// whole iteration space, then the sum over the dimensions along which the
/// operand was broadcast.
class GenericReverser {
public:
  GenericReverser(linalg::GenericOp generic, OpBuilder &builder,
                  ArrayRef<Cotangent> resultCotangents)
      : op(generic), b(generic.getLoc(), builder), cotangents(resultCotangents),
        operands(generic->getOperands()), maps(generic.getIndexingMapsArray()) {
    for (auto [index, cotangent] : llvm::enumerate(resultCotangents)) {
      if (!cotangent)
        continue;
      operands.push_back(cotangent.value);
      maps.push_back(
          generic.getIndexingMapMatchingResult(generic->getResult(index)));
    }
  }

  FailureOr<Cotangent> build(unsigned operand) {
    Type type = op->getOperand(operand).getType();
    if (!isa<FloatType>(getElementTypeOrSelf(type)))
      return Cotangent{};
    FailureOr<Value> full = buildFull(operand);
    if (failed(full))
      return failure();
    AffineMap map = maps[operand];
    return tensorCotangent(map.isIdentity() && isa<RankedTensorType>(type)
                               ? *full
                               : sumOver(b, *full, map, type));
  }

private:
  FailureOr<Value> buildFull(unsigned operand) {
    unsigned rank = op.getNumLoops();
    Type element = getElementTypeOrSelf(op->getOperand(operand).getType());
    Value empty = tensor::EmptyOp::create(b, op.getStaticLoopRanges(), element);
    SmallVector<AffineMap> allMaps(maps);
    allMaps.push_back(b.getMultiDimIdentityMap(rank));
    SmallVector<utils::IteratorType> iterators(rank,
                                               utils::IteratorType::parallel);
    LogicalResult status = success();
    auto full = linalg::GenericOp::create(
        b, TypeRange(empty.getType()), operands, empty, allMaps, iterators,
        [&](OpBuilder &nested, Location loc, ValueRange arguments) {
          status = buildBody(nested, loc, arguments, operand, element);
        });
    if (succeeded(status))
      return full.getResult(0);
    full.erase();
    return failure();
  }

  LogicalResult buildBody(OpBuilder &nested, Location loc, ValueRange arguments,
                          unsigned operand, Type element) {
    unsigned numOperands = op->getNumOperands();
    SmallVector<Cotangent> yielded;
    unsigned next = numOperands;
    for (Cotangent cotangent : cotangents)
      yielded.push_back(cotangent ? tensorCotangent(arguments[next++])
                                  : Cotangent{});
    FailureOr<Value> result =
        BodyReverser(*op.getBody(), nested)
            .reverse(arguments.take_front(numOperands), yielded, operand);
    Value value = succeeded(result) ? *result : Value();
    if (!value)
      value =
          arith::ConstantOp::create(nested, loc, nested.getZeroAttr(element));
    linalg::YieldOp::create(nested, loc, value);
    return result;
  }

  linalg::GenericOp op;
  ImplicitLocOpBuilder b;
  ArrayRef<Cotangent> cotangents;
  /// The generic's operands, then the cotangents of its results.
  SmallVector<Value> operands;
  SmallVector<AffineMap> maps;
};

struct GenericModel
    : DifferentiableOpInterface::ExternalModel<GenericModel,
                                               linalg::GenericOp> {
  Cotangents buildVJP(Operation *op, OpBuilder &builder,
                      ArrayRef<Cotangent> cotangents) const {
    auto generic = cast<linalg::GenericOp>(op);
    if (failed(verifyForm(generic)))
      return {};
    GenericReverser reverser(generic, builder, cotangents);
    Cotangents result;
    for (unsigned index = 0; index < op->getNumOperands(); ++index) {
      FailureOr<Cotangent> cotangent = reverser.build(index);
      if (failed(cotangent))
        return {};
      result.push_back(*cotangent);
    }
    return result;
  }

  static LogicalResult verifyForm(linalg::GenericOp op) {
    if (op.getNumReductionLoops() > 0 || op.getNumLoops() == 0 ||
        llvm::is_contained(op.getStaticLoopRanges(), ShapedType::kDynamic))
      return op.emitOpError() << "expected parallel loops of static size to "
                                 "differentiate, but got others";
    for (AffineMap map : op.getIndexingMapsArray())
      if (!map.isProjectedPermutation())
        return op.emitOpError()
               << "expected indexing maps that permute or broadcast to "
                  "differentiate, but got "
               << AffineMapAttr::get(map);
    return success();
  }
};

} // namespace

void nag::registerLinalgModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, linalg::LinalgDialect *) {
    linalg::FillOp::attachInterface<FillModel>(*context);
    linalg::GenericOp::attachInterface<GenericModel>(*context);
  });
}

void nag::registerDifferentiableExternalModels(DialectRegistry &registry) {
  registerElementwiseModels(registry);
  registerLinalgModels(registry);
  registerTensorModels(registry);
}
