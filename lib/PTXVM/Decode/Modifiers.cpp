// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Modifiers of an instruction, such as .rn and .f32: each is taken by whoever
// knows it, and what nobody took is an error.
#include "Decoder.h"

namespace ptxvm {

bool Decoder::take(std::string_view modifier) {
  for (size_t k = 0; k < current->modifiers.size(); ++k)
    if (!used[k] && current->modifiers[k] == modifier) {
      used[k] = true;
      return true;
    }
  return false;
}

std::optional<Type> Decoder::takeOptionalType() {
  for (size_t k = 0; k < current->modifiers.size(); ++k)
    if (!used[k])
      if (std::optional<Type> type = typeFromName(current->modifiers[k])) {
        used[k] = true;
        return type;
      }
  return std::nullopt;
}

Type Decoder::takeType() {
  std::optional<Type> type = takeOptionalType();
  if (!type)
    fail("expected a type modifier");
  return type.value_or(Type::B32);
}

std::optional<Space> Decoder::takeSpace() {
  for (size_t k = 0; k < current->modifiers.size(); ++k)
    if (!used[k])
      if (std::optional<Space> space = spaceFromName(current->modifiers[k])) {
        used[k] = true;
        return space;
      }
  return std::nullopt;
}

void Decoder::takeRounding(bool required) {
  rounding = Rounding::Nearest;
  roundingGiven = true;
  if (take(".rz"))
    rounding = Rounding::Zero;
  else if (take(".rm"))
    rounding = Rounding::Down;
  else if (take(".rp"))
    rounding = Rounding::Up;
  else if (!take(".rn")) {
    roundingGiven = false;
    if (required)
      fail("expected a rounding modifier");
  }
}

/// Memory order and scope. Whether the access is strong: any order but .weak
/// makes it so.
bool Decoder::takeMemoryOrder() {
  static constexpr std::string_view orders[] = {
      ".volatile", ".relaxed", ".acquire", ".release", ".acq_rel", ".mmio"};
  static constexpr std::string_view scopes[] = {".cta", ".cluster", ".gpu",
                                                ".sys"};
  bool isStrong = false;
  for (std::string_view order : orders)
    isStrong |= take(order);
  for (std::string_view scope : scopes)
    take(scope);
  return isStrong;
}

/// Elements that one lane accesses.
uint8_t Decoder::takeVectorWidth() {
  bool two = take(".v2"), four = take(".v4"), eight = take(".v8");
  return two ? 2 : four ? 4 : eight ? 8 : 1;
}

/// Cache operators, eviction priorities and prefetch sizes change nothing here.
/// Whether an operand names a cache policy.
bool Decoder::takeCacheHints() {
  static constexpr std::string_view hints[] = {".ca",
                                               ".cg",
                                               ".cs",
                                               ".lu",
                                               ".cv",
                                               ".wb",
                                               ".wt",
                                               ".nc",
                                               ".L1::evict_normal",
                                               ".L1::evict_unchanged",
                                               ".L1::evict_first",
                                               ".L1::evict_last",
                                               ".L1::no_allocate",
                                               ".L2::evict_last",
                                               ".L2::evict_first",
                                               ".L2::evict_normal",
                                               ".L2::64B",
                                               ".L2::128B",
                                               ".L2::256B"};
  for (std::string_view hint : hints)
    take(hint);
  return take(".L2::cache_hint");
}

} // namespace ptxvm
