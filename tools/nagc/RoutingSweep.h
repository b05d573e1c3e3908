// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Depth routing of trained models: thresholds for a rate, and what a rate costs
// in loss (the accuracy-compute curve).
#ifndef NAG_TOOLS_NAGC_ROUTINGSWEEP_H
#define NAG_TOOLS_NAGC_ROUTINGSWEEP_H

#include "Session.h"

#include "nag/Runtime/Evaluator.h"
#include "nag/Runtime/Routing.h"

namespace nag::tool {

struct SweepOptions {
  std::vector<double> rates;
  /// As EvaluatorOptions::maxBatches.
  int64_t maxBatches = 0;
  /// "all", "routed", or empty: the model's.
  std::string kv;
  /// Layers at either end that are not routed; negative: the model's.
  int64_t exempt = -1;
};

/// One point of the curve.
struct SweepPoint {
  /// "dense", "global" (one threshold for all sub-layers), "calibrated" (one
  /// for each) or "capacity".
  std::string mode;
  /// The share of tokens asked to skip the routed sub-layers, and the share
  /// that did.
  double rate = 0, skipped = 0;
  runtime::Evaluation evaluation;
  /// Forward pass, executed.
  double flopsPerToken = 0;
};

/// A model's program with another policy and the weights of a checkpoint.
class RoutedProgram {
public:
  /// `model` must have a configuration and the residual nag.
  static llvm::Expected<std::unique_ptr<RoutedProgram>>
  create(const Model &model, llvm::StringRef checkpoint,
         const SweepOptions &options, model::ModPolicy policy);

  llvm::Expected<runtime::Evaluation> evaluate(const runtime::Dataset &dataset,
                                               int64_t maxBatches) const;
  /// Thresholds that let the share `rate` of the tokens of `batches` training
  /// batches skip: of each sub-layer, or one for all. The scores are those of
  /// the model as it skips, found in a few rounds.
  llvm::Expected<std::vector<double>> calibrate(const runtime::Dataset &dataset,
                                                double rate, int64_t batches,
                                                bool isGlobal);
  /// Skips of the last evaluation's batches, over the routed sub-layers.
  const runtime::SkipReport &getSkips() const { return skips; }

  runtime::Routing &getRouting() { return routing; }
  const model::StepCost &getCost() const { return cost; }
  int64_t countRoutedLayers() const { return routing.countRoutedLayers(); }

private:
  llvm::Error collectGates(const runtime::Dataset &dataset, int64_t batches,
                           std::vector<std::vector<double>> &gates);

  std::unique_ptr<runtime::Program> program;
  std::unique_ptr<runtime::NamedBuffers> buffers;
  std::optional<runtime::ParameterBuffers> weights;
  std::optional<runtime::Evaluator> evaluator;
  runtime::Routing routing;
  model::StepCost cost;
  mutable runtime::SkipReport skips;
  int64_t firstRouted = 0, endRouted = 0;
};

/// Evaluates the rates in all modes.
llvm::Expected<std::vector<SweepPoint>>
sweepRates(const Model &model, const runtime::Dataset &dataset,
           llvm::StringRef checkpoint, const SweepOptions &options);

void printSweep(llvm::ArrayRef<SweepPoint> points, llvm::raw_ostream &os);
llvm::json::Value toJSON(llvm::ArrayRef<SweepPoint> points);
/// An SVG picture: loss over executed FLOPs per token, a line per mode.
void drawSweep(llvm::ArrayRef<SweepPoint> points, llvm::raw_ostream &os);

} // namespace nag::tool

#endif // NAG_TOOLS_NAGC_ROUTINGSWEEP_H
