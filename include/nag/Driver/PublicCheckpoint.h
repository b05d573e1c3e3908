// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Checkpoints in the public layout (docs/mathematics.md section 7): state-dict
// names of nag-nanochat, matrices (out, in), configuration beside them in JSON.
#ifndef NAG_DRIVER_PUBLICCHECKPOINT_H
#define NAG_DRIVER_PUBLICCHECKPOINT_H

#include "nag/Model/Config.h"
#include "nag/Runtime/Program.h"
#include "nag/Runtime/Safetensors.h"

namespace nag::driver {

/// Where public weights come from and how they become ours.
struct ImportOptions {
  /// A safetensors file; names may begin with "_orig_mod.".
  std::string weights;
  /// A JSON file with the keys of a model, or those of nag-nanochat (n_layer,
  /// n_head, n_kv_head, n_embd, sequence_len, vocab_size, window_pattern),
  /// perhaps in an object "model_config". Empty: what shapes do not tell is
  /// taken from `settings`.
  std::string config;
  /// Keys that count over the file's: {"heads", "6"}.
  std::vector<std::pair<std::string, std::string>> settings;
};

/// The configuration of public weights: sizes from the tensors' shapes, the
/// rest from the options. Fails, naming file and tensor or key, where they
/// contradict each other or heads are not given.
llvm::Expected<model::ModelConfig>
readPublicConfig(const ImportOptions &options);

/// Writes the weights as safetensors of `config`'s types with our names and the
/// configuration in the metadata. Types are widened exactly; fails on tensors
/// that are missing, foreign, or of other shapes.
llvm::Error importWeights(const ImportOptions &options,
                          const model::ModelConfig &config,
                          llvm::StringRef output);

struct ExportOptions {
  /// A checkpoint or weights of ours.
  std::string checkpoint;
  /// Element type of the written weights; nothing: as they are. bf16 rounds to
  /// the nearest, ties to even.
  std::optional<runtime::DType> dtype;
};

/// Writes weights in the public layout, without optimizer state, and
/// `configOutput` (unless empty) in nag-nanochat's keys.
llvm::Error exportWeights(const ExportOptions &options, llvm::StringRef output,
                          llvm::StringRef configOutput);

} // namespace nag::driver

#endif // NAG_DRIVER_PUBLICCHECKPOINT_H
