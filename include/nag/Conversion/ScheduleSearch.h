// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The schedules that a kernel function could follow.
#ifndef NAG_CONVERSION_SCHEDULESEARCH_H
#define NAG_CONVERSION_SCHEDULESEARCH_H

#include "nag/Conversion/NagToGPU.h"

namespace nag {

/// For each op of the kernel that leads a launch, in order, schedules that it
/// can follow on the target, at most `limit` each: the one that stands on it or
/// that its model chooses, then others, by the model's estimate where it has
/// one, else the nearest first.
llvm::FailureOr<std::vector<std::vector<ScheduleAttr>>>
listSchedules(mlir::func::FuncOp kernel, const GPUTarget &target,
              unsigned limit);

} // namespace nag

#endif // NAG_CONVERSION_SCHEDULESEARCH_H
