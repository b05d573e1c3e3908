// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A search for the schedules of a program's kernels.
#ifndef NAG_PROFILE_TUNE_H
#define NAG_PROFILE_TUNE_H

#include "nag/Profile/Profile.h"

namespace nag::profile {

/// What tuning makes least, in seconds, of one launch: measured where launches
/// were timed; else from the larger of the roofline bound and the time to issue
/// its instructions, stretched where blocks fill the device unevenly or too few
/// warps are resident to hide latency, and of what a launch and spilled
/// registers cost. Deterministic; it orders schedules and is no prediction.
double getScore(const DeviceKernel &kernel, const GPUDevice &device);

struct TuneOptions {
  Options measure;
  /// The device to score for.
  const GPUDevice *device = nullptr;
  /// Schedules tried for each op that leads a launch, the model's among them.
  unsigned candidates = 8;
  /// Compiles the program afresh and shows it to the observer.
  std::function<llvm::Error(cuda::ProgramObserver &)> list;
  /// Compiles and measures it afresh.
  std::function<llvm::Expected<Profile>(const Options &)> run;
  std::function<void(int64_t done, int64_t total)> progress;
};

/// A schedule file (-nag-assign-schedules) with the best candidate of every
/// launch, and {"device", "measure": "score" or "time", "scores": {key:
/// {"model", "tuned", "launches", "tried": [{"schedule", "score"}]}}, "step":
/// {"model", "tuned"}}.
llvm::Expected<llvm::json::Value> tune(const TuneOptions &options);

} // namespace nag::profile

#endif // NAG_PROFILE_TUNE_H
