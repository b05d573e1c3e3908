// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Bit-exact conversions between f32/f64 and the narrow formats. In the
// namespace of the instruction set, so that copies do not mix at link time.
#ifndef PTXVM_EXEC_LEAF_FORMATS_H
#define PTXVM_EXEC_LEAF_FORMATS_H

#include "Leaf.h"

#include <cmath>

namespace ptxvm::PTXVM_ISA {

inline float asFloat(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}
inline uint32_t asBits(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, 4);
  return bits;
}
inline double asDouble(uint64_t bits) {
  double value;
  __builtin_memcpy(&value, &bits, 8);
  return value;
}
inline uint64_t asBits(double value) {
  uint64_t bits;
  __builtin_memcpy(&bits, &value, 8);
  return bits;
}

/// NaN results of f32 instructions are 0x7fffffff (PTX ISA, section 9.7.3). By
/// bits: in C++ one NaN is as good as another, and compilers hand on the first.
inline float canonical(float value) {
  return (asBits(value) & 0x7fffffffu) > 0x7f800000u ? asFloat(0x7fffffffu)
                                                     : value;
}
inline double canonical(double value) {
  return (asBits(value) & ~0ull >> 1) > 0x7ff0000000000000ull
             ? asDouble(0x7ff8000000000000ull)
             : value;
}

inline float fromHalf(uint16_t half) {
  uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  uint32_t magnitude = half & 0x7fff;
  // Scaling by 2^112 moves the exponent and normalises subnormals.
  uint32_t scaled = asBits(asFloat(magnitude << 13) * asFloat(0x77800000u));
  if (magnitude >= 0x7c00)
    scaled = 0x7f800000u | magnitude << 13;
  return asFloat(sign | scaled);
}
inline uint16_t toHalf(float value) {
  uint32_t bits = asBits(value), magnitude = bits & 0x7fffffffu;
  uint32_t normal =
      (magnitude + 0xfff + (magnitude >> 13 & 1) - 0x38000000u) >> 13;
  // Adding 0.5 rounds at 2^-24, the unit of half subnormals.
  uint32_t tiny = asBits(asFloat(magnitude) + 0.5f) - 0x3f000000u;
  uint32_t half = magnitude < 0x38800000u ? tiny : normal;
  half = magnitude >= 0x477ff000u ? 0x7c00u : half;
  half = magnitude > 0x7f800000u ? 0x7fffu : half;
  uint32_t sign = magnitude > 0x7f800000u ? 0 : bits >> 16 & 0x8000;
  return static_cast<uint16_t>(sign | half);
}
inline float fromBfloat(uint16_t bits) {
  return asFloat(static_cast<uint32_t>(bits) << 16);
}
inline uint16_t toBfloat(float value) {
  uint32_t bits = asBits(value);
  uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fffu
                                                                  : rounded);
}

/// A binary format of at most 32 bits: sign, exponent, mantissa.
struct Format {
  int mantissaBits;
  int minExponent; // of normal numbers
  int maxExponent;
  uint32_t infinity; // magnitude bits; also what overflow gives
  uint32_t nan;
  uint32_t maxFinite;
  int signShift;
};
inline constexpr Format halfFormat = {10, -14, 15, 0x7c00, 0x7fff, 0x7bff, 15};
inline constexpr Format bfloatFormat = {7,      -126,   127, 0x7f80,
                                        0x7fff, 0x7f7f, 15};
inline constexpr Format tf32Format = {10,      -126,    127, 0x3fc00,
                                      0x3ffff, 0x3fbff, 18};
inline constexpr Format e4m3Format = {3, -6, 8, 0x7f, 0x7f, 0x7e, 7};
inline constexpr Format e5m2Format = {2, -14, 15, 0x7c, 0x7f, 0x7b, 7};

enum class RoundTo : uint8_t { Nearest, Zero, Down, Up, NearestAway };

inline bool roundsUp(RoundTo mode, bool negative, bool odd, bool half,
                     bool rest) {
  switch (mode) {
  case RoundTo::Nearest:
    return half && (rest || odd);
  case RoundTo::NearestAway:
    return half;
  case RoundTo::Zero:
    return false;
  case RoundTo::Down:
    return negative && (half || rest);
  case RoundTo::Up:
    return !negative && (half || rest);
  }
  return false;
}

/// Rounds once, from the exact double, into `format`.
inline uint32_t roundTo(double value, const Format &format, RoundTo mode,
                        bool satFinite = false) {
  uint64_t bits = asBits(value);
  bool negative = bits >> 63;
  uint64_t magnitude = bits & 0x7fffffffffffffffull;
  if (magnitude > 0x7ff0000000000000ull)
    return format.nan;
  uint32_t sign = static_cast<uint32_t>(negative) << format.signShift;
  bool toMax = satFinite || mode == RoundTo::Zero ||
               (mode == RoundTo::Down && !negative) ||
               (mode == RoundTo::Up && negative);
  if (magnitude == 0x7ff0000000000000ull)
    return sign | (satFinite ? format.maxFinite : format.infinity);
  if (magnitude == 0)
    return sign;
  int exponent = static_cast<int>(magnitude >> 52) - 1023;
  uint64_t mantissa = (magnitude & 0xfffffffffffffull) | 1ull << 52;
  if (magnitude >> 52 == 0) { // a double subnormal is below every half unit
    mantissa = 1;
    exponent = -1022;
  }
  int unit = (exponent < format.minExponent ? format.minExponent : exponent) -
             format.mantissaBits;
  int shift = 52 - exponent + unit; // bits below the unit
  if (shift > 62) {
    mantissa = 1; // only "not zero" matters
    shift = 62;
  }
  uint64_t kept = mantissa >> shift;
  bool half = shift > 0 && (mantissa >> (shift - 1) & 1);
  bool rest = shift > 1 && (mantissa & ((1ull << (shift - 1)) - 1)) != 0;
  kept += roundsUp(mode, negative, kept & 1, half, rest);
  // Counting units from the smallest subnormal carries into the exponent.
  int biased =
      exponent < format.minExponent ? 0 : exponent - format.minExponent;
  uint64_t packed =
      kept + (static_cast<uint64_t>(biased) << format.mantissaBits);
  if (packed > format.maxFinite)
    return sign | (toMax ? format.maxFinite : format.infinity);
  return sign | static_cast<uint32_t>(packed);
}

/// p + c rounded to odd: a later rounding to at most 51 bits is then exact.
inline double addToOdd(double p, double c) {
  double sum = p + c;
  double back = sum - p;
  double error = (p - (sum - back)) + (c - back);
  if (error != 0 && sum - sum == 0 && (asBits(sum) & 1) == 0)
    sum = asDouble(asBits(sum) + (((error > 0) == (sum > 0)) ? 1 : -1));
  return sum;
}

} // namespace ptxvm::PTXVM_ISA

#endif // PTXVM_EXEC_LEAF_FORMATS_H
