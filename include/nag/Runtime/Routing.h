// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Depth routing while a program runs (spec section 4): the rate of a step, the
// thresholds that follow the gates, and what was executed.
#ifndef NAG_RUNTIME_ROUTING_H
#define NAG_RUNTIME_ROUTING_H

#include "nag/Runtime/Binding.h"
#include "nag/Runtime/Safetensors.h"
#include <vector>

namespace nag::runtime {

/// The name of the thresholds in checkpoints, one per sub-layer.
inline constexpr llvm::StringRef thresholdsTensor = "mod.thresholds";

/// What the tokens of a batch skipped.
struct SkipReport {
  /// Per sub-layer, the share of tokens that skipped it.
  std::vector<double> share;
  /// Per sub-layer; empty where the program has no thresholds.
  std::vector<double> thresholds;
  /// The share that was asked for.
  double rate = 0;

  /// The share over all sub-layers.
  double mean() const;
};

/// A number that depends on what routed sub-layers skip: `fixed`, plus what all
/// routed attentions and all routed MLPs add when nothing is skipped.
struct ExecutedCount {
  double fixed = 0, attention = 0, mlp = 0;

  /// With the shares of tokens that skip each of the sub-layers, attentions and
  /// MLPs in turn; those that the program always executes skip nothing.
  double at(const SkipReport &skips, int64_t routedLayers) const;
  /// With one share for all routed sub-layers.
  double at(double share) const {
    return fixed + (attention + mlp) * (1 - share);
  }
};

/// What a program costs, counted from its IR; zeros where nobody counted.
struct ExecutionCosts {
  /// FLOPs of one batch's forward and backward passes; of the optimizer.
  ExecutedCount batchFlops;
  double optimizerFlops = 0;
  /// Trained numbers that a token meets in the forward pass; bytes of keys and
  /// values per token.
  ExecutedCount parametersPerToken, kvBytesPerToken;
};

/// What a step executed.
struct ExecutedReport {
  /// FLOPs of the step, and of all steps so far.
  double flops = 0, totalFlops = 0;
  double parametersPerToken = 0, kvBytesPerToken = 0;
};

/// How the rate grows: none for `warmup` steps, linear over `ramp` steps, then
/// `rate`.
struct RateSchedule {
  double rate = 0;
  int64_t warmup = 0, ramp = 0;

  /// At a step that counts from 1.
  double at(int64_t step) const;
};

/// The state of a routed program, none for others. Values live in `buffers`,
/// which must outlive it.
class Routing {
public:
  /// Reads the program's configuration (mod_*). Functions must be bound to
  /// `buffers` already.
  static llvm::Expected<Routing> create(Program &program,
                                        NamedBuffers &buffers);
  /// The same for functions that take tokens as they come: fails on the policy
  /// capacity, which looks ahead.
  static llvm::Expected<Routing> createCausal(Program &program,
                                              NamedBuffers &buffers);

  bool isRouted() const { return !policy.empty(); }
  /// True when every sub-layer's thresholds decide what is executed.
  bool needsThresholds() const {
    return policy == "threshold" || policy == "rate";
  }
  const RateSchedule &getSchedule() const { return schedule; }
  /// Layers whose sub-layers are routed.
  int64_t countRoutedLayers() const { return routedLayers; }

  /// Makes @adapt callable; fails on policies that training cannot serve.
  llvm::Error prepareTraining(Program &program);
  /// Sets what the functions of a training step read.
  llvm::Error beginStep(int64_t step);
  /// Lets the thresholds follow the gates of the step's batch.
  llvm::Error adapt(int64_t step);
  /// What the last call of @gradients or @loss executed.
  llvm::Expected<SkipReport> report() const;

  /// All thresholds to one value, or to given ones; nothing where the program
  /// has none.
  llvm::Error setThresholds(llvm::ArrayRef<double> values);
  llvm::Expected<std::vector<double>> getThresholds() const;
  /// Sets the rate of a capacity that is decided at run time.
  llvm::Error setRate(double rate);

  /// Appends what writes the thresholds to a checkpoint.
  void appendSources(std::vector<SafetensorsSource> &sources);
  /// Reads the thresholds. Where the file has none, fails if the policy needs
  /// them, naming file and tensor.
  llvm::Error load(const SafetensorsFile &file);

private:
  NamedBuffers *buffers = nullptr;
  std::string policy;
  RateSchedule schedule;
  int64_t routedLayers = 0;
  double currentRate = 0;
  double auxiliaryWeight = 0;
  double decay = 0;
  BoundFunction adaptCall;
  bool adapts = false;
  std::vector<char> storage;
};

/// What writes thresholds to a checkpoint; `storage` must outlive it.
SafetensorsSource makeThresholdsSource(DType dtype,
                                       llvm::ArrayRef<double> values,
                                       std::vector<char> &storage);

/// The `count` thresholds of a file; empty where it has none and the policy
/// needs none. Errors name file and tensor.
llvm::Expected<std::vector<double>> readThresholds(const SafetensorsFile &file,
                                                   int64_t count,
                                                   llvm::StringRef policy);

/// Reads the thresholds of a checkpoint argument (resolveCheckpoint) into a
/// routed program; as Routing::load.
llvm::Error loadThresholds(Routing &routing, llvm::StringRef checkpoint);

} // namespace nag::runtime

#endif // NAG_RUNTIME_ROUTING_H
