// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a run of a kernel leaves behind: arrays, findings, counters and times,
// as text, JSON or .npy files.
#ifndef PTX_VM_RESULTS_H
#define PTX_VM_RESULTS_H

#include "Run.h"

namespace ptxvm_tool {

/// An array argument after the run.
struct Printed {
  size_t index;
  std::vector<std::string> values;
};

/// The quickest of several launches.
struct Timing {
  double seconds = 0, processorSeconds = 0;
};

/// The arrays of KernelRun::prints.
llvm::Expected<std::vector<Printed>> collectArrays(const KernelRun &request,
                                                   ptxvm::DeviceMemory &memory);

/// Writes the arrays of KernelRun::outputs.
llvm::Error writeOutputs(const KernelRun &request, ptxvm::DeviceMemory &memory);

void printText(const ptxvm::LaunchResult &result,
               const std::vector<Printed> &arrays, bool showCounters);
void printJson(const ptxvm::LaunchResult &result,
               const std::vector<Printed> &arrays, double seconds);
void printTime(const Timing &timing, const ptxvm::Counters &counters);

} // namespace ptxvm_tool

#endif // PTX_VM_RESULTS_H
