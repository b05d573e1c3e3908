// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Dialect/Nag/IR/RowBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/ReshapeOpsUtils.h"

using namespace mlir;
using namespace nag;

//===----------------------------------------------------------------------===//
// Scalars
//===----------------------------------------------------------------------===//

static constexpr auto kContract = arith::FastMathFlags::contract;
/// A reduction may add its terms in any order, which the emitter fixes.
static constexpr auto kReduce =
    arith::FastMathFlags::contract | arith::FastMathFlags::reassoc;

template <typename FloatOp, typename IntOp>
static Scalar binary(Scalar a, Scalar b) {
  ImplicitLocOpBuilder &builder = a.getBuilder();
  if (isa<FloatType>(a.getType()))
    return {builder,
            FloatOp::create(builder, a.get(), b.get(), kContract).getResult()};
  return {builder, IntOp::create(builder, a.get(), b.get()).getResult()};
}

template <typename Op> static Scalar unary(Scalar a) {
  ImplicitLocOpBuilder &builder = a.getBuilder();
  return {builder, Op::create(builder, a.get(), kContract).getResult()};
}

Scalar Scalar::constant(double number) const {
  TypedAttr attr;
  if (isa<FloatType>(getType()))
    attr = builder->getFloatAttr(getType(), number);
  else
    attr = builder->getIntegerAttr(getType(), static_cast<int64_t>(number));
  return {*builder, arith::ConstantOp::create(*builder, attr).getResult()};
}

Scalar nag::operator+(Scalar a, Scalar b) {
  return binary<arith::AddFOp, arith::AddIOp>(a, b);
}
Scalar nag::operator-(Scalar a, Scalar b) {
  return binary<arith::SubFOp, arith::SubIOp>(a, b);
}
Scalar nag::operator*(Scalar a, Scalar b) {
  return binary<arith::MulFOp, arith::MulIOp>(a, b);
}
Scalar nag::operator/(Scalar a, Scalar b) {
  return binary<arith::DivFOp, arith::DivUIOp>(a, b);
}
Scalar nag::operator-(Scalar a) { return unary<arith::NegFOp>(a); }

Scalar nag::operator<(Scalar a, Scalar b) {
  ImplicitLocOpBuilder &builder = a.getBuilder();
  if (isa<FloatType>(a.getType()))
    return {builder, arith::CmpFOp::create(builder, arith::CmpFPredicate::OLT,
                                           a.get(), b.get())};
  return {builder, arith::CmpIOp::create(builder, arith::CmpIPredicate::slt,
                                         a.get(), b.get())};
}

Scalar nag::operator==(Scalar a, Scalar b) {
  ImplicitLocOpBuilder &builder = a.getBuilder();
  return {builder, arith::CmpIOp::create(builder, arith::CmpIPredicate::eq,
                                         a.get(), b.get())};
}

Scalar nag::select(Scalar condition, Scalar a, Scalar b) {
  ImplicitLocOpBuilder &builder = a.getBuilder();
  return {builder,
          arith::SelectOp::create(builder, condition.get(), a.get(), b.get())};
}

Scalar nag::max(Scalar a, Scalar b) { return select(a < b, b, a); }
Scalar nag::min(Scalar a, Scalar b) { return select(b < a, b, a); }
Scalar nag::exp(Scalar a) { return unary<math::ExpOp>(a); }
Scalar nag::log(Scalar a) { return unary<math::LogOp>(a); }
Scalar nag::log1p(Scalar a) { return unary<math::Log1pOp>(a); }
Scalar nag::sqrt(Scalar a) { return unary<math::SqrtOp>(a); }
Scalar nag::abs(Scalar a) { return unary<math::AbsFOp>(a); }
Scalar nag::erf(Scalar a) { return unary<math::ErfOp>(a); }
Scalar nag::tanh(Scalar a) { return unary<math::TanhOp>(a); }
Scalar nag::sin(Scalar a) { return unary<math::SinOp>(a); }
Scalar nag::cos(Scalar a) { return unary<math::CosOp>(a); }

