// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Verifiers of programs: kernels, repeated functions, launches, and the
// attributes of arguments and modules.
#include "Verify.h"

#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Interfaces/FunctionInterfaces.h"

using namespace mlir;
using namespace nag;
using namespace nag::verifier;

LogicalResult KernelOp::verifyRegions() {
  Block &block = getBody().front();
  if (failed(expectTrue(
          *this, "C1", block.getArgumentTypes() == getInputs().getTypes(),
          "body arguments of the operands' types", "a different list")))
    return failure();
  return expectTrue(
      *this, "C2",
      block.getTerminator()->getOperandTypes() == getOutputs().getTypes(),
      "to yield values of the results' types", "a different list");
}

/// Compares a function's arguments or results with what a call needs.
static LogicalResult expectSignature(Operation *op, StringRef label,
                                     StringRef what, ArrayRef<Type> expected,
                                     ArrayRef<Type> actual) {
  if (failed(expectTrue(op, label, expected.size() == actual.size(),
                        "a callee with " + Twine(expected.size()) + " " + what,
                        Twine(actual.size()))))
    return failure();
  for (auto [index, types] : llvm::enumerate(llvm::zip(expected, actual)))
    if (std::get<0>(types) != std::get<1>(types))
      return op->emitOpError()
             << "(" << label << ") expected " << std::get<0>(types)
             << " as number " << index << " of the callee's " << what
             << ", but got " << std::get<1>(types);
  return success();
}

static FunctionOpInterface lookupFunction(Operation *op,
                                          SymbolTableCollection &symbols,
                                          SymbolRefAttr name) {
  auto function =
      symbols.lookupNearestSymbolFrom<FunctionOpInterface>(op, name);
  if (!function)
    op->emitOpError() << "(C1) expected the name of a function, but got "
                      << name;
  return function;
}

/// The type of one slice of a stack.
static Type sliceType(Type stacked) {
  auto type = cast<RankedTensorType>(stacked);
  return RankedTensorType::get(type.getShape().drop_front(),
                               type.getElementType());
}

static LogicalResult verifyStack(RepeatOp op, StringRef name, TypeRange types,
                                 int64_t least, int64_t most) {
  for (Type type : types) {
    auto shape = cast<RankedTensorType>(type).getShape();
    bool fits =
        !shape.empty() && shape.front() >= least && shape.front() <= most;
    if (!fits)
      return op.emitOpError() << "(C4) expected " << name << " with "
                              << (least == most ? "" : "at least ") << least
                              << " slices, but got " << type;
  }
  return success();
}

LogicalResult RepeatOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FunctionOpInterface callee = lookupFunction(*this, symbols, getCalleeAttr());
  if (!callee)
    return failure();
  int64_t count = getCount(), first = getFirst();
  if (failed(expectTrue(*this, "C5", count > 0 && first >= 0,
                        "a positive count and 'first' of 0 or more",
                        Twine(count) + " and " + Twine(first))) ||
      failed(verifyStack(*this, "a stacked operand", getStacked().getTypes(),
                         first + count, std::numeric_limits<int64_t>::max())) ||
      failed(verifyStack(*this, "a stacked result",
                         getStackedResults().getTypes(), count, count)))
    return failure();
  SmallVector<Type> arguments(getCarry().getTypes());
  llvm::append_range(arguments,
                     llvm::map_range(getStacked().getTypes(), sliceType));
  llvm::append_range(arguments, getShared().getTypes());
  if (failed(expectSignature(*this, "C2", "arguments", arguments,
                             callee.getArgumentTypes())))
    return failure();
  SmallVector<Type> results(getCarryResults().getTypes());
  llvm::append_range(
      results, llvm::map_range(getStackedResults().getTypes(), sliceType));
  if (failed(expectSignature(*this, "C3", "results", results,
                             callee.getResultTypes())))
    return failure();
  return expectTrue(*this, "C3",
                    getCarry().getTypes() == getCarryResults().getTypes(),
                    "carry results of the carry's types", "a different list");
}

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FunctionOpInterface kernel = lookupFunction(*this, symbols, getKernelAttr());
  if (!kernel)
    return failure();
  // Once lowered, the kernel takes pointers and no longer tells its shapes.
  bool onTensors = llvm::all_of(kernel.getArgumentTypes(), [](Type type) {
    return isa<RankedTensorType>(type);
  });
  if (!onTensors)
    return success();
  SmallVector<Type> arguments(getInputs().getTypes());
  llvm::append_range(arguments, getOutputs().getTypes());
  if (failed(expectSignature(*this, "C2", "arguments", arguments,
                             kernel.getArgumentTypes())))
    return failure();
  return expectSignature(*this, "C2", "results",
                         llvm::to_vector(getOutputs().getTypes()),
                         kernel.getResultTypes());
}

//===----------------------------------------------------------------------===//
// Discardable attributes
//===----------------------------------------------------------------------===//

/// A parameter must be a float tensor; a stack needs a leading dimension.
static LogicalResult verifyParam(Operation *op, unsigned index,
                                 Attribute attribute, Type type) {
  auto param = dyn_cast<ParamAttr>(attribute);
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!param)
    return op->emitError() << "expected #nag.param on argument " << index
                           << ", but got " << attribute;
  if (!tensor || !isa<FloatType>(tensor.getElementType()))
    return op->emitError() << "expected parameter '" << param.getName()
                           << "' of a float tensor type, but got " << type;
  if (param.isStacked() && tensor.getRank() == 0)
    return op->emitError()
           << "expected a leading layer dimension of parameter '"
           << param.getName() << "', but got " << type;
  if (param.getInit().getKind() == InitKind::Power && !param.isStacked())
    return op->emitError() << "expected a stack for the 'power' initialisation "
                              "of parameter '"
                           << param.getName() << "', but got " << type;
  return success();
}

LogicalResult NagDialect::verifyRegionArgAttribute(Operation *op, unsigned,
                                                   unsigned index,
                                                   NamedAttribute attribute) {
  auto function = dyn_cast<FunctionOpInterface>(op);
  if (!function || attribute.getName() != kParamAttrName)
    return success();
  return verifyParam(op, index, attribute.getValue(),
                     function.getArgumentTypes()[index]);
}

static LogicalResult verifyOptimizerGroups(Operation *op, Attribute value) {
  auto groups = dyn_cast<DictionaryAttr>(value);
  if (!groups)
    return op->emitError() << "expected a dictionary in '" << kGroupsAttrName
                           << "', but got " << value;
  for (NamedAttribute group : groups)
    if (!isa<GroupAttr>(group.getValue()))
      return op->emitError()
             << "expected #nag.group for optimizer group '"
             << group.getName().getValue() << "', but got " << group.getValue();
  return success();
}

LogicalResult NagDialect::verifyOperationAttribute(Operation *op,
                                                   NamedAttribute attribute) {
  if (attribute.getName() == kGroupsAttrName)
    return verifyOptimizerGroups(op, attribute.getValue());
  if (attribute.getName() == kConfigAttrName &&
      !isa<DictionaryAttr>(attribute.getValue()))
    return op->emitError() << "expected a dictionary in '" << kConfigAttrName
                           << "', but got " << attribute.getValue();
  return success();
}
