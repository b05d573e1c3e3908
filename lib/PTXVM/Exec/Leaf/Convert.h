// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What conversions of integers and of floats share. In the namespace of the
// instruction set, so that copies do not mix at link time.
#ifndef PTXVM_EXEC_LEAF_CONVERT_H
#define PTXVM_EXEC_LEAF_CONVERT_H

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

inline bool isSignedType(Type type) {
  return type == Type::S8 || type == Type::S16 || type == Type::S32 ||
         type == Type::S64;
}
inline unsigned bitsOf(Type type) {
  switch (type) {
  case Type::B8:
  case Type::U8:
  case Type::S8:
    return 8;
  case Type::B16:
  case Type::U16:
  case Type::S16:
    return 16;
  case Type::B32:
  case Type::U32:
  case Type::S32:
    return 32;
  default:
    return 64;
  }
}

/// Conversions of integers, for selectConvert; sizes are those of the
/// registers.
Handler selectIntegerConvert(const LeafQuery &query);

} // namespace ptxvm::PTXVM_ISA

#endif // PTXVM_EXEC_LEAF_CONVERT_H
