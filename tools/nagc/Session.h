// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What train, eval and generate share: the options that say how a model runs,
// and the compiled model.
#ifndef NAG_TOOLS_NAGC_SESSION_H
#define NAG_TOOLS_NAGC_SESSION_H

#include "Commands.h"

#include "nag/Runtime/Dataset.h"
#include "nag/Runtime/Program.h"
#include <memory>

namespace nag::tool {

/// Which of a model's functions a command calls. The others are not compiled.
enum class Purpose { Train, Evaluate, Generate };

/// Options of every command that runs a model.
class SessionOptions {
public:
  explicit SessionOptions(llvm::cl::SubCommand &command);

  /// Reads the model and compiles it for the chosen target.
  llvm::Expected<std::unique_ptr<runtime::Program>>
  compile(Purpose purpose) const;
  llvm::StringRef getModelPath() const { return input; }

private:
  llvm::Error check() const;

  llvm::cl::opt<std::string> input;
  llvm::cl::opt<int> threads;
  llvm::cl::opt<std::string> target;
  llvm::cl::opt<std::string> device;
  llvm::cl::opt<std::string> precision;
};

/// Options of every command that reads text or tokens.
class DataOptions {
public:
  explicit DataOptions(llvm::cl::SubCommand &command);

  /// Opens the files; tokens must fit the program's vocabulary.
  llvm::Expected<runtime::Dataset> open(const runtime::Program &program) const;

private:
  llvm::cl::list<std::string> first;
  llvm::cl::list<std::string> more;
  llvm::cl::opt<double> validationFraction;
  llvm::cl::opt<double> bytesPerToken;
};

} // namespace nag::tool

#endif // NAG_TOOLS_NAGC_SESSION_H
