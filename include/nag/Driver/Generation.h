// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Models that generate with a cache of keys and values.
#ifndef NAG_DRIVER_GENERATION_H
#define NAG_DRIVER_GENERATION_H

#include "nag/Driver/Model.h"

namespace nag::driver {

/// Sizes of @prefill and @decode (-nag-build-generation).
struct GenerationOptions {
  int64_t batch = 1;
  /// Tokens that @prefill reads at most.
  int64_t prompt = 1;
  /// Positions of a sequence at most.
  int64_t capacity = 1;
  /// Room for keys and values where keys are those of executed tokens alone, as
  /// a share of what those of all tokens take; 0: what the rate of skips
  /// leaves.
  double budget = 0;
};

/// Tokens of a sequence that @logits reads; nothing without @logits.
std::optional<int64_t> getSequenceLength(Model &model);

/// Adds @prefill and @decode to the model. Fails with a CompileError, naming
/// the op, where the model has parts that have no counterpart in them.
llvm::Error addGeneration(Model &model, const GenerationOptions &options);

/// A model of its own with @prefill and @decode; `model` stays as it is.
llvm::Expected<std::unique_ptr<Model>>
copyForGeneration(const Model &model, const GenerationOptions &options);

} // namespace nag::driver

#endif // NAG_DRIVER_GENERATION_H
