// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What is wrong with a PTX text, and where.
#ifndef NAG_PTXVM_DIAGNOSTIC_H
#define NAG_PTXVM_DIAGNOSTIC_H

#include <cstdint>
#include <string>

namespace ptxvm {

/// One error: the message names what was expected and what was found.
struct Diagnostic {
  enum Cause : uint8_t { Text, IsaVersion, OutOfMemory };
  uint32_t line = 0; // 1-based line of the PTX text; 0: the whole text
  std::string message;
  Cause cause = Text;
};

} // namespace ptxvm

#endif // NAG_PTXVM_DIAGNOSTIC_H
