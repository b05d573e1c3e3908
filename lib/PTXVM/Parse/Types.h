// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// PTX fundamental and packed types (PTX ISA 9.0, section 5.2).
#ifndef PTXVM_PARSE_TYPES_H
#define PTXVM_PARSE_TYPES_H

#include <cstdint>
#include <optional>
#include <string_view>

namespace ptxvm {

enum class Type : uint8_t {
  None,
  Pred,
  B8,
  B16,
  B32,
  B64,
  B128,
  U8,
  U16,
  U32,
  U64,
  S8,
  S16,
  S32,
  S64,
  F16,
  F16x2,
  BF16,
  BF16x2,
  TF32,
  F32,
  F32x2,
  F64,
  U16x2,
  S16x2,
  E4M3x2,
  E5M2x2
};

enum class Space : uint8_t {
  None,
  Generic,
  Param,
  Const,
  Global,
  Local,
  Shared
};

/// The type named by a modifier such as ".f32"; nothing for other modifiers.
std::optional<Type> typeFromName(std::string_view name);
std::string_view nameOf(Type type);

/// Bytes of one value in memory and in a register lane; 0 for predicates.
unsigned sizeOf(Type type);

bool isSignedInt(Type type);
bool isUnsignedInt(Type type);
bool isUntyped(Type type);
bool isFloat(Type type);
inline bool isInteger(Type type) {
  return isSignedInt(type) || isUnsignedInt(type);
}

std::optional<Space> spaceFromName(std::string_view name);
std::string_view nameOf(Space space);

} // namespace ptxvm

#endif // PTXVM_PARSE_TYPES_H
