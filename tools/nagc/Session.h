// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What train, eval and generate share: the options that say how a model runs,
// and the compiled model.
#ifndef NAG_TOOLS_NAGC_SESSION_H
#define NAG_TOOLS_NAGC_SESSION_H

#include "Commands.h"

#include "nag/Runtime/Dataset.h"
#include <memory>
#include <optional>

namespace nag::tool {

/// Which of a model's functions a command calls. The others are not compiled.
enum class Purpose { Train, Evaluate, Generate };

/// A model that was read, and how it is to be compiled.
class Model {
public:
  /// Tokens of the vocabulary as `nag.config` has it; nothing where it does not
  /// say.
  std::optional<int64_t> getVocabulary() const {
    return model->getVocabulary();
  }
  driver::Model &getModel() { return *model; }
  /// Chooses other functions than those of the purpose.
  void setFunctions(std::vector<std::string> functions) {
    options.functions = std::move(functions);
  }
  llvm::Expected<std::unique_ptr<runtime::Program>> compile() const {
    return model->compile(options);
  }
  /// Compiles another model in the same way.
  llvm::Expected<std::unique_ptr<runtime::Program>>
  compile(const driver::Model &other) const {
    return other.compile(options);
  }
  const driver::Model &getModel() const { return *model; }

private:
  friend class SessionOptions;
  std::unique_ptr<driver::Model> model;
  driver::CompileOptions options;
};

/// Options of every command that runs a model.
class SessionOptions {
public:
  explicit SessionOptions(llvm::cl::SubCommand &command);

  /// Reads the model and sets up the chosen target.
  llvm::Expected<std::unique_ptr<Model>> open(Purpose purpose) const;
  /// Reads any module and compiles all its functions, and the derivative of
  /// `differentiated` unless that is empty. `ranges` become those of arguments
  /// that are indices.
  llvm::Expected<std::unique_ptr<runtime::Program>>
  compile(llvm::StringRef differentiated,
          std::vector<driver::IndexRange> &ranges) const;

private:
  llvm::Expected<driver::TargetOptions> getTarget() const;

  llvm::cl::opt<std::string> input;
  llvm::cl::opt<int> threads;
  llvm::cl::opt<std::string> target;
  llvm::cl::opt<std::string> device;
  llvm::cl::opt<std::string> chip;
  llvm::cl::opt<std::string> precision;
  llvm::cl::opt<std::string> schedule;
  llvm::cl::opt<bool> fuse;
  llvm::cl::opt<std::string> kernelCache;
};

/// Options of every command that reads text or tokens.
class DataOptions {
public:
  explicit DataOptions(llvm::cl::SubCommand &command);

  /// Opens the files; tokens must fit the program's vocabulary.
  llvm::Expected<runtime::Dataset> open(const Model &model) const;

private:
  llvm::cl::list<std::string> first;
  llvm::cl::list<std::string> more;
  NumberOption validationFraction;
  NumberOption bytesPerToken;
};

/// What commands read that look at a checkpoint on data.
struct Trial {
  std::unique_ptr<Model> model;
  runtime::Dataset dataset;
  /// The file: the newest of a folder's.
  std::string checkpoint;
};

llvm::Expected<Trial> openTrial(const SessionOptions &session,
                                const DataOptions &data,
                                llvm::StringRef checkpoint);

} // namespace nag::tool

#endif // NAG_TOOLS_NAGC_SESSION_H
