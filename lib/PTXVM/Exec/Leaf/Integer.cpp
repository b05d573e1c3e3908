// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Integer arithmetic (PTX ISA 9.0, section 9.7.1 and 9.7.2).
#include "Dispatch.h"

namespace ptxvm::PTXVM_ISA {
namespace {

template <typename T> struct Wider;
template <> struct Wider<uint8_t> {
  using type = uint16_t;
};
template <> struct Wider<int8_t> {
  using type = int16_t;
};
template <> struct Wider<uint16_t> {
  using type = uint32_t;
};
template <> struct Wider<int16_t> {
  using type = int32_t;
};
template <> struct Wider<uint32_t> {
  using type = uint64_t;
};
template <> struct Wider<int32_t> {
  using type = int64_t;
};
template <> struct Wider<uint64_t> {
  using type = unsigned __int128;
};
template <> struct Wider<int64_t> {
  using type = __int128;
};

template <typename T> struct Unsigned {
  using type = T;
};
template <> struct Unsigned<int16_t> {
  using type = uint16_t;
};
template <> struct Unsigned<int32_t> {
  using type = uint32_t;
};
template <> struct Unsigned<int64_t> {
  using type = uint64_t;
};

template <typename T> constexpr bool isSigned = T(-1) < T(0);
template <typename T>
constexpr T largest =
    isSigned<T> ? T(~(T(1) << (sizeof(T) * 8 - 1))) : T(~T(0));
template <typename T>
constexpr T smallest = isSigned<T> ? T(T(1) << (sizeof(T) * 8 - 1)) : T(0);

// Wrapping arithmetic goes through the unsigned type, and 16-bit products
// through 32 bits: signed overflow is undefined.
template <typename T> T wrapMul(T a, T b) {
  using U = typename Unsigned<T>::type;
  return static_cast<T>(static_cast<U>(
      static_cast<uint64_t>(static_cast<U>(a)) * static_cast<U>(b)));
}
template <typename T> T wrapAdd(T a, T b) {
  using U = typename Unsigned<T>::type;
  return static_cast<T>(static_cast<U>(static_cast<U>(a) + static_cast<U>(b)));
}
template <typename T> T wrapSub(T a, T b) {
  using U = typename Unsigned<T>::type;
  return static_cast<T>(static_cast<U>(static_cast<U>(a) - static_cast<U>(b)));
}
template <typename T> T highMul(T a, T b) {
  using W = typename Wider<T>::type;
  return static_cast<T>((static_cast<W>(a) * static_cast<W>(b)) >>
                        (sizeof(T) * 8));
}
template <typename T> T clampWide(typename Wider<T>::type value) {
  if (value > largest<T>)
    return largest<T>;
  return value < smallest<T> ? smallest<T> : static_cast<T>(value);
}

struct AddOp {
  template <typename T> static T apply(T a, T b) { return wrapAdd(a, b); }
};
struct SubOp {
  template <typename T> static T apply(T a, T b) { return wrapSub(a, b); }
};
struct MulOp {
  template <typename T> static T apply(T a, T b) { return wrapMul(a, b); }
};
struct MulHiOp {
  template <typename T> static T apply(T a, T b) { return highMul(a, b); }
};
struct DivOp {
  // Division by zero gives all ones, as the hardware does; the language leaves
  // it open. The most negative value over -1 wraps.
  template <typename T> static T apply(T a, T b) {
    if (b == 0)
      return static_cast<T>(~T(0));
    if (isSigned<T> && b == static_cast<T>(-1))
      return wrapSub(T(0), a);
    return static_cast<T>(a / b);
  }
};
struct RemOp {
  template <typename T> static T apply(T a, T b) {
    if (b == 0)
      return a;
    if (isSigned<T> && b == static_cast<T>(-1))
      return 0;
    return static_cast<T>(a % b);
  }
};
struct MinOp {
  template <typename T> static T apply(T a, T b) { return a < b ? a : b; }
};
struct MaxOp {
  template <typename T> static T apply(T a, T b) { return a > b ? a : b; }
};
template <typename OpT> struct Relu {
  template <typename T> static T apply(T a, T b) {
    return MaxOp::apply(OpT::apply(a, b), T(0));
  }
};
struct AddSatOp {
  template <typename T> static T apply(T a, T b) {
    using W = typename Wider<T>::type;
    return clampWide<T>(static_cast<W>(static_cast<W>(a) + b));
  }
};
struct SubSatOp {
  template <typename T> static T apply(T a, T b) {
    using W = typename Wider<T>::type;
    return clampWide<T>(static_cast<W>(static_cast<W>(a) - b));
  }
};
template <typename T> int64_t low24(T value) {
  return isSigned<T> ? static_cast<int64_t>(static_cast<int32_t>(
                           static_cast<uint32_t>(value) << 8)) >>
                           8
                     : static_cast<int64_t>(value & 0xffffff);
}
struct Mul24LoOp {
  template <typename T> static T apply(T a, T b) {
    return static_cast<T>(low24(a) * low24(b));
  }
};
struct Mul24HiOp {
  template <typename T> static T apply(T a, T b) {
    return static_cast<T>((low24(a) * low24(b)) >> 16);
  }
};

struct AbsOp {
  template <typename T> static T apply(T a) {
    return a < 0 ? wrapSub(T(0), a) : a;
  }
};
struct NegOp {
  template <typename T> static T apply(T a) { return wrapSub(T(0), a); }
};

struct MadOp {
  template <typename T> static T apply(T a, T b, T c) {
    return wrapAdd(wrapMul(a, b), c);
  }
};
struct MadHiOp {
  template <typename T> static T apply(T a, T b, T c) {
    return wrapAdd(highMul(a, b), c);
  }
};
struct MadSatOp {
  template <typename T> static T apply(T a, T b, T c) {
    return clampWide<T>(static_cast<typename Wider<T>::type>(highMul(a, b)) +
                        c);
  }
};
struct Mad24LoOp {
  template <typename T> static T apply(T a, T b, T c) {
    return wrapAdd(Mul24LoOp::apply(a, b), c);
  }
};
struct Mad24HiOp {
  template <typename T> static T apply(T a, T b, T c) {
    return wrapAdd(Mul24HiOp::apply(a, b), c);
  }
};
struct SadOp {
  template <typename T> static T apply(T a, T b, T c) {
    return wrapAdd(c, a < b ? wrapSub(b, a) : wrapSub(a, b));
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
template <typename OpT, typename T>
void ternary(LaneState &w, const Inst &i, uint32_t mask) {
  const T *a = w.at<T>(i.src[0]), *b = w.at<T>(i.src[1]),
          *c = w.at<T>(i.src[2]);
  perLane(w.at<T>(i.dst), mask,
          [=](unsigned l) { return OpT::apply(a[l], b[l], c[l]); });
}

template <typename T> void mulWide(LaneState &w, const Inst &i, uint32_t mask) {
  using W = typename Wider<T>::type;
  const T *a = w.at<T>(i.src[0]), *b = w.at<T>(i.src[1]);
  perLane(w.at<W>(i.dst), mask, [=](unsigned l) {
    return static_cast<W>(static_cast<W>(a[l]) * static_cast<W>(b[l]));
  });
}
template <typename T> void madWide(LaneState &w, const Inst &i, uint32_t mask) {
  using W = typename Wider<T>::type;
  const T *a = w.at<T>(i.src[0]), *b = w.at<T>(i.src[1]);
  const W *c = w.at<W>(i.src[2]);
  perLane(w.at<W>(i.dst), mask, [=](unsigned l) {
    W product = static_cast<W>(static_cast<W>(a[l]) * static_cast<W>(b[l]));
    return wrapAdd(product, c[l]);
  });
}

/// Extended-precision add, subtract and multiply-add: the carry lives in the
/// first word of the special file, one bit per lane.
struct CarryAdd {
  template <typename T> static unsigned __int128 apply(T a, T b, T, bool in) {
    return static_cast<unsigned __int128>(a) + b + in;
  }
};
struct CarrySub {
  template <typename T> static unsigned __int128 apply(T a, T b, T, bool in) {
    return static_cast<unsigned __int128>(a) - b - in;
  }
};
struct CarryMad {
  template <typename T> static unsigned __int128 apply(T a, T b, T c, bool in) {
    return static_cast<unsigned __int128>(wrapMul(a, b)) + c + in;
  }
};
template <typename Signed> struct CarryMadHi {
  template <typename T> static unsigned __int128 apply(T a, T b, T c, bool in) {
    T high =
        static_cast<T>(highMul(static_cast<Signed>(a), static_cast<Signed>(b)));
    return static_cast<unsigned __int128>(high) + c + in;
  }
};
template <typename OpT, typename T>
void withCarry(LaneState &w, const Inst &i, uint32_t mask) {
  const T *a = w.at<T>(i.src[0]), *b = w.at<T>(i.src[1]);
  const T *c = i.src[2] == noRef ? a : w.at<T>(i.src[2]);
  uint32_t &carries = w.predicate(makeRef(File::Special, 0));
  uint32_t in = i.flags & leaf::carryIn ? carries : 0;
  T fresh[warpSize];
  uint32_t out = 0;
  for (unsigned l = 0; l < warpSize; ++l) {
    unsigned __int128 wide = OpT::apply(a[l], b[l], c[l], in >> l & 1);
    fresh[l] = static_cast<T>(wide);
    out |= static_cast<uint32_t>(wide >> (sizeof(T) * 8) & 1) << l;
  }
  perLane(w.at<T>(i.dst), mask, [&](unsigned l) { return fresh[l]; });
  if (i.flags & leaf::carryOut)
    mergePredicate(carries, mask, out);
}

int32_t byteOf(uint32_t word, unsigned index, bool isSignedByte) {
  uint32_t raw = word >> (8 * index) & 0xff;
  return isSignedByte ? static_cast<int8_t>(raw) : static_cast<int32_t>(raw);
}
/// flags: 1 a is signed, 2 b is signed; op: first byte of b for dp2a.
void dot4(LaneState &w, const Inst &i, uint32_t mask) {
  const uint32_t *a = w.at<uint32_t>(i.src[0]), *b = w.at<uint32_t>(i.src[1]),
                 *c = w.at<uint32_t>(i.src[2]);
  bool sa = i.flags & 1, sb = i.flags & 2;
  perLane(w.at<uint32_t>(i.dst), mask, [=](unsigned l) {
    int32_t sum = 0;
    for (unsigned k = 0; k < 4; ++k)
      sum += byteOf(a[l], k, sa) * byteOf(b[l], k, sb);
    return static_cast<uint32_t>(sum) + c[l];
  });
}
void dot2(LaneState &w, const Inst &i, uint32_t mask) {
  const uint32_t *a = w.at<uint32_t>(i.src[0]), *b = w.at<uint32_t>(i.src[1]),
                 *c = w.at<uint32_t>(i.src[2]);
  bool sa = i.flags & 1, sb = i.flags & 2;
  unsigned first = i.op;
  perLane(w.at<uint32_t>(i.dst), mask, [=](unsigned l) {
    int64_t sum = 0;
    for (unsigned k = 0; k < 2; ++k) {
      uint32_t half = a[l] >> (16 * k) & 0xffff;
      int64_t wide =
          sa ? static_cast<int16_t>(half) : static_cast<int64_t>(half);
      sum += wide * byteOf(b[l], first + k, sb);
    }
    return static_cast<uint32_t>(sum) + c[l];
  });
}

template <typename OpT, unsigned Sizes = 2 | 4 | 8>
Handler unaryFor(Type type) {
  return byInteger<Sizes>(
      type, [](auto t) { return unary<OpT, TypeOf<decltype(t)>>; });
}
template <typename OpT, unsigned Sizes = 2 | 4 | 8>
Handler binaryFor(Type type) {
  return byInteger<Sizes>(
      type, [](auto t) { return binary<OpT, TypeOf<decltype(t)>>; });
}
template <typename OpT, unsigned Sizes = 2 | 4 | 8>
Handler ternaryFor(Type type) {
  return byInteger<Sizes>(
      type, [](auto t) { return ternary<OpT, TypeOf<decltype(t)>>; });
}
template <typename OpT> Handler carryFor(Type type) {
  return bySize<4 | 8>(
      type, [](auto t) { return withCarry<OpT, TypeOf<decltype(t)>>; });
}
Handler carryMadHi(Type type) {
  return byInteger<4 | 8>(type, [](auto t) {
    using T = TypeOf<decltype(t)>;
    return withCarry<CarryMadHi<T>, typename Unsigned<T>::type>;
  });
}

// Packed 16-bit integers: two independent halves.
template <typename OpT, typename T>
void packed(LaneState &w, const Inst &i, uint32_t mask) {
  const uint32_t *a = w.at<uint32_t>(i.src[0]), *b = w.at<uint32_t>(i.src[1]);
  perLane(w.at<uint32_t>(i.dst), mask, [=](unsigned l) {
    T low = OpT::apply(static_cast<T>(a[l]), static_cast<T>(b[l]));
    T high = OpT::apply(static_cast<T>(a[l] >> 16), static_cast<T>(b[l] >> 16));
    return static_cast<uint32_t>(static_cast<uint16_t>(low)) |
           static_cast<uint32_t>(static_cast<uint16_t>(high)) << 16;
  });
}
template <typename OpT> Handler packedFor(Type type) {
  if (type == Type::U16x2)
    return packed<OpT, uint16_t>;
  return type == Type::S16x2 ? packed<OpT, int16_t> : nullptr;
}

Handler selectPacked(const LeafQuery &q) {
  switch (q.op) {
  case Op::Add:
    return packedFor<AddOp>(q.type);
  case Op::Min:
    return packedFor<MinOp>(q.type);
  case Op::Max:
    return packedFor<MaxOp>(q.type);
  case Op::MinRelu:
    return q.type == Type::S16x2 ? packed<Relu<MinOp>, int16_t> : nullptr;
  case Op::MaxRelu:
    return q.type == Type::S16x2 ? packed<Relu<MaxOp>, int16_t> : nullptr;
  default:
    return nullptr;
  }
}

} // namespace

Handler selectInteger(const LeafQuery &q) {
  if (q.type == Type::U16x2 || q.type == Type::S16x2)
    return selectPacked(q);
  switch (q.op) {
  case Op::Add:
    return binaryFor<AddOp>(q.type);
  case Op::Sub:
    return binaryFor<SubOp>(q.type);
  case Op::Mul:
    return binaryFor<MulOp>(q.type);
  case Op::MulHi:
    return binaryFor<MulHiOp>(q.type);
  case Op::Div:
    return binaryFor<DivOp>(q.type);
  case Op::Rem:
    return binaryFor<RemOp>(q.type);
  case Op::Min:
    return binaryFor<MinOp>(q.type);
  case Op::Max:
    return binaryFor<MaxOp>(q.type);
  case Op::MinRelu:
    return q.type == Type::S32 ? binary<Relu<MinOp>, int32_t> : nullptr;
  case Op::MaxRelu:
    return q.type == Type::S32 ? binary<Relu<MaxOp>, int32_t> : nullptr;
  case Op::AddSat:
    return q.type == Type::S32 ? binary<AddSatOp, int32_t> : nullptr;
  case Op::SubSat:
    return q.type == Type::S32 ? binary<SubSatOp, int32_t> : nullptr;
  case Op::MadSat:
    return q.type == Type::S32 ? ternary<MadSatOp, int32_t> : nullptr;
  case Op::Mul24Lo:
    return binaryFor<Mul24LoOp, 4>(q.type);
  case Op::Mul24Hi:
    return binaryFor<Mul24HiOp, 4>(q.type);
  case Op::Mad24Lo:
    return ternaryFor<Mad24LoOp, 4>(q.type);
  case Op::Mad24Hi:
    return ternaryFor<Mad24HiOp, 4>(q.type);
  case Op::Mad:
    return ternaryFor<MadOp>(q.type);
  case Op::MadHi:
    return ternaryFor<MadHiOp>(q.type);
  case Op::Sad:
    return ternaryFor<SadOp>(q.type);
  case Op::MulWide:
    return byInteger<2 | 4>(
        q.type, [](auto t) { return mulWide<TypeOf<decltype(t)>>; });
  case Op::MadWide:
    return byInteger<2 | 4>(
        q.type, [](auto t) { return madWide<TypeOf<decltype(t)>>; });
  case Op::Abs:
    return unaryFor<AbsOp>(q.type);
  case Op::Neg:
    return unaryFor<NegOp>(q.type);
  case Op::AddC:
    return carryFor<CarryAdd>(q.type);
  case Op::SubC:
    return carryFor<CarrySub>(q.type);
  case Op::MadC:
    return carryFor<CarryMad>(q.type);
  case Op::MadHiC:
    return carryMadHi(q.type);
  case Op::Dp4a:
    return dot4;
  case Op::Dp2aLo:
  case Op::Dp2aHi:
    return dot2;
  default:
    return nullptr;
  }
}

} // namespace ptxvm::PTXVM_ISA
