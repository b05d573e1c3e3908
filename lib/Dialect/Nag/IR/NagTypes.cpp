// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// !nag.stream and the attributes: assembly, verification, accessors.
#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"

using namespace mlir;
using namespace nag;

AsmPrinter &nag::operator<<(AsmPrinter &printer, const Real &real) {
  printer.printFloat(APFloat(real.value));
  return printer;
}

Type StreamType::parse(AsmParser &parser) {
  SmallVector<int64_t> shape;
  Type elementType;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() ||
      parser.parseDimensionList(shape, /*allowDynamic=*/false) ||
      parser.parseType(elementType) || parser.parseGreater())
    return {};
  return getChecked([&] { return parser.emitError(loc); }, parser.getContext(),
                    ArrayRef<int64_t>(shape), elementType);
}

void StreamType::print(AsmPrinter &printer) const {
  printer << '<';
  for (int64_t size : getShape())
    printer << size << 'x';
  printer << getElementType() << '>';
}

LogicalResult StreamType::verify(function_ref<InFlightDiagnostic()> emitError,
                                 ArrayRef<int64_t> shape, Type elementType) {
  if (shape.size() < 2)
    return emitError() << "expected a stream of rank 2 or more, but got rank "
                       << shape.size();
  for (int64_t size : shape)
    if (size <= 0)
      return emitError() << "expected positive sizes in a stream, but got "
                         << size;
  if (!isa<Float32Type, Float64Type, BFloat16Type>(elementType))
    return emitError()
           << "expected element type f32, f64 or bf16 of a stream, but got "
           << elementType;
  return success();
}

RankedTensorType StreamType::getDirectionType() const {
  return RankedTensorType::get(getShape(), getElementType());
}

RankedTensorType StreamType::getLogNormType() const {
  return RankedTensorType::get(getShape().drop_back(),
                               getComputeType(getElementType()));
}

int64_t StreamType::getNumRows() const {
  return ShapedType::getNumElements(getShape().drop_back());
}

/// Number of values an initialisation of this kind takes.
static unsigned numInitValues(InitKind kind) {
  switch (kind) {
  case InitKind::Zeros:
    return 0;
  case InitKind::Power:
    return 3;
  default:
    return 1;
  }
}

Attribute InitAttr::parse(AsmParser &parser, Type) {
  std::string keyword;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseKeywordOrString(&keyword))
    return {};
  std::optional<InitKind> kind = symbolizeInitKind(keyword);
  if (!kind) {
    parser.emitError(loc)
        << "expected zeros, constant, normal, uniform or power, but got "
        << keyword;
    return {};
  }
  SmallVector<Real> values;
  while (succeeded(parser.parseOptionalComma()))
    if (parser.parseFloat(values.emplace_back().value))
      return {};
  if (parser.parseGreater())
    return {};
  return getChecked([&] { return parser.emitError(loc); }, parser.getContext(),
                    *kind, ArrayRef<Real>(values));
}

void InitAttr::print(AsmPrinter &printer) const {
  printer << '<' << stringifyInitKind(getKind());
  for (Real value : getValues())
    printer << ", " << value;
  printer << '>';
}

LogicalResult InitAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                               InitKind kind, ArrayRef<Real> values) {
  if (values.size() != numInitValues(kind))
    return emitError() << "expected " << numInitValues(kind)
                       << " values of an initialisation '"
                       << stringifyInitKind(kind) << "', but got "
                       << values.size();
  bool isSpread = kind == InitKind::Normal || kind == InitKind::Uniform;
  if (isSpread && !(values.front() >= 0))
    return emitError() << "expected a standard deviation of 0 or more, but got "
                       << values.front();
  return success();
}

LogicalResult GroupAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                Real lrScale, Real weightDecay, Real beta1,
                                Real beta2, Real eps) {
  if (!(lrScale >= 0))
    return emitError() << "expected lr_scale of 0 or more, but got "
                       << lrScale.value;
  if (!(weightDecay >= 0))
    return emitError() << "expected weight_decay of 0 or more, but got "
                       << weightDecay;
  for (auto [field, beta] :
       {std::pair("beta1", beta1), std::pair("beta2", beta2)})
    if (!(beta >= 0 && beta < 1))
      return emitError() << "expected " << field << " in [0, 1), but got "
                         << beta.value;
  if (!(eps > 0))
    return emitError() << "expected a positive eps, but got " << eps.value;
  return success();
}
