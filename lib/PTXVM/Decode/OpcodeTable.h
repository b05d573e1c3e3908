// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Opcode to decoder method.
#ifndef PTXVM_DECODE_OPCODETABLE_H
#define PTXVM_DECODE_OPCODETABLE_H

#include "Decoder.h"

namespace ptxvm {

struct OpcodeTable {
  using Decode = void (Decoder::*)();
  /// Null for opcodes this machine does not know.
  static Decode find(std::string_view opcode);
};

} // namespace ptxvm

#endif // PTXVM_DECODE_OPCODETABLE_H
