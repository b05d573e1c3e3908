// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// f32 and f64 arithmetic (PTX ISA 9.0, section 9.7.3). Rounding modes and
// flushing come from the floating-point environment (floatModeHandler).
#include "Formats.h"

namespace ptxvm::PTXVM_ISA {
namespace {

struct AddOp {
  template <typename T> static T apply(T a, T b) { return a + b; }
};
struct SubOp {
  template <typename T> static T apply(T a, T b) { return a - b; }
};
struct MulOp {
  template <typename T> static T apply(T a, T b) { return a * b; }
};
struct DivOp {
  template <typename T> static T apply(T a, T b) { return a / b; }
};
struct FmaOp {
  static float apply(float a, float b, float c) {
    return __builtin_fmaf(a, b, c);
  }
  static double apply(double a, double b, double c) {
    return __builtin_fma(a, b, c);
  }
};
/// -0 is below +0; a NaN loses against a number.
template <typename T> bool below(T a, T b) {
  return a < b || (a == b && std::signbit(a) && !std::signbit(b));
}
struct MinOp {
  template <typename T> static T apply(T a, T b) {
    T smaller = below(a, b) ? a : b;
    return a != a ? b : (b != b ? a : smaller);
  }
};
struct MaxOp {
  template <typename T> static T apply(T a, T b) {
    T larger = below(a, b) ? b : a;
    return a != a ? b : (b != b ? a : larger);
  }
};
struct MinNanOp {
  template <typename T> static T apply(T a, T b) {
    return a != a || b != b ? a + b : MinOp::apply(a, b);
  }
};
struct MaxNanOp {
  template <typename T> static T apply(T a, T b) {
    return a != a || b != b ? a + b : MaxOp::apply(a, b);
  }
};
float withSigns(float magnitude, float a, float b) {
  uint32_t sign = (asBits(a) ^ asBits(b)) & 0x80000000u;
  return asFloat((asBits(magnitude) & 0x7fffffffu) | sign);
}
struct MinXorsignOp {
  static float apply(float a, float b) {
    return withSigns(MinOp::apply(std::fabs(a), std::fabs(b)), a, b);
  }
};
struct MaxXorsignOp {
  static float apply(float a, float b) {
    return withSigns(MaxOp::apply(std::fabs(a), std::fabs(b)), a, b);
  }
};
struct SqrtOp {
  static float apply(float a) { return __builtin_sqrtf(a); }
  static double apply(double a) { return __builtin_sqrt(a); }
};
struct ReciprocalOp {
  template <typename T> static T apply(T a) { return T(1) / a; }
};
struct RsqrtOp {
  template <typename T> static T apply(T a) {
    return static_cast<T>(1.0 / __builtin_sqrt(static_cast<double>(a)));
  }
};
/// rcp.approx.ftz.f64 and rsqrt.approx.ftz.f64 work on the upper 32 bits.
double upperWord(double value) {
  return asDouble(asBits(value) & 0xffffffff00000000ull);
}
struct ReciprocalApproxOp {
  static double apply(double a) { return upperWord(1.0 / upperWord(a)); }
};
struct Exp2Op {
  static float apply(float a) { return std::exp2(a); }
};
struct Log2Op {
  static float apply(float a) { return std::log2(a); }
};
struct SinOp {
  static float apply(float a) { return std::sin(a); }
};
struct CosOp {
  static float apply(float a) { return std::cos(a); }
};
struct TanhOp {
  static float apply(float a) { return std::tanh(a); }
};

uint32_t flushBits(uint32_t bits, bool flush) {
  return flush && (bits & 0x7f800000u) == 0 ? bits & 0x80000000u : bits;
}
/// Operations that hand an operand on, or look at its bits, do not flush by the
/// environment: .ftz is done by hand here.
template <typename OpT> struct Flushing {
  static float flushed(float value) {
    return asFloat(flushBits(asBits(value), true));
  }
  static float apply(float a) { return OpT::apply(flushed(a)); }
  static float apply(float a, float b) {
    return OpT::apply(flushed(a), flushed(b));
  }
};

template <typename T> T finish(T value, uint8_t flags) {
  if (flags & leaf::saturate)
    return value > T(0) ? (value < T(1) ? value : T(1)) : T(0);
  return canonical(value);
}

template <typename OpT, typename T>
void unary(LaneState &w, const Inst &i, uint32_t mask) {
  const T *a = w.at<T>(i.src[0]);
  uint8_t flags = i.flags;
  perLane(w.at<T>(i.dst), mask,
          [=](unsigned l) { return finish(OpT::apply(a[l]), flags); });
}
template <typename OpT, typename T>
void binary(LaneState &w, const Inst &i, uint32_t mask) {
  const T *a = w.at<T>(i.src[0]), *b = w.at<T>(i.src[1]);
  T *dst = w.at<T>(i.dst);
  if (i.flags == 0)
    return perLane(dst, mask, [=](unsigned l) {
      return canonical(OpT::apply(a[l], b[l]));
    });
  uint8_t flags = i.flags;
  perLane(dst, mask,
          [=](unsigned l) { return finish(OpT::apply(a[l], b[l]), flags); });
}
template <typename OpT, typename T>
void ternary(LaneState &w, const Inst &i, uint32_t mask) {
  const T *a = w.at<T>(i.src[0]), *b = w.at<T>(i.src[1]),
          *c = w.at<T>(i.src[2]);
  T *dst = w.at<T>(i.dst);
  if (i.flags == 0)
    return perLane(dst, mask, [=](unsigned l) {
      return canonical(OpT::apply(a[l], b[l], c[l]));
    });
  uint8_t flags = i.flags;
  perLane(dst, mask, [=](unsigned l) {
    return finish(OpT::apply(a[l], b[l], c[l]), flags);
  });
}

/// The forms for f32 that flush by hand when the instruction says so.
template <typename OpT>
void selection(LaneState &w, const Inst &i, uint32_t mask) {
  i.flush ? binary<Flushing<OpT>, float>(w, i, mask)
          : binary<OpT, float>(w, i, mask);
}
template <typename OpT>
void function(LaneState &w, const Inst &i, uint32_t mask) {
  i.flush ? unary<Flushing<OpT>, float>(w, i, mask)
          : unary<OpT, float>(w, i, mask);
}

// Sign operations touch bits, also of NaNs.
template <bool Negate>
void signFloat(LaneState &w, const Inst &i, uint32_t mask) {
  const uint32_t *a = w.at<uint32_t>(i.src[0]);
  bool flush = i.flush;
  perLane(w.at<uint32_t>(i.dst), mask, [=](unsigned l) {
    uint32_t bits = flushBits(a[l], flush);
    return Negate ? bits ^ 0x80000000u : bits & 0x7fffffffu;
  });
}
template <bool Negate>
void signDouble(LaneState &w, const Inst &i, uint32_t mask) {
  const uint64_t *a = w.at<uint64_t>(i.src[0]);
  perLane(w.at<uint64_t>(i.dst), mask, [=](unsigned l) {
    return Negate ? a[l] ^ 1ull << 63 : a[l] & ~(1ull << 63);
  });
}
/// The sign of the first operand, the magnitude of the second.
template <typename U>
void copySign(LaneState &w, const Inst &i, uint32_t mask) {
  const U *a = w.at<U>(i.src[0]), *b = w.at<U>(i.src[1]);
  constexpr U sign = U(1) << (sizeof(U) * 8 - 1);
  perLane(w.at<U>(i.dst), mask, [=](unsigned l) {
    return static_cast<U>((a[l] & sign) | (b[l] & ~sign));
  });
}

template <typename T> bool testLane(Op op, T value) {
  switch (op) {
  case Op::TestFinite:
    return std::isfinite(value);
  case Op::TestInfinite:
    return std::isinf(value);
  case Op::TestNumber:
    return !std::isnan(value);
  case Op::TestNan:
    return std::isnan(value);
  // Zero counts as normal (section 9.7.3.1).
  case Op::TestNormal:
    return std::isnormal(value) || value == 0;
  default:
    return std::fpclassify(value) == FP_SUBNORMAL;
  }
}
template <typename T> void test(LaneState &w, const Inst &i, uint32_t mask) {
  const T *a = w.at<T>(i.src[0]);
  Op op = static_cast<Op>(i.op);
  mergePredicate(w.predicate(i.dst), mask, gatherPredicate([=](unsigned l) {
                   return testLane(op, a[l]);
                 }));
}

template <typename OpT> Handler binaryFor(Type type) {
  return type == Type::F32   ? binary<OpT, float>
         : type == Type::F64 ? binary<OpT, double>
                             : static_cast<Handler>(nullptr);
}
template <typename OpT> Handler unaryFor(Type type) {
  return type == Type::F32   ? unary<OpT, float>
         : type == Type::F64 ? unary<OpT, double>
                             : static_cast<Handler>(nullptr);
}

} // namespace

Handler selectFloat(const LeafQuery &q) {
  bool single = q.type == Type::F32;
  if (!single && q.type != Type::F64)
    return nullptr;
  switch (q.op) {
  case Op::Add:
    return binaryFor<AddOp>(q.type);
  case Op::Sub:
    return binaryFor<SubOp>(q.type);
  case Op::Mul:
    return binaryFor<MulOp>(q.type);
  case Op::Div:
    return binaryFor<DivOp>(q.type);
  case Op::Min:
    return single ? selection<MinOp> : binary<MinOp, double>;
  case Op::Max:
    return single ? selection<MaxOp> : binary<MaxOp, double>;
  case Op::MinNan:
    return single ? selection<MinNanOp> : nullptr;
  case Op::MaxNan:
    return single ? selection<MaxNanOp> : nullptr;
  case Op::MinXorsign:
    return single ? selection<MinXorsignOp> : nullptr;
  case Op::MaxXorsign:
    return single ? selection<MaxXorsignOp> : nullptr;
  case Op::Fma:
    return single ? ternary<FmaOp, float> : ternary<FmaOp, double>;
  case Op::Abs:
    return single ? signFloat<false> : signDouble<false>;
  case Op::Neg:
    return single ? signFloat<true> : signDouble<true>;
  case Op::Copysign:
    return single ? copySign<uint32_t> : copySign<uint64_t>;
  case Op::Sqrt:
    return unaryFor<SqrtOp>(q.type);
  case Op::Reciprocal:
    return unaryFor<ReciprocalOp>(q.type);
  case Op::ReciprocalApprox:
    return single ? unary<ReciprocalOp, float>
                  : unary<ReciprocalApproxOp, double>;
  case Op::RsqrtApprox:
    return unaryFor<RsqrtOp>(q.type);
  case Op::Exp2:
    return single ? function<Exp2Op> : nullptr;
  case Op::Log2:
    return single ? function<Log2Op> : nullptr;
  case Op::Sin:
    return single ? function<SinOp> : nullptr;
  case Op::Cos:
    return single ? function<CosOp> : nullptr;
  case Op::Tanh:
    return single ? function<TanhOp> : nullptr;
  case Op::TestFinite:
  case Op::TestInfinite:
  case Op::TestNumber:
  case Op::TestNan:
  case Op::TestNormal:
  case Op::TestSubnormal:
    return single ? test<float> : test<double>;
  default:
    return nullptr;
  }
}

} // namespace ptxvm::PTXVM_ISA
