// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The schedules that a kernel function could follow.
#ifndef NAG_CONVERSION_SCHEDULESEARCH_H
#define NAG_CONVERSION_SCHEDULESEARCH_H

#include "nag/Conversion/NagToGPU.h"

namespace nag {

/// What the launches of a key (LaunchModel::getKey) could follow.
struct ScheduleList {
  std::string key;
  std::vector<ScheduleAttr> schedules;
};

/// For each op of the kernel that leads launches, in order, schedules that it
/// can follow on the target, at most `limit` each: the one that stands on it or
/// that the model chooses, then others by the model's estimate.
llvm::FailureOr<std::vector<ScheduleList>>
listSchedules(mlir::func::FuncOp kernel, const GPUTarget &target,
              unsigned limit);

} // namespace nag

#endif // NAG_CONVERSION_SCHEDULESEARCH_H
