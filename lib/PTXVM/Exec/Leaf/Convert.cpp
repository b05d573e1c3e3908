// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// cvt (PTX ISA 9.0, section 9.7.9.21) of floats. Every source is exact in f64,
// so each conversion rounds once.
#include "Convert.h"

namespace ptxvm::PTXVM_ISA {
namespace {

struct FromHalf {
  using type = uint16_t;
  static double widen(uint16_t bits, bool flush) {
    return flush && (bits & 0x7c00) == 0 ? fromHalf(bits & 0x8000)
                                         : fromHalf(bits);
  }
};
struct FromBfloat {
  using type = uint16_t;
  static double widen(uint16_t bits, bool) { return fromBfloat(bits); }
};
struct FromSingle {
  using type = uint32_t;
  static double widen(uint32_t bits, bool flush) {
    return asFloat(flush && (bits & 0x7f800000u) == 0 ? bits & 0x80000000u
                                                      : bits);
  }
};
struct FromDouble {
  using type = uint64_t;
  static double widen(uint64_t bits, bool) { return asDouble(bits); }
};

double toIntegral(double value, RoundTo mode) {
  switch (mode) {
  case RoundTo::Zero:
    return __builtin_trunc(value);
  case RoundTo::Down:
    return __builtin_floor(value);
  case RoundTo::Up:
    return __builtin_ceil(value);
  default:
    return __builtin_nearbyint(value);
  }
}

/// Out-of-range values clamp; NaN becomes 0, from f64 and in 64-bit results the
/// most negative pattern (section 9.7.9.21).
uint64_t clampToInteger(double value, unsigned bits, bool isSigned,
                        bool isWide) {
  if (value != value)
    return isWide || bits == 64 ? ~0ull << (bits - 1) : 0;
  double limit = isSigned ? asDouble((1023ull + bits - 1) << 52)
                          : asDouble((1023ull + bits) << 52);
  if (value >= limit)
    return isSigned ? (1ull << (bits - 1)) - 1 : ~0ull >> (64 - bits);
  if (isSigned)
    return value < -limit ? static_cast<uint64_t>(-(1ll << (bits - 2)) * 2)
                          : static_cast<uint64_t>(static_cast<int64_t>(value));
  return value <= 0 ? 0 : static_cast<uint64_t>(value);
}

template <typename F, typename D>
void floatToInteger(LaneState &w, const Inst &i, uint32_t mask) {
  const typename F::type *a = w.at<typename F::type>(i.src[0]);
  bool isSigned = isSignedInt(targetType(i)), flush = i.flush;
  unsigned bits = bitsOf(targetType(i));
  constexpr bool isWide = sizeof(typename F::type) == 8;
  uint64_t width = isSigned ? ~0ull : ~0ull >> (64 - bits);
  RoundTo mode = roundingOf(i);
  perLane(w.at<D>(i.dst), mask, [=](unsigned l) {
    double rounded = toIntegral(F::widen(a[l], flush), mode);
    return static_cast<D>(clampToInteger(rounded, bits, isSigned, isWide) &
                          width);
  });
}

template <typename T> T finishFloat(T value, uint8_t flags) {
  if (flags & leaf::saturate)
    return value > T(0) ? (value < T(1) ? value : T(1)) : T(0);
  if ((flags & leaf::relu) && value <= T(0))
    return T(0);
  return value;
}
uint32_t narrowFloat(double value, const Inst &i, const Format &format) {
  value = finishFloat(value, i.flags);
  return roundTo(value, format, roundingOf(i), i.flags & leaf::satFinite);
}
uint32_t singleOf(double value, const Inst &i) {
  // The environment's rounding mode is that of the instruction.
  float narrow = canonical(static_cast<float>(finishFloat(value, i.flags)));
  uint32_t bits = asBits(narrow);
  return i.flush && (bits & 0x7f800000u) == 0 ? bits & 0x80000000u : bits;
}

template <typename F>
void floatToFloat(LaneState &w, const Inst &i, uint32_t mask) {
  const typename F::type *a = w.at<typename F::type>(i.src[0]);
  bool integral = i.flags & leaf::toIntegral, flush = i.flush;
  RoundTo mode = roundingOf(i);
  auto value = [=](unsigned l) {
    double wide = F::widen(a[l], flush);
    return integral ? toIntegral(wide, mode) : wide;
  };
  switch (targetType(i)) {
  case Type::F32:
    return perLane(w.at<uint32_t>(i.dst), mask,
                   [&](unsigned l) { return singleOf(value(l), i); });
  case Type::F64:
    return perLane(w.at<double>(i.dst), mask, [&](unsigned l) {
      return canonical(finishFloat(value(l), i.flags));
    });
  case Type::TF32:
    return perLane(w.at<uint32_t>(i.dst), mask, [&](unsigned l) {
      return narrowFloat(value(l), i, tf32Format) << 13;
    });
  case Type::F16:
    return perLane(w.at<uint16_t>(i.dst), mask, [&](unsigned l) {
      return static_cast<uint16_t>(narrowFloat(value(l), i, halfFormat));
    });
  default:
    return perLane(w.at<uint16_t>(i.dst), mask, [&](unsigned l) {
      return static_cast<uint16_t>(narrowFloat(value(l), i, bfloatFormat));
    });
  }
}

// The common cases, vectorised.
void singleToHalf(LaneState &w, const Inst &i, uint32_t mask) {
  const float *a = w.at<float>(i.src[0]);
  perLane(w.at<uint16_t>(i.dst), mask,
          [=](unsigned l) { return toHalf(a[l]); });
}
void singleToBfloat(LaneState &w, const Inst &i, uint32_t mask) {
  const float *a = w.at<float>(i.src[0]);
  perLane(w.at<uint16_t>(i.dst), mask,
          [=](unsigned l) { return toBfloat(a[l]); });
}
template <bool IsHalf>
void halfToSingle(LaneState &w, const Inst &i, uint32_t mask) {
  const uint16_t *a = w.at<uint16_t>(i.src[0]);
  perLane(w.at<float>(i.dst), mask, [=](unsigned l) {
    return canonical(IsHalf ? fromHalf(a[l]) : fromBfloat(a[l]));
  });
}
template <bool IsHalf>
void pairFast(LaneState &w, const Inst &i, uint32_t mask) {
  const float *a = w.at<float>(i.src[0]), *b = w.at<float>(i.src[1]);
  perLane(w.at<uint32_t>(i.dst), mask, [=](unsigned l) {
    uint32_t high = IsHalf ? toHalf(a[l]) : toBfloat(a[l]);
    uint32_t low = IsHalf ? toHalf(b[l]) : toBfloat(b[l]);
    return high << 16 | low;
  });
}

/// cvt.f16x2.f32 d, a, b and its kin: a is the upper half.
void pair(LaneState &w, const Inst &i, uint32_t mask) {
  const uint32_t *a = w.at<uint32_t>(i.src[0]), *b = w.at<uint32_t>(i.src[1]);
  bool flush = i.flush;
  const Format *format = &halfFormat;
  unsigned width = 16;
  switch (targetType(i)) {
  case Type::BF16x2:
    format = &bfloatFormat;
    break;
  case Type::E4M3x2:
    format = &e4m3Format, width = 8;
    break;
  case Type::E5M2x2:
    format = &e5m2Format, width = 8;
    break;
  default:
    break;
  }
  auto join = [&](unsigned l) {
    uint32_t high = narrowFloat(FromSingle::widen(a[l], flush), i, *format);
    uint32_t low = narrowFloat(FromSingle::widen(b[l], flush), i, *format);
    return high << width | low;
  };
  if (width == 16)
    return perLane(w.at<uint32_t>(i.dst), mask, join);
  perLane(w.at<uint16_t>(i.dst), mask,
          [&](unsigned l) { return static_cast<uint16_t>(join(l)); });
}

// Eight-bit floats: from and to packed halves.
double fromByte(uint32_t byte, bool isE5m2) {
  if (isE5m2)
    return fromHalf(static_cast<uint16_t>(byte << 8));
  uint32_t magnitude = byte & 0x7f;
  double value = magnitude == 0x7f
                     ? asDouble(0x7ff8000000000000ull)
                     : static_cast<double>(
                           fromHalf(static_cast<uint16_t>(magnitude << 7))) *
                           256.0;
  return byte & 0x80 ? -value : value;
}
void bytesToHalves(LaneState &w, const Inst &i, uint32_t mask) {
  const uint16_t *a = w.at<uint16_t>(i.src[0]);
  bool isE5m2 = sourceType(i) == Type::E5M2x2;
  perLane(w.at<uint32_t>(i.dst), mask, [&](unsigned l) {
    uint32_t low = narrowFloat(fromByte(a[l] & 0xff, isE5m2), i, halfFormat);
    uint32_t high = narrowFloat(fromByte(a[l] >> 8, isE5m2), i, halfFormat);
    return high << 16 | low;
  });
}
void halvesToBytes(LaneState &w, const Inst &i, uint32_t mask) {
  const uint32_t *a = w.at<uint32_t>(i.src[0]);
  const Format &format =
      targetType(i) == Type::E5M2x2 ? e5m2Format : e4m3Format;
  perLane(w.at<uint16_t>(i.dst), mask, [&](unsigned l) {
    double low = fromHalf(static_cast<uint16_t>(a[l]));
    double high = fromHalf(static_cast<uint16_t>(a[l] >> 16));
    return static_cast<uint16_t>(narrowFloat(high, i, format) << 8 |
                                 narrowFloat(low, i, format));
  });
}

template <typename F> Handler floatTo(unsigned size) {
  return byBytes(size,
                 [](auto t) { return floatToInteger<F, TypeOf<decltype(t)>>; });
}
template <typename F> Handler fromFloat(const LeafQuery &q) {
  switch (q.type) {
  case Type::F16:
  case Type::BF16:
  case Type::TF32:
  case Type::F32:
  case Type::F64:
    return floatToFloat<F>;
  case Type::F16x2:
  case Type::BF16x2:
    return nullptr;
  default:
    return floatTo<F>(q.dstSize);
  }
}

} // namespace

/// type: target, type2: source; sizes are those of the registers. srcSize 0
/// asks for the fast form: nearest, no flags.
Handler selectConvert(const LeafQuery &q) {
  bool fast = q.srcSize == 0;
  if (q.op == Op::ConvertPair) {
    if (fast && q.type == Type::F16x2)
      return pairFast<true>;
    return fast && q.type == Type::BF16x2 ? pairFast<false> : pair;
  }
  if (q.op != Op::Convert)
    return nullptr;
  if (fast) {
    if (q.type2 == Type::F32)
      return q.type == Type::F16    ? singleToHalf
             : q.type == Type::BF16 ? singleToBfloat
                                    : nullptr;
    if (q.type == Type::F32)
      return q.type2 == Type::F16    ? halfToSingle<true>
             : q.type2 == Type::BF16 ? halfToSingle<false>
                                     : nullptr;
    return nullptr;
  }
  switch (q.type2) {
  case Type::F16:
    return fromFloat<FromHalf>(q);
  case Type::BF16:
    return fromFloat<FromBfloat>(q);
  case Type::F32:
    return fromFloat<FromSingle>(q);
  case Type::F64:
    return fromFloat<FromDouble>(q);
  case Type::E4M3x2:
  case Type::E5M2x2:
    return q.type == Type::F16x2 ? bytesToHalves : nullptr;
  case Type::F16x2:
    return q.type == Type::E4M3x2 || q.type == Type::E5M2x2 ? halvesToBytes
                                                            : nullptr;
  default:
    return selectIntegerConvert(q);
  }
}

} // namespace ptxvm::PTXVM_ISA