Scalar nag::pow(Scalar a, Scalar b) {
  ImplicitLocOpBuilder &builder = a.getBuilder();
  return {
      builder,
      math::PowFOp::create(builder, a.get(), b.get(), kContract).getResult()};
}

Scalar nag::sigmoid(Scalar a) { return 1.0 / (exp(-a) + 1.0); }

Scalar nag::softplus(Scalar a) {
  return max(a, a.constant(0)) + log1p(exp(-abs(a)));
}

Scalar nag::reciprocalOrZero(Scalar a) {
  return select(abs(a) > 0.0, 1.0 / a, 0.0);
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

RowInput nag::perGroup(Value value) {
  RowInput input(value);
  input.access = RowInput::Access::PerGroup;
  return input;
}

RowInput nag::flipped(Value value) {
  RowInput input(value);
  input.access = RowInput::Access::Flipped;
  return input;
}

static bool isTensor(const RowInput &input) {
  return isa<RankedTensorType>(input.value.getType());
}

/// The shape of the space that a map of `inputs` runs through: the first
/// tensor's. None when there is no tensor.
static std::optional<ArrayRef<int64_t>>
getIterationShape(ArrayRef<RowInput> inputs) {
  const RowInput *first = llvm::find_if(inputs, isTensor);
  if (first == inputs.end())
    return std::nullopt;
  return cast<RankedTensorType>(first->value.getType()).getShape();
}

static AffineMap getInputMap(const RowInput &input, unsigned rank) {
  MLIRContext *context = input.value.getContext();
  if (input.access == RowInput::Access::PerGroup)
    return AffineMap::get(rank, 0, {getAffineDimExpr(0, context)}, context);
  if (input.access == RowInput::Access::Flipped) {
    AffineExpr half = 1 - getAffineDimExpr(1, context);
    return AffineMap::get(
        rank, 0,
        {getAffineDimExpr(0, context), half, getAffineDimExpr(2, context)},
        context);
  }
  unsigned own = cast<RankedTensorType>(input.value.getType()).getRank();
  return AffineMap::getMultiDimIdentityMap(rank, context).getMinorSubMap(own);
}

RowBuilder::RowBuilder(ImplicitLocOpBuilder &owner, Type elementType)
    : builder(owner),
      type(elementType.isBF16() ? owner.getF32Type() : elementType) {}

Scalar RowBuilder::scalar(Value value) {
  auto from = dyn_cast<FloatType>(value.getType());
  if (!from || from == type)
    return {builder, value};
  if (from.getWidth() < type.getIntOrFloatBitWidth())
    return {builder, arith::ExtFOp::create(builder, type, value)};
  return {builder, arith::TruncFOp::create(builder, type, value).getResult()};
}

Scalar RowBuilder::constant(double number) {
  return {builder,
          arith::ConstantOp::create(builder, builder.getFloatAttr(type, number))
              .getResult()};
}

Scalar RowBuilder::index(unsigned dimension) {
  Value index = linalg::IndexOp::create(builder, dimension);
  return {builder,
          arith::IndexCastOp::create(builder, builder.getI32Type(), index)};
}

SmallVector<Scalar> RowBuilder::elements(ArrayRef<RowInput> inputs,
                                         ValueRange arguments) {
  SmallVector<Scalar> result;
  for (const RowInput &input : inputs) {
    Value element = input.value;
    if (isTensor(input)) {
      element = arguments.front();
      arguments = arguments.drop_front();
    }
    result.push_back(scalar(element));
  }
  return result;
}

Scalar RowBuilder::combine(Scalar accumulator, Scalar value,
                           Reduction reduction) {
  if (reduction == Reduction::Max)
    return {builder,
            arith::MaximumFOp::create(builder, accumulator.get(), value.get())};
  return {builder, arith::AddFOp::create(builder, accumulator.get(),
                                         value.get(), kReduce)};
}

SmallVector<Value> RowBuilder::generic(ArrayRef<RowInput> inputs,
                                       ValueRange inits, AffineMap outputMap,
                                       MultiFn fn,
                                       std::optional<Reduction> reduction) {
  unsigned rank = outputMap.getNumDims();
  SmallVector<Value> tensors;
  SmallVector<AffineMap> maps;
  for (const RowInput &input : inputs)
    if (isTensor(input)) {
      tensors.push_back(input.value);
      maps.push_back(getInputMap(input, rank));
    }
  maps.append(inits.size(), outputMap);
  SmallVector<utils::IteratorType> iterators(rank,
                                             utils::IteratorType::reduction);
  for (AffineExpr expr : outputMap.getResults())
    iterators[cast<AffineDimExpr>(expr).getPosition()] =
        utils::IteratorType::parallel;
  auto body = [&](OpBuilder &nested, Location, ValueRange arguments) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPoint(nested.getInsertionBlock(),
                              nested.getInsertionPoint());
    SmallVector<Value> yielded;
    for (auto [i, value] : llvm::enumerate(fn(elements(inputs, arguments)))) {
      Scalar old(builder, arguments[tensors.size() + i]);
      yielded.push_back(reduction ? combine(old, value, *reduction) : value);
    }
    linalg::YieldOp::create(builder, yielded);
  };
  return linalg::GenericOp::create(builder, inits.getTypes(), tensors, inits,
                                   maps, iterators, body)
      .getResults();
}

