// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A trained model with another routing policy than it was built with.
#ifndef NAG_TOOLS_NAGC_ROUTEDPROGRAM_H
#define NAG_TOOLS_NAGC_ROUTEDPROGRAM_H

#include "Session.h"

#include "nag/Runtime/Evaluator.h"
#include "nag/Runtime/Routing.h"

namespace nag::tool {

/// What of the routing is not the model's own.
struct RoutingOverrides {
  /// "all", "routed", or empty: the model's.
  std::string kv;
  /// Layers at either end that are not routed; negative: the model's.
  int64_t exempt = -1;
};

/// A model's program with another policy and the weights of a checkpoint.
class RoutedProgram {
public:
  /// `model` must have a configuration and the residual nag.
  static llvm::Expected<std::unique_ptr<RoutedProgram>>
  create(const Model &model, llvm::StringRef checkpoint,
         const RoutingOverrides &overrides, model::ModPolicy policy);

  /// `maxBatches` as EvaluatorOptions::maxBatches.
  llvm::Expected<runtime::Evaluation> evaluate(const runtime::Dataset &dataset,
                                               int64_t maxBatches) const;
  /// |g| of every token of `batches` training batches, for each routed
  /// sub-layer, as the model skips now.
  llvm::Expected<std::vector<std::vector<double>>>
  collectScores(const runtime::Dataset &dataset, int64_t batches);
  /// Thresholds of the routed sub-layers; 0 for those that execute every token.
  llvm::Error setThresholds(llvm::ArrayRef<double> routed);
  /// What setThresholds set, for all sub-layers.
  llvm::Expected<std::vector<double>> getThresholds() const {
    return routing.getThresholds();
  }
  llvm::Error setRate(double rate) { return routing.setRate(rate); }

  /// Skips of the last evaluation's batches, over the routed sub-layers.
  const runtime::SkipReport &getSkips() const { return skips; }
  /// FLOPs that it executed per batch.
  double getFlops() const { return flops; }
  const model::StepCost &getCost() const { return cost; }
  int64_t countRoutedLayers() const { return routing.countRoutedLayers(); }
  int64_t countRoutedSubLayers() const { return endRouted - firstRouted; }

private:
  std::unique_ptr<runtime::Program> program;
  std::unique_ptr<runtime::NamedBuffers> buffers;
  std::optional<runtime::ParameterBuffers> weights;
  std::optional<runtime::Evaluator> evaluator;
  runtime::Routing routing;
  model::StepCost cost;
  mutable runtime::SkipReport skips;
  mutable double flops = 0;
  int64_t firstRouted = 0, endRouted = 0;
};

} // namespace nag::tool

#endif // NAG_TOOLS_NAGC_ROUTEDPROGRAM_H
