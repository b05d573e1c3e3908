// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What skipping costs a trained model in loss: the accuracy-compute curve.
#ifndef NAG_TOOLS_NAGC_ROUTINGSWEEP_H
#define NAG_TOOLS_NAGC_ROUTINGSWEEP_H

#include "RoutedProgram.h"

namespace nag::tool {

struct SweepOptions {
  std::vector<double> rates;
  /// As EvaluatorOptions::maxBatches.
  int64_t maxBatches = 0;
  RoutingOverrides routing;
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