/// The number and types of results that `fn` builds, found by building it on
/// the side.
static SmallVector<Type> probeResultTypes(ImplicitLocOpBuilder &builder,
                                          ArrayRef<RowInput> inputs,
                                          RowBuilder &rows,
                                          RowBuilder::MultiFn fn) {
  OpBuilder::InsertionGuard guard(builder);
  Block scratch;
  builder.setInsertionPointToStart(&scratch);
  SmallVector<Scalar> elements;
  for (const RowInput &input : inputs) {
    Value element = input.value;
    if (isTensor(input))
      element = scratch.addArgument(getElementTypeOrSelf(element.getType()),
                                    builder.getLoc());
    elements.push_back(rows.scalar(element));
  }
  return llvm::map_to_vector(fn(elements),
                             [](Scalar result) { return result.getType(); });
}

SmallVector<Value> RowBuilder::maps(ArrayRef<RowInput> inputs, MultiFn fn) {
  auto shape = getIterationShape(inputs);
  if (!shape)
    return llvm::map_to_vector(fn(elements(inputs, {})),
                               [](Scalar result) { return result.get(); });
  SmallVector<Value> inits;
  for (Type result : probeResultTypes(builder, inputs, *this, fn))
    inits.push_back(tensor::EmptyOp::create(builder, *shape, result));
  return generic(inputs, inits, builder.getMultiDimIdentityMap(shape->size()),
                 fn, std::nullopt);
}

Value RowBuilder::map(ArrayRef<RowInput> inputs, MapFn fn) {
  return maps(inputs,
              [&](Elements elements) -> SmallVector<Scalar> {
                return {fn(elements)};
              })
      .front();
}

SmallVector<Value> RowBuilder::reduce(ArrayRef<RowInput> inputs, unsigned count,
                                      MultiFn fn, Reduction reduction) {
  double neutral = reduction == Reduction::Sum
                       ? 0.0
                       : -std::numeric_limits<double>::infinity();
  SmallVector<Value> inits;
  for (unsigned i = 0; i < count; ++i)
    inits.push_back(filled({}, neutral));
  AffineMap toScalar = AffineMap::get(getIterationShape(inputs)->size(), 0,
                                      builder.getContext());
  SmallVector<Value> results = generic(inputs, inits, toScalar, fn, reduction);
  for (Value &result : results)
    result = tensor::ExtractOp::create(builder, result, ValueRange());
  return results;
}

