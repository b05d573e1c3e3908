// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A compiled program as its Python objects share it.
#ifndef NAG_PYTHON_STATE_H
#define NAG_PYTHON_STATE_H

#include "Errors.h"

#include "nag/Driver/Model.h"
#include "nag/Runtime/Program.h"
#include <atomic>
#include <memory>
#include <mutex>

namespace nag::python {

/// Arrays, weights and calls keep it alive; close() ends its use.
struct ProgramState {
  ProgramState(std::unique_ptr<runtime::Program> compiled,
               std::vector<driver::IndexRange> ranges)
      : program(std::move(compiled)), indexRanges(std::move(ranges)) {}

  /// Raises ClosedError after close().
  runtime::Program &get() const {
    if (closed)
      raise(ErrorKind::Closed, "the program is closed");
    return *program;
  }

  std::unique_ptr<runtime::Program> program;
  std::vector<driver::IndexRange> indexRanges;
  std::atomic<bool> closed = false;
  /// Calls share a workspace: one at a time.
  std::mutex mutex;
};

} // namespace nag::python

#endif // NAG_PYTHON_STATE_H
