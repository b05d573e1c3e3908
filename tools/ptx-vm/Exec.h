// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs a program with the PTX machine in the place of the CUDA driver.
#ifndef PTX_VM_EXEC_H
#define PTX_VM_EXEC_H

#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace ptxvm_tool {

struct ProgramRun {
  std::vector<std::string> command; // program and arguments
  std::string checks;               // names; empty: as the environment says
  std::string countersFile, findingsFile, chip; // likewise
};

/// The program's exit code; 1 when it was 0 and a check found something;
/// 128 + N when signal N ended it. Fails when it cannot be started.
llvm::Expected<int> runProgram(const ProgramRun &request);

} // namespace ptxvm_tool

#endif // PTX_VM_EXEC_H
