// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// f16, bf16 and their packed forms (PTX ISA 9.0, section 9.7.4). Sums and
// products of two 11-bit (8-bit) numbers round correctly through f32; fused
// multiply-adds go through a double rounded to odd.
#include "Formats.h"

namespace ptxvm::PTXVM_ISA {
namespace {

struct Half {
  static constexpr const Format &format = halfFormat;
  static constexpr uint16_t nan = 0x7fff, infinity = 0x7c00, one = 0x3c00;
  static float widen(uint16_t bits) { return fromHalf(bits); }
  static uint16_t narrow(float value) { return toHalf(value); }
};
struct Bfloat {
  static constexpr const Format &format = bfloatFormat;
  static constexpr uint16_t nan = 0x7fff, infinity = 0x7f80, one = 0x3f80;
  static float widen(uint16_t bits) { return fromBfloat(bits); }
  static uint16_t narrow(float value) { return toBfloat(value); }
};

template <typename F> bool isNan(uint16_t bits) {
  return (bits & 0x7fff) > F::infinity;
}
template <typename F> uint16_t flushHalf(uint16_t bits, bool flush) {
  return flush && (bits & F::infinity) == 0
             ? static_cast<uint16_t>(bits & 0x8000)
             : bits;
}

struct AddOp {
  template <typename F> static uint16_t apply(uint16_t a, uint16_t b) {
    return F::narrow(F::widen(a) + F::widen(b));
  }
};
struct SubOp {
  template <typename F> static uint16_t apply(uint16_t a, uint16_t b) {
    return F::narrow(F::widen(a) - F::widen(b));
  }
};
struct MulOp {
  template <typename F> static uint16_t apply(uint16_t a, uint16_t b) {
    // bf16 products may be f32 subnormals: round them from the exact double.
    double product = static_cast<double>(F::widen(a)) * F::widen(b);
    return static_cast<uint16_t>(roundTo(product, F::format, RoundTo::Nearest));
  }
};
template <> uint16_t MulOp::apply<Half>(uint16_t a, uint16_t b) {
  return toHalf(fromHalf(a) * fromHalf(b));
}
struct FmaOp {
  template <typename F>
  static uint16_t apply(uint16_t a, uint16_t b, uint16_t c) {
    double product = static_cast<double>(F::widen(a)) * F::widen(b);
    return static_cast<uint16_t>(
        roundTo(addToOdd(product, F::widen(c)), F::format, RoundTo::Nearest));
  }
};
template <typename F> bool below(uint16_t a, uint16_t b) {
  float x = F::widen(a), y = F::widen(b);
  return x < y || (x == y && (a >> 15) > (b >> 15));
}
struct MinOp {
  template <typename F> static uint16_t apply(uint16_t a, uint16_t b) {
    if (isNan<F>(a))
      return isNan<F>(b) ? F::nan : b;
    return isNan<F>(b) || below<F>(a, b) ? a : b;
  }
};
struct MaxOp {
  template <typename F> static uint16_t apply(uint16_t a, uint16_t b) {
    if (isNan<F>(a))
      return isNan<F>(b) ? F::nan : b;
    return isNan<F>(b) || below<F>(b, a) ? a : b;
  }
};
struct MinNanOp {
  template <typename F> static uint16_t apply(uint16_t a, uint16_t b) {
    return isNan<F>(a) || isNan<F>(b) ? F::nan : MinOp::apply<F>(a, b);
  }
};
struct MaxNanOp {
  template <typename F> static uint16_t apply(uint16_t a, uint16_t b) {
    return isNan<F>(a) || isNan<F>(b) ? F::nan : MaxOp::apply<F>(a, b);
  }
};
template <typename F> uint16_t withSigns(uint16_t magnitude, uint16_t signs) {
  return static_cast<uint16_t>((magnitude & 0x7fff) | (signs & 0x8000));
}
struct MinXorsignOp {
  template <typename F> static uint16_t apply(uint16_t a, uint16_t b) {
    uint16_t picked = MinOp::apply<F>(a & 0x7fff, b & 0x7fff);
    return isNan<F>(picked) ? picked : withSigns<F>(picked, a ^ b);
  }
};
struct MaxXorsignOp {
  template <typename F> static uint16_t apply(uint16_t a, uint16_t b) {
    uint16_t picked = MaxOp::apply<F>(a & 0x7fff, b & 0x7fff);
    return isNan<F>(picked) ? picked : withSigns<F>(picked, a ^ b);
  }
};
struct NegOp {
  template <typename F> static uint16_t apply(uint16_t a) {
    return isNan<F>(a) ? F::nan : static_cast<uint16_t>(a ^ 0x8000);
  }
};
struct AbsOp {
  template <typename F> static uint16_t apply(uint16_t a) {
    return isNan<F>(a) ? F::nan : static_cast<uint16_t>(a & 0x7fff);
  }
};
struct Exp2Op {
  template <typename F> static uint16_t apply(uint16_t a) {
    return F::narrow(std::exp2(F::widen(a)));
  }
};
struct TanhOp {
  template <typename F> static uint16_t apply(uint16_t a) {
    return F::narrow(std::tanh(F::widen(a)));
  }
};

/// .sat clamps to [0, 1], .relu to [0, inf); NaN becomes 0, or stays canonical.
template <typename F>
uint16_t finish(uint16_t value, uint8_t flags, bool flush) {
  value = flushHalf<F>(value, flush);
  if (flags & leaf::saturate) {
    float wide = F::widen(value);
    return wide > 0 ? (wide < 1 ? value : F::one) : uint16_t(0);
  }
  if (flags & leaf::relu)
    return isNan<F>(value) ? F::nan : (value & 0x8000 ? uint16_t(0) : value);
  return value;
}

/// Applies a 16-bit function to the one or two halves of each lane.
template <typename F, typename T, typename Fn>
void eachHalf(LaneState &w, const Inst &i, uint32_t mask, Fn compute) {
  T *dst = w.at<T>(i.dst);
  uint8_t flags = i.flags;
  bool flush = i.flush;
  perLane(dst, mask, [=](unsigned l) {
    T result = finish<F>(compute(l, 0), flags, flush);
    if (sizeof(T) == 4)
      result = static_cast<T>(
          result | static_cast<uint32_t>(finish<F>(compute(l, 1), flags, flush))
                       << 16);
    return result;
  });
}
template <typename F, typename T>
uint16_t part(T word, unsigned half, bool flush) {
  return flushHalf<F>(
      static_cast<uint16_t>(static_cast<uint32_t>(word) >> (16 * half)), flush);
}

template <typename OpT, typename F, typename T>
void unary(LaneState &w, const Inst &i, uint32_t mask) {
  const T *a = w.at<T>(i.src[0]);
  bool flush = i.flush;
  eachHalf<F, T>(w, i, mask, [=](unsigned l, unsigned h) {
    return OpT::template apply<F>(part<F>(a[l], h, flush));
  });
}
template <typename OpT, typename F, typename T>
void binary(LaneState &w, const Inst &i, uint32_t mask) {
  const T *a = w.at<T>(i.src[0]), *b = w.at<T>(i.src[1]);
  bool flush = i.flush;
  eachHalf<F, T>(w, i, mask, [=](unsigned l, unsigned h) {
    return OpT::template apply<F>(part<F>(a[l], h, flush),
                                  part<F>(b[l], h, flush));
  });
}
template <typename OpT, typename F, typename T>
void ternary(LaneState &w, const Inst &i, uint32_t mask) {
  const T *a = w.at<T>(i.src[0]), *b = w.at<T>(i.src[1]),
          *c = w.at<T>(i.src[2]);
  bool flush = i.flush;
  eachHalf<F, T>(w, i, mask, [=](unsigned l, unsigned h) {
    return OpT::template apply<F>(part<F>(a[l], h, flush),
                                  part<F>(b[l], h, flush),
                                  part<F>(c[l], h, flush));
  });
}
template <typename F>
void copySign(LaneState &w, const Inst &i, uint32_t mask) {
  const uint16_t *a = w.at<uint16_t>(i.src[0]), *b = w.at<uint16_t>(i.src[1]);
  perLane(w.at<uint16_t>(i.dst), mask, [=](unsigned l) {
    return static_cast<uint16_t>((a[l] & 0x8000) | (b[l] & 0x7fff));
  });
}

#define PTXVM_BY_HALF_TYPE(shape)                                              \
  switch (type) {                                                              \
  case Type::F16:                                                              \
    return shape<OpT, Half, uint16_t>;                                         \
  case Type::F16x2:                                                            \
    return shape<OpT, Half, uint32_t>;                                         \
  case Type::BF16:                                                             \
    return shape<OpT, Bfloat, uint16_t>;                                       \
  case Type::BF16x2:                                                           \
    return shape<OpT, Bfloat, uint32_t>;                                       \
  default:                                                                     \
    return nullptr;                                                            \
  }
template <typename OpT> Handler unaryFor(Type type) {
  PTXVM_BY_HALF_TYPE(unary)
}
template <typename OpT> Handler binaryFor(Type type) {
  PTXVM_BY_HALF_TYPE(binary)
}
template <typename OpT> Handler ternaryFor(Type type) {
  PTXVM_BY_HALF_TYPE(ternary)
}
#undef PTXVM_BY_HALF_TYPE

} // namespace

Handler selectHalf(const LeafQuery &q) {
  switch (q.op) {
  case Op::Add:
    return binaryFor<AddOp>(q.type);
  case Op::Sub:
    return binaryFor<SubOp>(q.type);
  case Op::Mul:
    return binaryFor<MulOp>(q.type);
  case Op::Min:
    return binaryFor<MinOp>(q.type);
  case Op::Max:
    return binaryFor<MaxOp>(q.type);
  case Op::MinNan:
    return binaryFor<MinNanOp>(q.type);
  case Op::MaxNan:
    return binaryFor<MaxNanOp>(q.type);
  case Op::MinXorsign:
    return binaryFor<MinXorsignOp>(q.type);
  case Op::MaxXorsign:
    return binaryFor<MaxXorsignOp>(q.type);
  case Op::Fma:
    return ternaryFor<FmaOp>(q.type);
  case Op::Neg:
    return unaryFor<NegOp>(q.type);
  case Op::Abs:
    return unaryFor<AbsOp>(q.type);
  case Op::Exp2:
    return unaryFor<Exp2Op>(q.type);
  case Op::Tanh:
    return unaryFor<TanhOp>(q.type);
  default:
    return nullptr;
  }
}

} // namespace ptxvm::PTXVM_ISA
