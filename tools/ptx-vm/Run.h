// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs one kernel of a PTX file on arrays.
#ifndef PTX_VM_RUN_H
#define PTX_VM_RUN_H

#include "Arrays.h"
#include "nag/PTXVM/Launch.h"

namespace ptxvm_tool {

enum ExitCode { ok = 0, failedRun = 1, wrongUse = 2 };

/// Prints an error; returns its code.
int fail(ExitCode code, const llvm::Twine &message);

/// A launch as the command line asks for it.
struct KernelRun {
  std::string file;  // PTX
  std::string entry; // empty: the only kernel
  ptxvm::Dim3 grid, block;
  uint64_t sharedBytes = 0; // dynamic
  ptxvm::LaunchOptions options;
  unsigned repeats = 1; // the quickest counts
  std::vector<Argument> arguments;
  std::vector<std::string> prints;  // N[:COUNT]
  std::vector<std::string> outputs; // N=FILE
  bool asJson = false, showCounters = false, showTime = false;
};

/// The module of a file; null, and the reason is printed, where there is none.
std::unique_ptr<ptxvm::Module> loadModule(const std::string &file,
                                          ptxvm::DeviceMemory &memory);

/// Runs the kernel and prints what is asked for; an ExitCode.
int runKernel(KernelRun &request);

} // namespace ptxvm_tool

#endif // PTX_VM_RUN_H
