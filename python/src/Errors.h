// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// llvm::Error as the Python exceptions of nag._errors.
#ifndef NAG_PYTHON_ERRORS_H
#define NAG_PYTHON_ERRORS_H

#include <nanobind/nanobind.h>

#include "llvm/ADT/Twine.h"
#include "llvm/Support/Error.h"

namespace nag::python {

/// The classes of nag._errors.
enum class ErrorKind { Plain, Argument, Config, Checkpoint, Closed };

/// Raises an error: a CompileError with its diagnostics where it is one, else
/// the class of `kind`. Needs the GIL.
[[noreturn]] void raise(llvm::Error error, ErrorKind kind = ErrorKind::Plain);
[[noreturn]] void raise(ErrorKind kind, const llvm::Twine &message);

inline void check(llvm::Error error, ErrorKind kind = ErrorKind::Plain) {
  if (error)
    raise(std::move(error), kind);
}

template <typename T>
T take(llvm::Expected<T> value, ErrorKind kind = ErrorKind::Plain) {
  if (!value)
    raise(value.takeError(), kind);
  return std::move(*value);
}

} // namespace nag::python

#endif // NAG_PYTHON_ERRORS_H
