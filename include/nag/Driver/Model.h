// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A module of nag ops from text, a file or a configuration, and its compiled
// programs.
#ifndef NAG_DRIVER_MODEL_H
#define NAG_DRIVER_MODEL_H

#include "nag/Driver/Target.h"
#include "nag/Model/Config.h"
#include "nag/Model/Cost.h"
#include "nag/Runtime/Routing.h"

#include "mlir/IR/OwningOpRef.h"
#include <mutex>
#include <optional>

namespace nag::driver {

/// Which functions of a model a program has, and what is derived from them.
struct CompileOptions : ProgramOptions {
  /// Public functions to keep; the others are not compiled. Empty: all.
  std::vector<std::string> functions;
};

/// The numbers that an argument of integers may hold: rows of a table, classes
/// of a loss, places of taken rows. Kernels that are given others read and
/// write memory that is not theirs.
struct IndexRange {
  /// The function, which its derivative's arguments follow; empty: any one.
  std::string function;
  std::string argument;
  /// Exclusive; the lowest is 0.
  int64_t limit = 0;
  /// A number that is not looked up.
  std::optional<int64_t> ignored;
};

/// Fails where a host array for an argument of `function` holds a number that
/// is none of these: "argument 'tokens': expected numbers in [0, 64), but got
/// 64".
llvm::Error checkIndices(llvm::ArrayRef<IndexRange> ranges,
                         llvm::StringRef function,
                         const runtime::TensorInfo &argument, const void *data);

/// A verified module in a context of its own. Several models live side by side;
/// one model may be used by several threads.
class Model {
public:
  /// Reads a file; "-" is the standard input. Errors are CompileErrors of one
  /// line: file, line, column, what is wrong.
  static llvm::Expected<std::unique_ptr<Model>> read(llvm::StringRef path);
  /// Reads MLIR text; `name` stands for its file in messages.
  static llvm::Expected<std::unique_ptr<Model>> parse(llvm::StringRef text,
                                                      llvm::StringRef name);
  /// Builds the model of a configuration (Model/Build.h).
  static llvm::Expected<std::unique_ptr<Model>>
  build(const model::ModelConfig &config);

  mlir::ModuleOp getModule() { return *module; }
  llvm::StringRef getName() const { return name; }
  /// MLIR text to be read by people; parse() gives the same model.
  std::string print() const;
  /// The configuration in `nag.config`; fails when there is none.
  llvm::Expected<model::ModelConfig> readConfig() const;
  /// Tokens of the vocabulary as `nag.config` has it; nothing where it does not
  /// say.
  std::optional<int64_t> getVocabulary() const;

  /// What arguments that are indices may hold, as the ops that read them say.
  /// A name (nag.name) says the same in every function, those that compile()
  /// derives among them, unless the module's own disagree.
  std::vector<IndexRange> getIndexRanges() const;

  /// True when compile() can derive @norms, the residual's norms by depth
  /// (-nag-build-norms), for those who ask for it among the functions.
  bool canDeriveNorms() const;
  /// Fails when one of these functions is missing and cannot be derived, naming
  /// the model.
  llvm::Error expectFunctions(llvm::ArrayRef<std::string> functions) const;
  /// Compiles a copy of the module; the model stays as it is.
  llvm::Expected<std::unique_ptr<runtime::Program>>
  compile(const CompileOptions &options) const;

  /// What a training step costs; fails where @loss cannot be differentiated.
  llvm::Expected<model::StepCost>
  measureStep(RecomputeMode recompute = RecomputeMode::Cheap) const;
  /// The same for the log of a training run; zeros where nobody can count.
  runtime::ExecutionCosts
  countExecution(RecomputeMode recompute = RecomputeMode::Cheap) const;

private:
  explicit Model(llvm::StringRef origin);
  llvm::Error parseBuffer(std::unique_ptr<llvm::MemoryBuffer> buffer);

  std::string name;
  mutable mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  /// Diagnostics belong to one compilation at a time.
  mutable std::mutex mutex;
};

/// For Routing::countFlops.
runtime::PassCosts convertCosts(const model::PassCost &passes);

/// Reads and verifies a module in a context of the caller's.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
readModule(llvm::StringRef path, mlir::MLIRContext &context);

} // namespace nag::driver

#endif // NAG_DRIVER_MODEL_H
