// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Types.h"

#include <iterator>

namespace ptxvm {
namespace {

enum class Family : uint8_t { Other, Bits, Unsigned, Signed, Float };

struct TypeRow {
  std::string_view name;
  Type type;
  uint8_t size;
  Family family;
};

constexpr TypeRow typeRows[] = {
    {".none", Type::None, 0, Family::Other},
    {".pred", Type::Pred, 0, Family::Other},
    {".b8", Type::B8, 1, Family::Bits},
    {".b16", Type::B16, 2, Family::Bits},
    {".b32", Type::B32, 4, Family::Bits},
    {".b64", Type::B64, 8, Family::Bits},
    {".b128", Type::B128, 16, Family::Bits},
    {".u8", Type::U8, 1, Family::Unsigned},
    {".u16", Type::U16, 2, Family::Unsigned},
    {".u32", Type::U32, 4, Family::Unsigned},
    {".u64", Type::U64, 8, Family::Unsigned},
    {".s8", Type::S8, 1, Family::Signed},
    {".s16", Type::S16, 2, Family::Signed},
    {".s32", Type::S32, 4, Family::Signed},
    {".s64", Type::S64, 8, Family::Signed},
    {".f16", Type::F16, 2, Family::Float},
    {".f16x2", Type::F16x2, 4, Family::Float},
    {".bf16", Type::BF16, 2, Family::Float},
    {".bf16x2", Type::BF16x2, 4, Family::Float},
    {".tf32", Type::TF32, 4, Family::Float},
    {".f32", Type::F32, 4, Family::Float},
    {".f32x2", Type::F32x2, 8, Family::Float},
    {".f64", Type::F64, 8, Family::Float},
    {".u16x2", Type::U16x2, 4, Family::Other},
    {".s16x2", Type::S16x2, 4, Family::Other},
    {".e4m3x2", Type::E4M3x2, 2, Family::Other},
    {".e5m2x2", Type::E5M2x2, 2, Family::Other},
};

struct SpaceRow {
  std::string_view name;
  Space space;
};

constexpr SpaceRow spaceRows[] = {
    {"generic", Space::Generic}, {".param", Space::Param},
    {".const", Space::Const},    {".global", Space::Global},
    {".local", Space::Local},    {".shared", Space::Shared},
};

const TypeRow &row(Type type) { return typeRows[static_cast<int>(type)]; }

} // namespace

std::optional<Type> typeFromName(std::string_view name) {
  for (const TypeRow &candidate : typeRows)
    if (candidate.name == name && candidate.type != Type::None)
      return candidate.type;
  return std::nullopt;
}

std::string_view nameOf(Type type) { return row(type).name; }
unsigned sizeOf(Type type) { return row(type).size; }
bool isSignedInt(Type type) { return row(type).family == Family::Signed; }
bool isUnsignedInt(Type type) { return row(type).family == Family::Unsigned; }
bool isUntyped(Type type) { return row(type).family == Family::Bits; }
bool isFloat(Type type) { return row(type).family == Family::Float; }

std::optional<Space> spaceFromName(std::string_view name) {
  // Shared memory of the own block is what .shared means by default.
  if (name == ".shared::cta")
    return Space::Shared;
  if (name == ".param::entry" || name == ".param::func")
    return Space::Param;
  for (const SpaceRow &candidate : spaceRows)
    if (candidate.name == name)
      return candidate.space;
  return std::nullopt;
}

std::string_view nameOf(Space space) {
  for (const SpaceRow &candidate : spaceRows)
    if (candidate.space == space)
      return candidate.name;
  return "none";
}

} // namespace ptxvm
