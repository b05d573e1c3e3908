// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One-line errors: lower case, no full stop, "expected X, but got Y".
#ifndef NAG_RUNTIME_ERRORS_H
#define NAG_RUNTIME_ERRORS_H

#include "llvm/Support/Error.h"
#include "llvm/Support/FormatVariadic.h"

namespace nag::runtime {

/// An error whose message is llvm::formatv(format, arguments...).
template <typename... Args>
llvm::Error makeError(const char *format, Args &&...arguments) {
  return llvm::createStringError(
      llvm::inconvertibleErrorCode(),
      llvm::formatv(format, std::forward<Args>(arguments)...).str());
}

/// Moves a result into place or hands on its error.
template <typename T> llvm::Error assign(T &target, llvm::Expected<T> value) {
  if (!value)
    return value.takeError();
  target = std::move(*value);
  return llvm::Error::success();
}

/// "<path>: <action>: <text of the errno value>".
llvm::Error makeSystemError(llvm::StringRef path, llvm::StringRef action,
                            int number);

/// The shortest of six significant digits: "0.001", "1.5", "1e-08", "nan".
std::string formatNumber(double value);

} // namespace nag::runtime

#endif // NAG_RUNTIME_ERRORS_H
