// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What conversions of integers and of floats share. In the namespace of the
// instruction set, so that copies do not mix at link time.
#ifndef PTXVM_EXEC_LEAF_CONVERT_H
#define PTXVM_EXEC_LEAF_CONVERT_H

#include "Dispatch.h"
#include "Formats.h"

namespace ptxvm::PTXVM_ISA {

/// What the decoder packs into Inst::imm for conversions.
inline Type sourceType(const Inst &i) {
  return static_cast<Type>(i.imm & 0xff);
}
inline Type targetType(const Inst &i) {
  return static_cast<Type>(i.imm >> 8 & 0xff);
}

inline RoundTo roundingOf(const Inst &i) {
  return i.flags & leaf::awayFromZero ? RoundTo::NearestAway
                                      : static_cast<RoundTo>(i.rounding);
}

inline unsigned bitsOf(Type type) { return 8 * sizeOf(type); }

/// Conversions of integers, for selectConvert; sizes are those of the
/// registers.
Handler selectIntegerConvert(const LeafQuery &query);

} // namespace ptxvm::PTXVM_ISA

#endif // PTXVM_EXEC_LEAF_CONVERT_H
