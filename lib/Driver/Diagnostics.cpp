// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Driver/Diagnostics.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Location.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace nag::driver;

char CompileError::ID;

static StringRef getName(mlir::DiagnosticSeverity severity) {
  switch (severity) {
  case mlir::DiagnosticSeverity::Error:
    return "error";
  case mlir::DiagnosticSeverity::Warning:
    return "warning";
  case mlir::DiagnosticSeverity::Remark:
    return "remark";
  case mlir::DiagnosticSeverity::Note:
    return "note";
  }
  llvm_unreachable("all severities are covered");
}

static Diagnostic convert(const mlir::Diagnostic &from) {
  Diagnostic to;
  to.severity = getName(from.getSeverity());
  to.message = from.str();
  mlir::Location(from.getLocation())->walk([&](mlir::Location nested) {
    auto file = dyn_cast<mlir::FileLineColLoc>(nested);
    if (!file)
      return mlir::WalkResult::advance();
    to.file = file.getFilename().str();
    to.line = file.getLine();
    to.column = file.getColumn();
    return mlir::WalkResult::interrupt();
  });
  return to;
}

static std::string toOneLine(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

std::string Diagnostic::format() const {
  std::string place;
  if (!file.empty())
    place = formatv("{0}:{1}:{2}: ", file, line, column);
  return toOneLine(place + message);
}

DiagnosticCollector::DiagnosticCollector(mlir::MLIRContext &context)
    : handler(&context, [this](mlir::Diagnostic &diagnostic) {
        diagnostics.push_back(convert(diagnostic));
        if (diagnostic.getSeverity() == mlir::DiagnosticSeverity::Warning)
          errs() << "warning: " << diagnostics.back().format() << '\n';
        for (mlir::Diagnostic &note : diagnostic.getNotes())
          diagnostics.push_back(convert(note));
        return success();
      }) {}

Error DiagnosticCollector::takeError(const Twine &fallback) {
  auto first = find_if(diagnostics, [](const Diagnostic &diagnostic) {
    return diagnostic.severity == "error";
  });
  std::string message =
      first == diagnostics.end() ? toOneLine(fallback.str()) : first->format();
  return make_error<CompileError>(std::move(message), std::move(diagnostics));
}
