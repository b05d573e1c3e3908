// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Driver/OpTypes.h"

#include "nag/Driver/Diagnostics.h"
#include "nag/Driver/Target.h"

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/Block.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OperationSupport.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"

using namespace llvm;
using namespace nag::driver;

namespace {
/// One question to the dialects: the op's name and context.
class Inference {
public:
  Inference(mlir::MLIRContext &c, StringRef op)
      : context(c), location(mlir::UnknownLoc::get(&c)), name(op),
        diagnostics(c) {}

  Expected<std::vector<std::string>> run(ArrayRef<std::string> operands,
                                         StringRef attributes);

private:
  Error addOperands(ArrayRef<std::string> types);
  Expected<mlir::DictionaryAttr> parseAttributes(StringRef text);

  mlir::MLIRContext &context;
  mlir::Location location;
  StringRef name;
  DiagnosticCollector diagnostics;
  mlir::Block block;
};
} // namespace

Error Inference::addOperands(ArrayRef<std::string> types) {
  for (StringRef text : types) {
    mlir::Type type = mlir::parseType(text, &context);
    if (!type)
      return diagnostics.takeError("'" + text + "' is no type");
    block.addArgument(type, location);
  }
  return Error::success();
}

Expected<mlir::DictionaryAttr> Inference::parseAttributes(StringRef text) {
  if (text.empty())
    return mlir::DictionaryAttr::get(&context);
  auto attributes = dyn_cast_or_null<mlir::DictionaryAttr>(
      mlir::parseAttribute(text, &context));
  if (!attributes)
    return diagnostics.takeError(name + ": expected a dictionary of " +
                                 "attributes, but got '" + text + "'");
  return attributes;
}

Expected<std::vector<std::string>>
Inference::run(ArrayRef<std::string> operands, StringRef attributes) {
  context.getOrLoadDialect(name.split('.').first);
  auto info = mlir::RegisteredOperationName::lookup(name, &context);
  if (!info)
    return createStringError("expected an op of a known dialect, but got '" +
                             name + "'");
  auto *interface = info->getInterface<mlir::InferTypeOpInterface>();
  if (!interface)
    return createStringError(name + ": its result types do not follow from its "
                                    "operands: give them");
  if (Error error = addOperands(operands))
    return error;
  auto dictionary = parseAttributes(attributes);
  if (!dictionary)
    return dictionary.takeError();
  // An op without results holds the attributes in the form that the op's
  // inference expects.
  mlir::OperationState state(location, *info);
  state.addOperands(block.getArguments());
  state.addAttributes(dictionary->getValue());
  mlir::Operation *op = mlir::Operation::create(state);
  SmallVector<mlir::Type> types;
  auto result = interface->inferReturnTypes(
      &context, location, op->getOperands(), *dictionary,
      op->getPropertiesStorage(), op->getRegions(), types);
  op->destroy();
  if (failed(result))
    return diagnostics.takeError(name + ": the operands do not fit");
  std::vector<std::string> texts;
  for (mlir::Type type : types)
    raw_string_ostream(texts.emplace_back()) << type;
  return texts;
}

Expected<std::vector<std::string>>
nag::driver::inferResultTypes(StringRef op, ArrayRef<std::string> operands,
                              StringRef attributes) {
  mlir::DialectRegistry registry;
  registerDialects(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  return Inference(context, op).run(operands, attributes);
}
