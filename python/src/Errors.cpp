// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Errors.h"

#include "nag/Driver/Diagnostics.h"

namespace nb = nanobind;
using namespace nag::python;

static const char *getClassName(ErrorKind kind) {
  switch (kind) {
  case ErrorKind::Plain:
    return "Error";
  case ErrorKind::Argument:
    return "ArgumentError";
  case ErrorKind::Config:
    return "ConfigError";
  case ErrorKind::Checkpoint:
    return "CheckpointError";
  case ErrorKind::Closed:
    return "ClosedError";
  }
  llvm_unreachable("all kinds are covered");
}

static nb::object getClass(const char *name) {
  return nb::module_::import_("nag._errors").attr(name);
}

[[noreturn]] static void raiseObject(const nb::object &exception) {
  PyErr_SetObject(reinterpret_cast<PyObject *>(Py_TYPE(exception.ptr())),
                  exception.ptr());
  throw nb::python_error();
}

static nb::str toStr(llvm::StringRef text) {
  return nb::steal<nb::str>(
      PyUnicode_DecodeUTF8(text.data(), text.size(), "replace"));
}

static nb::list convert(llvm::ArrayRef<nag::driver::Diagnostic> diagnostics) {
  nb::object make = getClass("Diagnostic");
  nb::list list;
  for (const nag::driver::Diagnostic &diagnostic : diagnostics)
    list.append(make(toStr(diagnostic.severity), toStr(diagnostic.file),
                     diagnostic.line, diagnostic.column,
                     toStr(diagnostic.message)));
  return list;
}

void nag::python::raise(ErrorKind kind, const llvm::Twine &message) {
  raiseObject(getClass(getClassName(kind))(toStr(message.str())));
}

void nag::python::raise(llvm::Error error, ErrorKind kind) {
  nb::object exception;
  llvm::handleAllErrors(
      std::move(error),
      [&](const driver::CompileError &failed) {
        exception = getClass("CompileError")(toStr(failed.message()),
                                             convert(failed.getDiagnostics()));
      },
      [&](const llvm::ErrorInfoBase &other) {
        exception = getClass(getClassName(kind))(toStr(other.message()));
      });
  raiseObject(exception);
}
