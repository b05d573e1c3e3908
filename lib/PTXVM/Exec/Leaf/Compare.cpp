// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// set, setp (PTX ISA 9.0, sections 9.7.6 and 9.7.7).
#include "Formats.h"

namespace ptxvm::PTXVM_ISA {
namespace {

struct Bfloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};
template <typename T> T widen(T value, bool) { return value; }
float widen(float value, bool flush) {
  return flush && (asBits(value) & 0x7f800000u) == 0 ? 0.0f : value;
}
float widen(Float16 value, bool flush) {
  return flush && (value.bits & 0x7c00) == 0 ? 0.0f : fromHalf(value.bits);
}
float widen(Bfloat16 value, bool) { return fromBfloat(value.bits); }

/// Ordered comparisons are false on NaN, unordered ones ("ltu") true.
template <Compare C, typename V> bool holds(V a, V b) {
  switch (C) {
  case Compare::Eq:
    return a == b;
  case Compare::Ne:
    return a < b || a > b;
  case Compare::Lt:
    return a < b;
  case Compare::Le:
    return a <= b;
  case Compare::Gt:
    return a > b;
  case Compare::Ge:
    return a >= b;
  case Compare::Equ:
    return !(a < b || a > b);
  case Compare::Neu:
    return !(a == b);
  case Compare::Ltu:
    return !(a >= b);
  case Compare::Leu:
    return !(a > b);
  case Compare::Gtu:
    return !(a <= b);
  case Compare::Geu:
    return !(a < b);
  case Compare::Num:
    return a == a && b == b;
  case Compare::Nan:
    return a != a || b != b;
  }
  return false;
}

template <Compare C, typename T>
uint32_t compareLanes(const T *a, const T *b, bool flush) {
  return gatherPredicate([=](unsigned l) {
    return holds<C>(widen(a[l], flush), widen(b[l], flush));
  });
}
template <typename T>
uint32_t compare(Compare op, const T *a, const T *b, bool flush) {
  switch (op) {
  case Compare::Eq:
    return compareLanes<Compare::Eq>(a, b, flush);
  case Compare::Ne:
    return compareLanes<Compare::Ne>(a, b, flush);
  case Compare::Lt:
    return compareLanes<Compare::Lt>(a, b, flush);
  case Compare::Le:
    return compareLanes<Compare::Le>(a, b, flush);
  case Compare::Gt:
    return compareLanes<Compare::Gt>(a, b, flush);
  case Compare::Ge:
    return compareLanes<Compare::Ge>(a, b, flush);
  case Compare::Equ:
    return compareLanes<Compare::Equ>(a, b, flush);
  case Compare::Neu:
    return compareLanes<Compare::Neu>(a, b, flush);
  case Compare::Ltu:
    return compareLanes<Compare::Ltu>(a, b, flush);
  case Compare::Leu:
    return compareLanes<Compare::Leu>(a, b, flush);
  case Compare::Gtu:
    return compareLanes<Compare::Gtu>(a, b, flush);
  case Compare::Geu:
    return compareLanes<Compare::Geu>(a, b, flush);
  case Compare::Num:
    return compareLanes<Compare::Num>(a, b, flush);
  case Compare::Nan:
    return compareLanes<Compare::Nan>(a, b, flush);
  }
  return 0;
}

/// Joins the predicate operand (src[2]) to a comparison's result.
uint32_t combine(LaneState &w, const Inst &i, uint32_t bits) {
  unsigned how = i.flags & leaf::combineMask;
  if (how == 0)
    return bits;
  uint32_t other = w.predicate(i.src[2]);
  if (i.flags & leaf::combineInvert)
    other = ~other;
  return how == 1 ? bits & other : how == 2 ? bits | other : bits ^ other;
}

template <typename T>
void setPredicate(LaneState &w, const Inst &i, uint32_t mask) {
  uint32_t bits = compare(static_cast<Compare>(i.op), w.at<T>(i.src[0]),
                          w.at<T>(i.src[1]), i.flush);
  uint32_t first = combine(w, i, bits), second = combine(w, i, ~bits);
  if (i.dst != noRef)
    mergePredicate(w.predicate(i.dst), mask, first);
  if (i.flags & leaf::hasSecondPredicate)
    mergePredicate(w.predicate(i.dst2), mask, second);
}

/// set: all ones, or 1.0 for floating-point results (imm).
template <typename T, typename D>
void setValue(LaneState &w, const Inst &i, uint32_t mask) {
  uint32_t bits = combine(w, i,
                          compare(static_cast<Compare>(i.op), w.at<T>(i.src[0]),
                                  w.at<T>(i.src[1]), i.flush));
  D yes = static_cast<D>(i.imm);
  perLane(w.at<D>(i.dst), mask,
          [=](unsigned l) { return bits >> l & 1 ? yes : D(0); });
}

// Packed halves: the first predicate takes the low halves, the second the high.
template <typename H>
void comparePacked(const Inst &i, LaneState &w, uint32_t &low, uint32_t &high) {
  const uint32_t *a = w.at<uint32_t>(i.src[0]), *b = w.at<uint32_t>(i.src[1]);
  H parts[4][warpSize];
  for (unsigned l = 0; l < warpSize; ++l) {
    parts[0][l].bits = static_cast<uint16_t>(a[l]);
    parts[1][l].bits = static_cast<uint16_t>(b[l]);
    parts[2][l].bits = static_cast<uint16_t>(a[l] >> 16);
    parts[3][l].bits = static_cast<uint16_t>(b[l] >> 16);
  }
  Compare op = static_cast<Compare>(i.op);
  low = combine(w, i, compare(op, parts[0], parts[1], i.flush));
  high = combine(w, i, compare(op, parts[2], parts[3], i.flush));
}
template <typename H>
void setPredicatePacked(LaneState &w, const Inst &i, uint32_t mask) {
  uint32_t low, high;
  comparePacked<H>(i, w, low, high);
  mergePredicate(w.predicate(i.dst), mask, low);
  if (i.flags & leaf::hasSecondPredicate)
    mergePredicate(w.predicate(i.dst2), mask, high);
}
template <typename H>
void setValuePacked(LaneState &w, const Inst &i, uint32_t mask) {
  uint32_t low, high;
  comparePacked<H>(i, w, low, high);
  uint32_t yes = static_cast<uint32_t>(i.imm) & 0xffff;
  perLane(w.at<uint32_t>(i.dst), mask, [=](unsigned l) {
    return (low >> l & 1 ? yes : 0) | (high >> l & 1 ? yes << 16 : 0);
  });
}

Handler predicateFor(Type type) {
  switch (type) {
  case Type::B16:
  case Type::U16:
    return setPredicate<uint16_t>;
  case Type::B32:
  case Type::U32:
    return setPredicate<uint32_t>;
  case Type::B64:
  case Type::U64:
    return setPredicate<uint64_t>;
  case Type::S16:
    return setPredicate<int16_t>;
  case Type::S32:
    return setPredicate<int32_t>;
  case Type::S64:
    return setPredicate<int64_t>;
  case Type::F32:
    return setPredicate<float>;
  case Type::F64:
    return setPredicate<double>;
  case Type::F16:
    return setPredicate<Float16>;
  case Type::BF16:
    return setPredicate<Bfloat16>;
  case Type::F16x2:
    return setPredicatePacked<Float16>;
  case Type::BF16x2:
    return setPredicatePacked<Bfloat16>;
  default:
    return nullptr;
  }
}
template <typename D> Handler valueFor(Type type) {
  switch (type) {
  case Type::B16:
  case Type::U16:
    return setValue<uint16_t, D>;
  case Type::B32:
  case Type::U32:
    return setValue<uint32_t, D>;
  case Type::B64:
  case Type::U64:
    return setValue<uint64_t, D>;
  case Type::S16:
    return setValue<int16_t, D>;
  case Type::S32:
    return setValue<int32_t, D>;
  case Type::S64:
    return setValue<int64_t, D>;
  case Type::F32:
    return setValue<float, D>;
  case Type::F64:
    return setValue<double, D>;
  case Type::F16:
    return setValue<Float16, D>;
  case Type::BF16:
    return setValue<Bfloat16, D>;
  default:
    return nullptr;
  }
}

} // namespace

Handler selectCompare(const LeafQuery &q) {
  if (q.op == Op::SetPredicate)
    return predicateFor(q.type);
  if (q.op != Op::SetValue)
    return nullptr;
  if (q.type == Type::F16x2)
    return setValuePacked<Float16>;
  if (q.type == Type::BF16x2)
    return setValuePacked<Bfloat16>;
  return sizeOf(q.type2) == 2 ? valueFor<uint16_t>(q.type)
                              : valueFor<uint32_t>(q.type);
}

} // namespace ptxvm::PTXVM_ISA
