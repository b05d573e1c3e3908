// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The targets that programs are compiled for. nagc and the Python package know
// nothing else of them: a new target is one entry of the table in Target.cpp.
#ifndef NAG_DRIVER_TARGET_H
#define NAG_DRIVER_TARGET_H

#include "nag/Pipelines/Pipelines.h"
#include "nag/Runtime/Program.h"

#include "mlir/IR/BuiltinOps.h"
#include <memory>
#include <optional>

namespace nag::driver {

/// Where and how a program runs, by the names that users give.
struct TargetOptions {
  /// An entry of listTargets().
  std::string target = "cpu";
  /// Device of the target; empty: its first one. The cpu has none to choose.
  std::string device;
  /// Chip to generate code for; empty: that of the device.
  std::string chip;
  /// Precision of contractions.
  std::string precision = "f32";
  /// Folder where the target keeps kernels for the next time; empty: nowhere.
  /// Unless it is given, the user's ($XDG_CACHE_HOME/nag) where that can be
  /// written to.
  std::optional<std::string> kernelCache;
  /// Threads of the host program; 0: one per processor.
  int64_t threads = 0;
  /// JSON file of schedules that override those chosen for the chip
  /// (-nag-assign-schedules); empty: none.
  std::string schedule;
  /// Joins products and the ops around them into kernels.
  bool fuse = true;

  /// Fails, naming the option, on values that the target does not have:
  /// "target: expected cpu, but got 'x'".
  llvm::Error check() const;
};

/// The names of all targets, comma-separated.
std::string listTargets();

/// How a module becomes a program.
struct ProgramOptions {
  TargetOptions target;
  /// Function to differentiate; empty: none. @loss gets @gradients, @apply,
  /// @accumulate and @constrain, any other @f a @f.gradients.
  std::string differentiate;
  /// Weights that are rounded to bf16 keep a copy from step to step, which
  /// @apply and @round write (-nag-keep-roundings).
  bool keepRoundings = false;
  RecomputeMode recompute = RecomputeMode::Cheap;
};

/// Compiles `module`, which it changes, for the chosen target. Diagnostics go
/// to the context's handler. The options must pass check().
llvm::Expected<std::unique_ptr<runtime::Program>>
createProgram(mlir::ModuleOp module, const ProgramOptions &options);

/// Registers every dialect and translation that modules and targets use.
void registerDialects(mlir::DialectRegistry &registry);

} // namespace nag::driver

#endif // NAG_DRIVER_TARGET_H
