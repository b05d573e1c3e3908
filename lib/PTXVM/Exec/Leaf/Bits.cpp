// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Logic, shifts and bit fields (PTX ISA 9.0, sections 9.7.1 and 9.7.8).
#include "Dispatch.h"

namespace ptxvm::PTXVM_ISA {
namespace {

struct AndOp {
  template <typename T> static T apply(T a, T b) { return a & b; }
};
struct OrOp {
  template <typename T> static T apply(T a, T b) { return a | b; }
};
struct XorOp {
  template <typename T> static T apply(T a, T b) { return a ^ b; }
};
struct NotOp {
  template <typename T> static T apply(T a) { return static_cast<T>(~a); }
};
struct CnotOp {
  template <typename T> static T apply(T a) { return a == 0; }
};
struct ReverseOp {
  template <typename T> static T apply(T a) {
    T result = 0;
    for (unsigned bit = 0; bit < sizeof(T) * 8; ++bit)
      result |= (a >> bit & 1) << (sizeof(T) * 8 - 1 - bit);
    return result;
  }
};

template <typename OpT, typename T>
void unary(LaneState &w, const Inst &i, uint32_t mask) {
  const T *a = w.at<T>(i.src[0]);
  perLane(w.at<T>(i.dst), mask, [=](unsigned l) { return OpT::apply(a[l]); });
}
template <typename OpT, typename T>
void binary(LaneState &w, const Inst &i, uint32_t mask) {
  const T *a = w.at<T>(i.src[0]), *b = w.at<T>(i.src[1]);
  perLane(w.at<T>(i.dst), mask,
          [=](unsigned l) { return OpT::apply(a[l], b[l]); });
}
template <typename OpT> Handler unaryFor(Type type) {
  return bySize<2 | 4 | 8>(
      type, [](auto t) { return unary<OpT, TypeOf<decltype(t)>>; });
}
template <typename OpT> Handler binaryFor(Type type) {
  return bySize<2 | 4 | 8>(
      type, [](auto t) { return binary<OpT, TypeOf<decltype(t)>>; });
}

/// Shift amounts of at least the width shift everything out.
template <typename T>
void shiftLeft(LaneState &w, const Inst &i, uint32_t mask) {
  const T *a = w.at<T>(i.src[0]);
  const uint32_t *b = w.at<uint32_t>(i.src[1]);
  constexpr uint32_t bits = sizeof(T) * 8;
  perLane(w.at<T>(i.dst), mask, [=](unsigned l) {
    return static_cast<T>(b[l] < bits ? static_cast<T>(a[l] << (b[l] % bits))
                                      : T(0));
  });
}
template <typename T>
void shiftRight(LaneState &w, const Inst &i, uint32_t mask) {
  const T *a = w.at<T>(i.src[0]);
  const uint32_t *b = w.at<uint32_t>(i.src[1]);
  constexpr uint32_t bits = sizeof(T) * 8;
  constexpr bool isSigned = T(-1) < T(0);
  perLane(w.at<T>(i.dst), mask, [=](unsigned l) {
    uint32_t amount = b[l] < bits ? b[l] : bits - 1;
    T shifted = static_cast<T>(a[l] >> amount);
    return static_cast<T>(isSigned || b[l] < bits ? shifted : T(0));
  });
}
template <bool Left, bool Wrap>
void funnel(LaneState &w, const Inst &i, uint32_t mask) {
  const uint32_t *a = w.at<uint32_t>(i.src[0]), *b = w.at<uint32_t>(i.src[1]),
                 *c = w.at<uint32_t>(i.src[2]);
  perLane(w.at<uint32_t>(i.dst), mask, [=](unsigned l) {
    uint32_t amount = Wrap ? (c[l] & 31) : (c[l] < 32 ? c[l] : 32);
    uint64_t both = static_cast<uint64_t>(b[l]) << 32 | a[l];
    return static_cast<uint32_t>(Left ? (both << amount) >> 32
                                      : both >> amount);
  });
}

/// Any function of three bits: the sum of the minterms in the table.
void lop3(LaneState &w, const Inst &i, uint32_t mask) {
  const uint32_t *a = w.at<uint32_t>(i.src[0]), *b = w.at<uint32_t>(i.src[1]),
                 *c = w.at<uint32_t>(i.src[2]);
  uint32_t minterm[8];
  for (unsigned k = 0; k < 8; ++k)
    minterm[k] = i.imm >> k & 1 ? allLanes : 0;
  perLane(w.at<uint32_t>(i.dst), mask, [&](unsigned l) {
    uint32_t x = a[l], y = b[l], z = c[l];
    return (minterm[0] & ~x & ~y & ~z) | (minterm[1] & ~x & ~y & z) |
           (minterm[2] & ~x & y & ~z) | (minterm[3] & ~x & y & z) |
           (minterm[4] & x & ~y & ~z) | (minterm[5] & x & ~y & z) |
           (minterm[6] & x & y & ~z) | (minterm[7] & x & y & z);
  });
}

uint32_t permuteSelector(unsigned mode, uint32_t c) {
  uint32_t k = c & 3;
  switch (mode) {
  case 1:
    return k | (k + 1) << 4 | (k + 2) << 8 | (k + 3) << 12; // f4e
  case 2:
    return k | ((k + 7) & 7) << 4 | ((k + 6) & 7) << 8 |
           ((k + 5) & 7) << 12; // b4e
  case 3:
    return k * 0x1111; // rc8
  case 4:
    return (k > 0 ? k : 0) | (k > 1 ? k : 1) << 4 | (k > 2 ? k : 2) << 8 |
           3 << 12; // ecl
  case 5:
    return 0 | (k < 1 ? k : 1) << 4 | (k < 2 ? k : 2) << 8 | k << 12; // ecr
  case 6:
    return (k & 1) ? 0x3232 : 0x1010; // rc16
  default:
    return c;
  }
}
void permute(LaneState &w, const Inst &i, uint32_t mask) {
  const uint32_t *a = w.at<uint32_t>(i.src[0]), *b = w.at<uint32_t>(i.src[1]),
                 *c = w.at<uint32_t>(i.src[2]);
  unsigned mode = i.op;
  perLane(w.at<uint32_t>(i.dst), mask, [=](unsigned l) {
    uint64_t bytes = static_cast<uint64_t>(b[l]) << 32 | a[l];
    uint32_t selector = permuteSelector(mode, c[l]), result = 0;
    for (unsigned k = 0; k < 4; ++k) {
      uint32_t nibble = selector >> (4 * k) & 0xf;
      uint32_t byte = bytes >> (8 * (nibble & 7)) & 0xff;
      if (nibble & 8)
        byte = byte & 0x80 ? 0xff : 0;
      result |= byte << (8 * k);
    }
    return result;
  });
}

template <typename T>
void bitExtract(LaneState &w, const Inst &i, uint32_t mask) {
  const T *a = w.at<T>(i.src[0]);
  const uint32_t *b = w.at<uint32_t>(i.src[1]), *c = w.at<uint32_t>(i.src[2]);
  constexpr bool isSigned = T(-1) < T(0);
  constexpr unsigned width = sizeof(T) * 8;
  perLane(w.at<T>(i.dst), mask, [=](unsigned l) {
    unsigned position = b[l] & 0xff, length = c[l] & 0xff;
    unsigned last = position + length - 1;
    bool sign = isSigned && length != 0 &&
                (a[l] >> (last < width - 1 ? last : width - 1) & 1);
    T result = 0;
    for (unsigned k = 0; k < width; ++k) {
      bool bit = k < length && position + k < width ? a[l] >> (position + k) & 1
                                                    : sign;
      result =
          static_cast<T>(result | static_cast<T>(static_cast<T>(bit) << k));
    }
    return result;
  });
}
template <typename T>
void bitInsert(LaneState &w, const Inst &i, uint32_t mask) {
  const T *a = w.at<T>(i.src[0]), *b = w.at<T>(i.src[1]);
  const uint32_t *c = w.at<uint32_t>(i.src[2]), *d = w.at<uint32_t>(i.src[3]);
  constexpr unsigned width = sizeof(T) * 8;
  perLane(w.at<T>(i.dst), mask, [=](unsigned l) {
    unsigned position = c[l] & 0xff, length = d[l] & 0xff;
    if (position >= width || length == 0)
      return b[l];
    T field = length >= width ? T(~T(0)) : T((T(1) << length) - 1);
    T selected = static_cast<T>(field << position);
    return static_cast<T>((b[l] & ~selected) |
                          (static_cast<T>(a[l] << position) & selected));
  });
}

/// imm: 1 gives the shift amount that brings the bit to the top.
template <typename T> void findBit(LaneState &w, const Inst &i, uint32_t mask) {
  const T *a = w.at<T>(i.src[0]);
  constexpr bool isSigned = T(-1) < T(0);
  constexpr unsigned width = sizeof(T) * 8;
  bool asShift = i.imm != 0;
  perLane(w.at<uint32_t>(i.dst), mask, [=](unsigned l) {
    uint64_t value = static_cast<uint64_t>(a[l]);
    if (isSigned && a[l] < 0)
      value = ~value;
    if (width == 32)
      value &= 0xffffffffu;
    if (value == 0)
      return ~0u;
    uint32_t bit = 63u - static_cast<uint32_t>(__builtin_clzll(value));
    return asShift ? width - 1 - bit : bit;
  });
}
template <typename T>
void popCount(LaneState &w, const Inst &i, uint32_t mask) {
  const T *a = w.at<T>(i.src[0]);
  perLane(w.at<uint32_t>(i.dst), mask, [=](unsigned l) {
    return static_cast<uint32_t>(__builtin_popcountll(a[l]));
  });
}
template <typename T>
void leadingZeros(LaneState &w, const Inst &i, uint32_t mask) {
  const T *a = w.at<T>(i.src[0]);
  constexpr unsigned width = sizeof(T) * 8;
  perLane(w.at<uint32_t>(i.dst), mask, [=](unsigned l) {
    return a[l] == 0
               ? width
               : static_cast<uint32_t>(__builtin_clzll(a[l])) - (64 - width);
  });
}

template <bool Wrap> void bitMask(LaneState &w, const Inst &i, uint32_t mask) {
  const uint32_t *a = w.at<uint32_t>(i.src[0]), *b = w.at<uint32_t>(i.src[1]);
  perLane(w.at<uint32_t>(i.dst), mask, [=](unsigned l) {
    uint32_t position = Wrap ? a[l] & 31 : a[l],
             length = Wrap ? b[l] & 31 : b[l];
    if (position > 31)
      return 0u;
    uint64_t field = length >= 32 ? 0xffffffffull : (1ull << length) - 1;
    return static_cast<uint32_t>(field << position);
  });
}

} // namespace

Handler selectBits(const LeafQuery &q) {
  bool wide = sizeOf(q.type) == 8;
  switch (q.op) {
  case Op::And:
    return binaryFor<AndOp>(q.type);
  case Op::Or:
    return binaryFor<OrOp>(q.type);
  case Op::Xor:
    return binaryFor<XorOp>(q.type);
  case Op::Not:
    return unaryFor<NotOp>(q.type);
  case Op::Cnot:
    return unaryFor<CnotOp>(q.type);
  case Op::Reverse:
    return unaryFor<ReverseOp>(q.type);
  case Op::Lop3:
    return lop3;
  case Op::Shl:
    return bySize<2 | 4 | 8>(
        q.type, [](auto t) { return shiftLeft<TypeOf<decltype(t)>>; });
  case Op::Shr:
    return byInteger<2 | 4 | 8>(
        q.type, [](auto t) { return shiftRight<TypeOf<decltype(t)>>; });
  case Op::FunnelLeftClamp:
    return funnel<true, false>;
  case Op::FunnelLeftWrap:
    return funnel<true, true>;
  case Op::FunnelRightClamp:
    return funnel<false, false>;
  case Op::FunnelRightWrap:
    return funnel<false, true>;
  case Op::Permute:
    return permute;
  case Op::BitExtract:
    return byInteger<4 | 8>(
        q.type, [](auto t) { return bitExtract<TypeOf<decltype(t)>>; });
  case Op::BitInsert:
    return wide ? bitInsert<uint64_t> : bitInsert<uint32_t>;
  case Op::FindBit:
    return byInteger<4 | 8>(
        q.type, [](auto t) { return findBit<TypeOf<decltype(t)>>; });
  case Op::PopCount:
    return wide ? popCount<uint64_t> : popCount<uint32_t>;
  case Op::LeadingZeros:
    return wide ? leadingZeros<uint64_t> : leadingZeros<uint32_t>;
  case Op::BitMaskClamp:
    return bitMask<false>;
  case Op::BitMaskWrap:
    return bitMask<true>;
  default:
    return nullptr;
  }
}

} // namespace ptxvm::PTXVM_ISA
