// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Continuing a prompt.
#ifndef NAG_RUNTIME_GENERATOR_H
#define NAG_RUNTIME_GENERATOR_H

#include "nag/Runtime/Binding.h"
#include "nag/Runtime/Random.h"
#include <functional>

namespace nag::runtime {

struct SamplerOptions {
  /// Divides the logits; 0 takes the largest (the first of equals).
  double temperature = 1;
  /// Only the topK largest logits may be drawn (of equals the first); 0: all.
  int64_t topK = 0;
  /// Only the likeliest tokens whose probabilities add up to topP may be drawn,
  /// after temperature and topK; at least one. In (0, 1]; 1: all.
  double topP = 1;
  uint64_t seed = 0;

  /// Fails on values out of range, naming the option.
  llvm::Error check() const;
};

/// Draws tokens. Token n of a sequence uses number n of the RandomStream
/// (seed, "sample"): equal seeds and logits give equal tokens.
class Sampler {
public:
  explicit Sampler(const SamplerOptions &chosen)
      : options(chosen), random(chosen.seed, "sample") {}

  /// The token drawn at position `index`. `logits` holds at least one value;
  /// ones that are not finite are never drawn. Fails where there are no others.
  llvm::Expected<int32_t> sample(llvm::ArrayRef<double> logits,
                                 int64_t index) const;

private:
  SamplerOptions options;
  RandomStream random;
};

/// Generates token by token with "logits", which it calls on the last T tokens
/// of prompt and continuation (T: the program's sequence length). Works on the
/// first sequence of the batch: a program with batch 1 wastes nothing.
class Generator {
public:
  /// `weights` must outlive it.
  static llvm::Expected<std::unique_ptr<Generator>>
  create(Program &program, const ParameterBuffers &weights);

  /// Appends up to `count` tokens; each goes to `emit` first, which returns
  /// false to stop. Fails on an empty prompt and on tokens that are not below
  /// the vocabulary, naming the position.
  llvm::Error generate(llvm::ArrayRef<int32_t> prompt, int64_t count,
                       const SamplerOptions &options,
                       const std::function<bool(int32_t)> &emit);

  /// Reads the thresholds of a routed program from a checkpoint. Fails on the
  /// policy capacity, which looks ahead.
  llvm::Error setUpRouting(Program &program, llvm::StringRef checkpoint);

  int64_t getVocabulary() const { return vocabulary; }

private:
  explicit Generator(Program &program) : buffers(program) {}

  llvm::Error checkPrompt(llvm::ArrayRef<int32_t> prompt) const;
  llvm::Error computeLogits(llvm::ArrayRef<int32_t> history);
  llvm::Error findVocabulary(const Program &program);

  NamedBuffers buffers;
  BoundFunction logitsCall;
  BatchShape shape;
  /// Tokens that may be drawn; padding lies behind them.
  int64_t vocabulary = 0;
  std::vector<double> logits;
};

} // namespace nag::runtime

#endif // NAG_RUNTIME_GENERATOR_H
