// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Commands.h"

#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/Transforms/DifferentiableModels.h"

#include "mlir/IR/Verifier.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;
using namespace llvm;

char nag::tool::UsageError::ID;

/// "file:line:column: " of a location that has a file, else "".
static std::string describe(Location location) {
  std::string text;
  raw_string_ostream os(text);
  location->walk([&](Location nested) {
    auto file = dyn_cast<FileLineColLoc>(nested);
    if (!file)
      return WalkResult::advance();
    os << file.getFilename().strref() << ':' << file.getLine() << ':'
       << file.getColumn() << ": ";
    return WalkResult::interrupt();
  });
  return text;
}

nag::tool::DiagnosticCollector::DiagnosticCollector(MLIRContext &context)
    : handler(&context, [this](Diagnostic &diagnostic) {
        if (diagnostic.getSeverity() == DiagnosticSeverity::Error &&
            first.empty())
          first = describe(diagnostic.getLocation()) + diagnostic.str();
        return success();
      }) {}

Error nag::tool::DiagnosticCollector::takeError(const Twine &fallback) {
  std::string message = first.empty() ? fallback.str() : first;
  std::replace(message.begin(), message.end(), '\n', ' ');
  return createStringError(message);
}

void nag::tool::registerDialects(DialectRegistry &registry) {
  registerAllDialects(registry);
  registerAllExtensions(registry);
  registry.insert<NagDialect>();
  registerDifferentiableExternalModels(registry);
}

Expected<OwningOpRef<ModuleOp>> nag::tool::readModule(StringRef path,
                                                      MLIRContext &context) {
  auto buffer = MemoryBuffer::getFileOrSTDIN(path, /*IsText=*/true);
  if (!buffer)
    return createStringError(path + ": " + buffer.getError().message());
  DiagnosticCollector diagnostics(context);
  SourceMgr sources;
  sources.AddNewSourceBuffer(std::move(*buffer), SMLoc());
  auto module = parseSourceFile<ModuleOp>(sources, &context);
  if (!module)
    return diagnostics.takeError(path + ": expected a module");
  return module;
}

Error nag::tool::writeFile(StringRef path,
                           llvm::function_ref<void(raw_ostream &)> write) {
  Error error = writeToOutput(path, [&](raw_ostream &os) {
    write(os);
    return Error::success();
  });
  if (!error)
    return Error::success();
  return createStringError(path + ": " + toString(std::move(error)));
}
