// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Depth routing while a program runs (docs/mathematics.md section 4): the rate
// of a step, the thresholds that follow the gates, and what was executed.
#ifndef NAG_RUNTIME_ROUTING_H
#define NAG_RUNTIME_ROUTING_H

#include "nag/Runtime/Binding.h"
#include "nag/Runtime/Execution.h"
#include "nag/Runtime/Safetensors.h"
#include <vector>

namespace nag::runtime {

/// The name of the thresholds in checkpoints, one per sub-layer.
inline constexpr llvm::StringRef thresholdsTensor = "mod.thresholds";

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
  /// The FLOPs that it executed, of passes that cost this, exactly: from how
  /// many tokens each sub-layer executed and where they stand.
  llvm::Expected<double> countFlops(const PassCosts &costs) const;

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
  llvm::Expected<std::vector<int32_t>> readOffsets() const;
  /// Per sub-layer, the share of tokens that skipped it.
  std::vector<double> getShares(llvm::ArrayRef<int32_t> offsets) const;
  llvm::Expected<double> countPairs(const PairCosts &costs,
                                    llvm::ArrayRef<int32_t> offsets) const;

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
