// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// mov, selp, slct, pack, unpack and predicate logic (PTX ISA 9.0, section
// 9.7.9).
#include "Dispatch.h"

namespace ptxvm::PTXVM_ISA {
namespace {

struct Wide {
  uint64_t low, high;
};

template <typename T> void move(LaneState &w, const Inst &i, uint32_t mask) {
  const T *a = w.at<T>(i.src[0]);
  perLane(w.at<T>(i.dst), mask, [=](unsigned l) { return a[l]; });
}
template <typename T> void select(LaneState &w, const Inst &i, uint32_t mask) {
  const T *a = w.at<T>(i.src[0]), *b = w.at<T>(i.src[1]);
  uint32_t chosen = w.predicate(i.src[2]) ^ static_cast<uint32_t>(i.imm);
  perLane(w.at<T>(i.dst), mask,
          [=](unsigned l) { return chosen >> l & 1 ? a[l] : b[l]; });
}
/// slct: a where c >= 0, b elsewhere (also for NaN).
template <typename T, typename C>
void selectSign(LaneState &w, const Inst &i, uint32_t mask) {
  const T *a = w.at<T>(i.src[0]), *b = w.at<T>(i.src[1]);
  const C *c = w.at<C>(i.src[2]);
  perLane(w.at<T>(i.dst), mask,
          [=](unsigned l) { return c[l] >= C(0) ? a[l] : b[l]; });
}

void movePredicate(LaneState &w, const Inst &i, uint32_t mask) {
  mergePredicate(w.predicate(i.dst), mask, w.predicate(i.src[0]));
}
void predAnd(LaneState &w, const Inst &i, uint32_t mask) {
  mergePredicate(w.predicate(i.dst), mask,
                 w.predicate(i.src[0]) & w.predicate(i.src[1]));
}
void predOr(LaneState &w, const Inst &i, uint32_t mask) {
  mergePredicate(w.predicate(i.dst), mask,
                 w.predicate(i.src[0]) | w.predicate(i.src[1]));
}
void predXor(LaneState &w, const Inst &i, uint32_t mask) {
  mergePredicate(w.predicate(i.dst), mask,
                 w.predicate(i.src[0]) ^ w.predicate(i.src[1]));
}
void predNot(LaneState &w, const Inst &i, uint32_t mask) {
  mergePredicate(w.predicate(i.dst), mask, ~w.predicate(i.src[0]));
}

/// Joins Count pieces of T into one D, the first lowest; pieces are src[].
template <typename T, typename D, unsigned Count>
void pack(LaneState &w, const Inst &i, uint32_t mask) {
  const T *piece[Count];
  for (unsigned k = 0; k < Count; ++k)
    piece[k] = w.at<T>(i.src[k]);
  perLane(w.at<D>(i.dst), mask, [&](unsigned l) {
    D whole;
    T parts[Count];
    for (unsigned k = 0; k < Count; ++k)
      parts[k] = piece[k][l];
    __builtin_memcpy(&whole, parts, sizeof(D));
    return whole;
  });
}
/// Piece Inst::op of the source, one instruction per piece.
template <typename T, typename S>
void unpack(LaneState &w, const Inst &i, uint32_t mask) {
  static_assert(sizeof(T) < sizeof(S), "a piece is smaller than its whole");
  const S *a = w.at<S>(i.src[0]);
  unsigned index = i.op;
  perLane(w.at<T>(i.dst), mask, [=](unsigned l) {
    T parts[sizeof(S) / sizeof(T)];
    __builtin_memcpy(parts, &a[l], sizeof(S));
    return parts[index];
  });
}

template <typename D> Handler packInto(unsigned pieceSize) {
  if (pieceSize * 2 == sizeof(D))
    return sizeof(D) == 2   ? pack<uint8_t, uint16_t, 2>
           : sizeof(D) == 4 ? pack<uint16_t, uint32_t, 2>
           : sizeof(D) == 8 ? pack<uint32_t, uint64_t, 2>
                            : pack<uint64_t, Wide, 2>;
  if (pieceSize * 4 == sizeof(D))
    return sizeof(D) == 4    ? pack<uint8_t, uint32_t, 4>
           : sizeof(D) == 8  ? pack<uint16_t, uint64_t, 4>
           : sizeof(D) == 16 ? pack<uint32_t, Wide, 4>
                             : static_cast<Handler>(nullptr);
  return nullptr;
}
/// mov has two or four pieces.
template <typename T, typename S> Handler unpackPieces() {
  if constexpr (sizeof(S) == 2 * sizeof(T) || sizeof(S) == 4 * sizeof(T))
    return unpack<T, S>;
  return nullptr;
}
template <typename S> Handler unpackFrom(unsigned pieceSize) {
  return byBytes(pieceSize,
                 [](auto t) { return unpackPieces<TypeOf<decltype(t)>, S>(); });
}

template <typename C> Handler selectSignFor(Type type) {
  return bySize<2 | 4 | 8>(
      type, [](auto t) { return selectSign<TypeOf<decltype(t)>, C>; });
}

} // namespace

Handler selectMove(const LeafQuery &q) {
  unsigned size = sizeOf(q.type);
  switch (q.op) {
  case Op::Move:
    return size == 16 ? move<Wide> : byBytes(size, [](auto t) {
      return move<TypeOf<decltype(t)>>;
    });
  case Op::Select:
    return size == 2   ? select<uint16_t>
           : size == 4 ? select<uint32_t>
           : size == 8 ? select<uint64_t>
                       : static_cast<Handler>(nullptr);
  case Op::SelectSign:
    return q.type2 == Type::F32 ? selectSignFor<float>(q.type)
                                : selectSignFor<int32_t>(q.type);
  case Op::Pack:
    return q.dstSize == 2    ? packInto<uint16_t>(q.srcSize)
           : q.dstSize == 4  ? packInto<uint32_t>(q.srcSize)
           : q.dstSize == 8  ? packInto<uint64_t>(q.srcSize)
           : q.dstSize == 16 ? packInto<Wide>(q.srcSize)
                             : nullptr;
  case Op::Unpack:
    return q.srcSize == 2    ? unpackFrom<uint16_t>(q.dstSize)
           : q.srcSize == 4  ? unpackFrom<uint32_t>(q.dstSize)
           : q.srcSize == 8  ? unpackFrom<uint64_t>(q.dstSize)
           : q.srcSize == 16 ? unpackFrom<Wide>(q.dstSize)
                             : nullptr;
  case Op::MovePredicate:
    return movePredicate;
  case Op::PredAnd:
    return predAnd;
  case Op::PredOr:
    return predOr;
  case Op::PredXor:
    return predXor;
  case Op::PredNot:
    return predNot;
  default:
    return nullptr;
  }
}

} // namespace ptxvm::PTXVM_ISA
