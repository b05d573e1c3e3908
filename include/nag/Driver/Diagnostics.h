// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the compiler says about a module, as errors that carry it.
#ifndef NAG_DRIVER_DIAGNOSTICS_H
#define NAG_DRIVER_DIAGNOSTICS_H

#include "mlir/IR/Diagnostics.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace nag::driver {

/// One message of the compiler.
struct Diagnostic {
  /// "error", "warning", "remark" or "note".
  std::string severity;
  /// Where it points to; line and column count from 1 and are 0 when unknown.
  std::string file;
  int64_t line = 0, column = 0;
  std::string message;

  /// "file:line:column: message" in one line.
  std::string format() const;
};

/// A failed compilation. The message is one line: the first error.
class CompileError : public llvm::ErrorInfo<CompileError> {
public:
  static char ID;
  CompileError(std::string line, std::vector<Diagnostic> all)
      : text(std::move(line)), diagnostics(std::move(all)) {}
  void log(llvm::raw_ostream &os) const override { os << text; }
  std::error_code convertToErrorCode() const override {
    return llvm::inconvertibleErrorCode();
  }
  llvm::ArrayRef<Diagnostic> getDiagnostics() const { return diagnostics; }

private:
  std::string text;
  std::vector<Diagnostic> diagnostics;
};

/// Collects what MLIR reports on a context while it lives, notes included.
/// Warnings go to the standard error at once, a line each.
class DiagnosticCollector {
public:
  explicit DiagnosticCollector(mlir::MLIRContext &context);
  /// A CompileError whose message is the first error reported, or `fallback`
  /// when there was none.
  llvm::Error takeError(const llvm::Twine &fallback);

private:
  std::vector<Diagnostic> diagnostics;
  mlir::ScopedDiagnosticHandler handler;
};

} // namespace nag::driver

#endif // NAG_DRIVER_DIAGNOSTICS_H
