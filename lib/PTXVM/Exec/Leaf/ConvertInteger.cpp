// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// cvt (PTX ISA 9.0, section 9.7.9.21) of integers. Every source is exact in
// int64/uint64, so each conversion rounds once.
#include "Convert.h"

namespace ptxvm::PTXVM_ISA {
namespace {

/// The low `bits` of a register, extended to 64 bits.
uint64_t extend(uint64_t raw, unsigned bits, bool isSigned) {
  unsigned shift = 64 - bits;
  return isSigned ? static_cast<uint64_t>(static_cast<int64_t>(raw << shift) >>
                                          shift)
                  : (raw << shift) >> shift;
}

uint64_t saturateInteger(uint64_t value, bool fromSigned, unsigned bits,
                         bool toSigned) {
  bool negative = fromSigned && static_cast<int64_t>(value) < 0;
  uint64_t top = toSigned ? (1ull << (bits - 1)) - 1 : ~0ull >> (64 - bits);
  if (negative) {
    if (!toSigned)
      return 0;
    int64_t bottom = -static_cast<int64_t>(top) - 1;
    return static_cast<int64_t>(value) < bottom ? static_cast<uint64_t>(bottom)
                                                : value;
  }
  return value > top ? top : value;
}

template <typename S, typename D>
void integerToInteger(LaneState &w, const Inst &i, uint32_t mask) {
  const S *a = w.at<S>(i.src[0]);
  Type from = sourceType(i), to = targetType(i);
  bool fromSigned = isSignedInt(from), toSigned = isSignedInt(to);
  unsigned fromBits = bitsOf(from), toBits = bitsOf(to);
  D *dst = w.at<D>(i.dst);
  if (i.flags & leaf::saturate)
    return perLane(dst, mask, [=](unsigned l) {
      return static_cast<D>(saturateInteger(extend(a[l], fromBits, fromSigned),
                                            fromSigned, toBits, toSigned));
    });
  perLane(dst, mask, [=](unsigned l) {
    return static_cast<D>(
        extend(extend(a[l], fromBits, fromSigned), toBits, toSigned));
  });
}

/// Integers beyond 53 bits keep their inexactness in the last bit, so that a
/// later rounding to a narrow format is right.
double toDoubleOdd(uint64_t value, bool isSigned) {
  bool negative = isSigned && static_cast<int64_t>(value) < 0;
  uint64_t magnitude = negative ? 0 - value : value;
  if (magnitude >> 53 != 0)
    magnitude = (magnitude & ~0xfffull) | ((magnitude & 0xfff) != 0) << 11;
  double wide = static_cast<double>(magnitude);
  return negative ? -wide : wide;
}

/// One rounding, and +0 for 0: without a vector instruction for 64 bits
/// compilers convert by a subtraction, which gives -0 when rounding down.
double integerToDouble(uint64_t value, bool isSigned) {
  auto piece = [=](unsigned shift, uint64_t mask) {
    return static_cast<double>(static_cast<int32_t>(value >> shift & mask));
  };
  // The upper 20 bits carry the sign.
  double top = isSigned ? static_cast<double>(static_cast<int32_t>(
                              static_cast<int64_t>(value) >> 44))
                        : piece(44, 0xfffff);
  return (top * 0x1p44 + piece(22, 0x3fffff) * 0x1p22) + piece(0, 0x3fffff);
}

template <typename S>
void integerToFloat(LaneState &w, const Inst &i, uint32_t mask) {
  const S *a = w.at<S>(i.src[0]);
  bool isSigned = isSignedInt(sourceType(i));
  unsigned bits = bitsOf(sourceType(i));
  auto value = [=](unsigned l) { return extend(a[l], bits, isSigned); };
  auto asSigned = [=](unsigned l) { return static_cast<int64_t>(value(l)); };
  switch (targetType(i)) {
  case Type::F32:
    return isSigned || bits < 64
               ? perLane(
                     w.at<float>(i.dst), mask,
                     [=](unsigned l) {
                       return static_cast<float>(asSigned(l));
                     })
               : perLane(
                     w.at<float>(i.dst), mask,
                     [=](unsigned l) { return static_cast<float>(value(l)); });
  case Type::F64:
    return perLane(w.at<double>(i.dst), mask, [=](unsigned l) {
      return integerToDouble(value(l), isSigned);
    });
  default:
    break;
  }
  const Format &format = targetType(i) == Type::F16 ? halfFormat : bfloatFormat;
  RoundTo mode = roundingOf(i);
  perLane(w.at<uint16_t>(i.dst), mask, [&](unsigned l) {
    return static_cast<uint16_t>(
        roundTo(toDoubleOdd(value(l), isSigned), format, mode));
  });
}

template <typename S> Handler integerTo(unsigned size) {
  return byBytes(
      size, [](auto t) { return integerToInteger<S, TypeOf<decltype(t)>>; });
}

} // namespace

Handler selectIntegerConvert(const LeafQuery &q) {
  bool toFloat = q.type == Type::F16 || q.type == Type::BF16 ||
                 q.type == Type::F32 || q.type == Type::F64;
  return byBytes(q.srcSize, [&](auto t) {
    using S = TypeOf<decltype(t)>;
    return toFloat ? integerToFloat<S> : integerTo<S>(q.dstSize);
  });
}

} // namespace ptxvm::PTXVM_ISA
