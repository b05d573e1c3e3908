// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Dialect/Nag/Transforms/HostSignature.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace nag;

std::string nag::getArgumentBufferName(func::FuncOp function, unsigned index) {
  if (auto param = function.getArgAttrOfType<ParamAttr>(index, kParamAttrName))
    return param.getName().str();
  if (auto name = function.getArgAttrOfType<StringAttr>(index, kNameAttrName))
    return name.str();
  return "arg" + std::to_string(index);
}

std::string nag::getResultBufferName(func::FuncOp function, unsigned index) {
  if (auto name =
          function.getResultAttrOfType<StringAttr>(index, kNameAttrName))
    return name.str();
  return "result" + std::to_string(index);
}

/// The argument of the same name as result `index`, where the function is an
/// entry point.
static std::optional<unsigned> findUpdatedArgument(func::FuncOp function,
                                                   unsigned index) {
  if (function.isPrivate() || !function.getResultAttr(index, kNameAttrName))
    return std::nullopt;
  std::string name = getResultBufferName(function, index);
  for (unsigned argument = 0; argument < function.getNumArguments(); ++argument)
    if (getArgumentBufferName(function, argument) == name)
      return argument;
  return std::nullopt;
}

bool nag::isInPlace(func::FuncOp function, unsigned index) {
  return findUpdatedArgument(function, index).has_value();
}

std::optional<unsigned> nag::findStackOf(func::FuncOp callee, unsigned carry,
                                         unsigned numCarry) {
  for (unsigned index = numCarry; index < callee.getNumResults(); ++index) {
    auto forwards =
        callee.getResultAttrOfType<IntegerAttr>(index, kForwardsAttrName);
    if (forwards && forwards.getInt() == carry)
      return index;
  }
  return std::nullopt;
}

bool nag::isCarried(PutOp put) {
  for (Operation *user : put->getUsers()) {
    auto store = dyn_cast<bufferization::MaterializeInDestinationOp>(user);
    if (!store || store.getSource() != put.getResult())
      continue;
    auto kernel = dyn_cast<func::FuncOp>(store->getParentOp());
    auto argument = dyn_cast<BlockArgument>(store.getDest());
    if (kernel && argument &&
        kernel.getArgAttr(argument.getArgNumber(), kCarriesAttrName))
      return true;
  }
  return false;
}

bool nag::isUpdated(func::FuncOp callee, unsigned index) {
  return callee.getResultAttr(index, kUpdatesAttrName) != nullptr;
}

SmallVector<unsigned> nag::getResultBuffers(func::FuncOp function) {
  SmallVector<unsigned> buffers;
  unsigned next = function.getNumArguments();
  for (unsigned index = 0; index < function.getNumResults(); ++index) {
    if (auto argument = findUpdatedArgument(function, index))
      buffers.push_back(*argument);
    else if (auto forwarded = function.getResultAttrOfType<IntegerAttr>(
                 index, kForwardsAttrName))
      buffers.push_back(forwarded.getInt());
    else if (isUpdated(function, index))
      buffers.push_back(index);
    else
      buffers.push_back(next++);
  }
  return buffers;
}

static LogicalResult verifyTensors(func::FuncOp function, TypeRange types,
                                   StringRef kind) {
  for (auto [index, type] : llvm::enumerate(types))
    if (auto tensor = dyn_cast<RankedTensorType>(type);
        !tensor || !tensor.hasStaticShape() || tensor.getNumElements() == 0)
      return function.emitOpError("expected a tensor of static shape, with "
                                  "elements, as ")
             << kind << " " << index << ", but got " << type;
  return success();
}

LogicalResult nag::verifyHostSignature(func::FuncOp function) {
  if (failed(
          verifyTensors(function, function.getArgumentTypes(), "argument")) ||
      failed(verifyTensors(function, function.getResultTypes(), "result")))
    return failure();
  if (function.isPrivate())
    return success();
  llvm::StringMap<Type> names;
  for (auto [index, type] : llvm::enumerate(function.getArgumentTypes()))
    if (!names.insert({getArgumentBufferName(function, index), type}).second)
      return function.emitOpError("expected one argument of the name '")
             << getArgumentBufferName(function, index) << "', but got two";
  llvm::StringMap<unsigned> results;
  for (auto [index, type] : llvm::enumerate(function.getResultTypes())) {
    std::string name = getResultBufferName(function, index);
    if (!results.insert({name, index}).second)
      return function.emitOpError("expected one result of the name '")
             << name << "', but got two";
    auto argument = names.find(name);
    if (argument != names.end() && argument->second != type)
      return function.emitOpError("expected result '")
             << name << "' of its argument's type " << argument->second
             << ", but got " << type;
  }
  return success();
}
