// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Checkpoints: a folder of files step-00000500.safetensors, one per kept step.
// A file holds the weights under their state-dict names (docs/mathematics.md
// section 7), the optimizer's moments under "m:" and "v:" + name, and in its
// metadata the model's configuration and where the run stands. It appears whole
// or not at all (AtomicFile).
#ifndef NAG_RUNTIME_CHECKPOINT_H
#define NAG_RUNTIME_CHECKPOINT_H

#include "nag/Runtime/Parameters.h"
#include "nag/Runtime/Safetensors.h"
#include <optional>
#include <string>
#include <vector>

namespace nag::runtime {

/// Where a run stands. With the weights and moments it decides every later bit.
struct TrainingState {
  /// Steps done.
  int64_t step = 0;
  /// Key of all random numbers; they are functions of it and of positions.
  uint64_t seed = 0;
  /// Samples drawn (TrainingBatches).
  int64_t dataPosition = 0;
  /// Dataset::fingerprint().
  uint64_t dataFingerprint = 0;
  /// FLOPs executed, where the program's costs are known. Decides nothing.
  double executedFlops = 0;
};

/// What stands before a parameter's name in the names of its moments.
inline constexpr llvm::StringRef momentPrefixes[] = {"m:", "v:"};

/// A folder of checkpoints.
class CheckpointFolder {
public:
  /// Creates the folder if need be and removes what interrupted writes left.
  /// `keep` is the number of newest checkpoints that save() leaves; 0: all.
  static llvm::Expected<CheckpointFolder> open(llvm::StringRef path,
                                               int64_t keep);

  /// The steps that have a checkpoint, in ascending order.
  llvm::Expected<std::vector<int64_t>> listSteps() const;
  /// The newest checkpoint's path; nothing in an empty folder.
  llvm::Expected<std::optional<std::string>> findLatest() const;
  std::string getPath(int64_t step) const;

  /// Writes step-<state.step> and then removes the oldest surplus ones.
  llvm::Error save(const TrainingState &state, const llvm::json::Object &config,
                   llvm::ArrayRef<SafetensorsSource> tensors) const;

private:
  std::string folder;
  int64_t keep = 0;
};

/// The file of a checkpoint argument: a file itself, or the newest checkpoint
/// of a folder.
llvm::Expected<std::string> resolveCheckpoint(llvm::StringRef path);

/// Reads what save() wrote; fails, naming file and field, on files that are no
/// training checkpoints.
llvm::Expected<TrainingState> readTrainingState(const SafetensorsFile &file);

/// Fails, naming file and field, where a field of the saved configuration
/// differs from `config`. A file without configuration passes when
/// `requireConfig` is false; fields in `ignored` and fields that only one side
/// has are not compared then.
llvm::Error checkConfig(const SafetensorsFile &file,
                        const llvm::json::Object &config, bool requireConfig,
                        llvm::ArrayRef<llvm::StringRef> ignored = {});

/// A program's weights from a checkpoint or any safetensors file with the
/// parameters' names; `checkpoint` as in resolveCheckpoint. Sizes of batches,
/// optimizer settings and initial values may differ from the saved
/// configuration.
llvm::Expected<ParameterBuffers> loadWeights(Program &program,
                                             llvm::StringRef checkpoint);

} // namespace nag::runtime

#endif // NAG_RUNTIME_CHECKPOINT_H
