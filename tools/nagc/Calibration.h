// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Thresholds by which a share of the tokens skips a trained model's sub-layers.
#ifndef NAG_TOOLS_NAGC_CALIBRATION_H
#define NAG_TOOLS_NAGC_CALIBRATION_H

#include "RoutedProgram.h"

namespace nag::tool {

/// Per routed sub-layer, the value that the share `rate` of its scores stays
/// below while as many tokens skip every other one by capacity. `capacity` is
/// a program of that policy; its rate is set.
llvm::Expected<std::vector<double>>
findCapacityThresholds(RoutedProgram &capacity, const runtime::Dataset &dataset,
                       double rate, int64_t batches);

/// Sets, in a program of the policy threshold, thresholds of its own for each
/// sub-layer: of `start` and what follows from it, those by which the shares
/// that skip are closest to `rate`.
llvm::Error calibrate(RoutedProgram &program, const runtime::Dataset &dataset,
                      double rate, int64_t batches, std::vector<double> start);

/// Sets one threshold for all sub-layers.
llvm::Error calibrateGlobally(RoutedProgram &program,
                              const runtime::Dataset &dataset, double rate,
                              int64_t batches);

} // namespace nag::tool

#endif // NAG_TOOLS_NAGC_CALIBRATION_H
