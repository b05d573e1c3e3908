// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the schedules of row-wise ops may be, and what their blocks then do.
#ifndef NAG_CONVERSION_NAGTOGPU_ROWSCHEDULE_H
#define NAG_CONVERSION_NAGTOGPU_ROWSCHEDULE_H

#include "RowGeometry.h"

namespace nag {

/// Schedules of the family rows to choose from, of rows that follow none yet;
/// none has a fault. With `blockThreads`, whole warps, blocks have as
/// many.
llvm::SmallVector<ScheduleAttr> listRowSchedules(const RowGeometry &rows,
                                                 RowProgram &program,
                                                 const GPUTarget &target,
                                                 int64_t blockThreads = 0);

/// True when, as far as known, threads that follow the schedule need no more
/// registers than they may have; `rows` follow none yet.
bool fitsRegisters(ScheduleAttr schedule, RowGeometry rows,
                   const GPUTarget &target);

/// Leaves the schedules of which this is true, where there are any.
inline void keepThose(llvm::SmallVectorImpl<ScheduleAttr> &schedules,
                      llvm::function_ref<bool(ScheduleAttr)> isGood) {
  if (llvm::any_of(schedules, isGood))
    llvm::erase_if(schedules, std::not_fn(isGood));
}

/// Adds the blocks of rows that follow a schedule to a launch, those of other
/// rows among them.
void describeRows(const RowGeometry &rows, RowProgram &program,
                  const GPUTarget &target, LaunchWork &launch);

/// What the model takes for a launch of these rows alone; `rows` follow no
/// schedule yet.
LaunchEstimate estimateRows(ScheduleAttr schedule, RowGeometry rows,
                            RowProgram &program, const GPUTarget &target);

} // namespace nag

#endif // NAG_CONVERSION_NAGTOGPU_ROWSCHEDULE_H