SmallVector<Scalar> RowBuilder::sums(ArrayRef<RowInput> inputs, MultiFn fn) {
  if (!getIterationShape(inputs))
    return fn(elements(inputs, {}));
  unsigned count = probeResultTypes(builder, inputs, *this, fn).size();
  return llvm::map_to_vector(
      reduce(inputs, count, fn, Reduction::Sum),
      [&](Value value) { return Scalar(builder, value); });
}

Scalar RowBuilder::sum(ArrayRef<RowInput> inputs, MapFn fn) {
  return sums(inputs,
              [&](Elements elements) -> SmallVector<Scalar> {
                return {fn(elements)};
              })
      .front();
}

Scalar RowBuilder::maximum(Value row) {
  if (!isTensor(row))
    return scalar(row);
  auto identity = [](Elements elements) -> SmallVector<Scalar> {
    return {elements[0]};
  };
  return {builder, reduce({row}, 1, identity, Reduction::Max).front()};
}

Value RowBuilder::filled(ArrayRef<int64_t> shape, double number) {
  Value empty = tensor::EmptyOp::create(builder, shape, type);
  return linalg::FillOp::create(builder, constant(number).get(), empty)
      .getResult(0);
}

Value RowBuilder::groupSum(ArrayRef<RowInput> inputs, MapFn fn) {
  AffineMap toGroup =
      AffineMap::get(2, 0, {builder.getAffineDimExpr(0)}, builder.getContext());
  auto one = [&](Elements elements) -> SmallVector<Scalar> {
    return {fn(elements)};
  };
  Value init = filled({getIterationShape(inputs)->front()}, 0);
  return generic(inputs, init, toGroup, one, Reduction::Sum).front();
}

Value RowBuilder::sumOverGroups(ArrayRef<RowInput> inputs, MapFn fn) {
  AffineMap toColumn =
      AffineMap::get(2, 0, {builder.getAffineDimExpr(1)}, builder.getContext());
  auto one = [&](Elements elements) -> SmallVector<Scalar> {
    return {fn(elements)};
  };
  Value init = filled({getIterationShape(inputs)->back()}, 0);
  return generic(inputs, init, toColumn, one, Reduction::Sum).front();
}

Value RowBuilder::prefix(Value row, int64_t width) {
  auto from = cast<RankedTensorType>(row.getType());
  if (from.getDimSize(0) == width)
    return row;
  OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1);
  return tensor::ExtractSliceOp::create(
      builder, RankedTensorType::get({width}, from.getElementType()), row,
      ArrayRef<OpFoldResult>(zero),
      ArrayRef<OpFoldResult>(builder.getIndexAttr(width)),
      ArrayRef<OpFoldResult>(one));
}

Value RowBuilder::tableRow(Value table, Value index) {
  auto from = cast<RankedTensorType>(table.getType());
  OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1);
  OpFoldResult width = builder.getIndexAttr(from.getDimSize(1));
  auto row = RankedTensorType::get({from.getDimSize(1)}, from.getElementType());
  return tensor::ExtractSliceOp::create(
      builder, row, table, ArrayRef<OpFoldResult>{index, zero},
      ArrayRef<OpFoldResult>{one, width}, ArrayRef<OpFoldResult>{one, one});
}

Value RowBuilder::reshape(Value tensor, ArrayRef<int64_t> shape) {
  auto from = cast<RankedTensorType>(tensor.getType());
  if (from.getShape() == shape)
    return tensor;
  auto to = RankedTensorType::get(shape, from.getElementType());
  auto reassociation = getReassociationIndicesForReshape(from, to);
  if (from.getRank() > to.getRank())
    return tensor::CollapseShapeOp::create(builder, to, tensor, *reassociation);
  return tensor::ExpandShapeOp::create(builder, to, tensor, *reassociation);
}
