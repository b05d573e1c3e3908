// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compiled programs and the buffers of their parameters in Python.
#ifndef NAG_PYTHON_PROGRAM_H
#define NAG_PYTHON_PROGRAM_H

#include "Arrays.h"

#include "nag/Runtime/Checkpoint.h"
#include "nag/Runtime/Parameters.h"
#include <optional>

namespace nag::python {

/// A program in Python.
struct Program {
  std::shared_ptr<ProgramState> state;
};

/// A function with all its arguments bound.
struct Call {
  std::shared_ptr<ProgramState> state;
  std::string function;
  std::vector<AnyArray> arrays;
  std::vector<void *> arguments;
  /// Arrays of what the function writes, by name.
  nanobind::dict results;

  /// Runs the function; with a stream, sends it there and does not wait.
  void run(std::optional<uintptr_t> stream) const;

private:
  /// Raises an ArgumentError on tokens and targets that no table has. What lies
  /// on a device is the caller's to check.
  void checkIndices() const;
};

/// Parameters, gradients or moments, one array each.
struct Weights {
  Weights(std::shared_ptr<ProgramState> program,
          runtime::ParameterBuffers created)
      : state(std::move(program)), buffers(std::move(created)) {}
  Weights(Weights &&) = default;
  Weights(const Weights &) = delete;

  std::shared_ptr<ProgramState> state;
  runtime::ParameterBuffers buffers;
};

/// Binds a function's arguments to arrays by name; results that have none get
/// new ones.
Call bindCall(const Program &program, const std::string &function,
              nanobind::dict arrays);

void bindProgram(nanobind::module_ &module);
void bindWeights(nanobind::module_ &module);
void bindModel(nanobind::module_ &module);
void bindTraining(nanobind::module_ &module);
void bindGeneration(nanobind::module_ &module);

/// JSON text of an object.
std::string toText(const llvm::json::Object &object);

} // namespace nag::python

#endif // NAG_PYTHON_PROGRAM_H
