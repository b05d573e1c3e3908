// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// atom and red (PTX ISA 9.0, section 9.7.13). Lanes take their turns in lane
// order; blocks meet through the host's atomics.
#include "../Checks/Checks.h"
#include "Leaf/Leaf.h"

#define PTXVM_ISA generic
#include "Leaf/Formats.h"

namespace ptxvm::handlers {
namespace {

using namespace ptxvm::generic;

template <typename T> T integerResult(AtomicOp op, T old, T value, T compare) {
  switch (op) {
  case AtomicOp::Add:
    return static_cast<T>(old + value);
  case AtomicOp::Min:
    return value < old ? value : old;
  case AtomicOp::Max:
    return value > old ? value : old;
  case AtomicOp::Inc:
    return old >= value ? T(0) : static_cast<T>(old + 1);
  case AtomicOp::Dec:
    return old == 0 || old > value ? value : static_cast<T>(old - 1);
  case AtomicOp::And:
    return old & value;
  case AtomicOp::Or:
    return old | value;
  case AtomicOp::Xor:
    return old ^ value;
  case AtomicOp::Exchange:
    return value;
  case AtomicOp::CompareSwap:
    return old == value ? compare : old;
  }
  return old;
}

uint16_t halfResult(AtomicOp op, bool isBfloat, uint16_t old, uint16_t value) {
  float a = isBfloat ? fromBfloat(old) : fromHalf(old);
  float b = isBfloat ? fromBfloat(value) : fromHalf(value);
  float result = op == AtomicOp::Add   ? a + b
                 : op == AtomicOp::Min ? (b < a || a != a ? b : a)
                                       : (b > a || a != a ? b : a);
  return isBfloat ? toBfloat(result) : toHalf(result);
}

/// The new value of a cell, all types as raw bits.
template <typename U>
U newValue(AtomicOp op, Type type, U old, U value, U compare) {
  using S = std::make_signed_t<U>;
  switch (type) {
  case Type::S32:
  case Type::S64:
    if (op == AtomicOp::Min || op == AtomicOp::Max)
      return static_cast<U>(
          integerResult<S>(op, static_cast<S>(old), static_cast<S>(value), 0));
    break;
  case Type::F32:
    return static_cast<U>(
        asBits(canonical(asFloat(static_cast<uint32_t>(old)) +
                         asFloat(static_cast<uint32_t>(value)))));
  case Type::F64:
    return static_cast<U>(asBits(canonical(asDouble(old) + asDouble(value))));
  case Type::F16:
  case Type::BF16:
    return static_cast<U>(halfResult(op, type == Type::BF16,
                                     static_cast<uint16_t>(old),
                                     static_cast<uint16_t>(value)));
  case Type::F16x2:
  case Type::BF16x2: {
    bool isBfloat = type == Type::BF16x2;
    uint32_t a = static_cast<uint32_t>(old), b = static_cast<uint32_t>(value);
    uint32_t low = halfResult(op, isBfloat, static_cast<uint16_t>(a),
                              static_cast<uint16_t>(b));
    uint32_t high = halfResult(op, isBfloat, static_cast<uint16_t>(a >> 16),
                               static_cast<uint16_t>(b >> 16));
    return static_cast<U>(high << 16 | low);
  }
  default:
    break;
  }
  return integerResult<U>(op, old, value, compare);
}

template <typename U>
U updateCell(uint8_t *cell, AtomicOp op, Type type, U value, U compare) {
  U *target = reinterpret_cast<U *>(cell);
  U old = __atomic_load_n(target, __ATOMIC_SEQ_CST);
  U fresh;
  do
    fresh = newValue<U>(op, type, old, value, compare);
  while (!__atomic_compare_exchange_n(target, &old, fresh, false,
                                      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
  return old;
}

template <typename U>
void updateLanes(Warp &warp, const Inst &inst, uint32_t mask, uint32_t allowed,
                 const Access &access) {
  const auto &list = warp.block->launch->program->lists[inst.ext];
  AtomicOp op = static_cast<AtomicOp>(inst.op);
  Type type = static_cast<Type>(inst.regSize);
  bool hasResult = list.size() > inst.count;
  for (unsigned k = 0; k < inst.count; ++k) {
    const U *value = warp.at<U>(list[k]);
    const U *swap = inst.src[2] == noRef ? value : warp.at<U>(inst.src[2]);
    U result[warpSize] = {};
    for (unsigned lane = 0; lane < warpSize; ++lane)
      if (allowed >> lane & 1)
        result[lane] = updateCell<U>(access.host[lane] + k * sizeof(U), op,
                                     type, value[lane], swap[lane]);
    if (hasResult)
      perLane(warp.at<U>(list[inst.count + k]), mask,
              [&](unsigned lane) { return result[lane]; });
  }
}

} // namespace

void atomic(LaneState &lanes, const Inst &inst, uint32_t mask) {
  Warp &warp = static_cast<Warp &>(lanes);
  Access access;
  unsigned bytes = inst.size * inst.count;
  uint32_t allowed =
      resolveAccess(warp, inst, mask, bytes, bytes, AccessKind::Atomic, access);
  warp.block->counters->atomicOperations +=
      static_cast<uint64_t>(__builtin_popcount(mask));
  switch (inst.size) {
  case 2:
    return updateLanes<uint16_t>(warp, inst, mask, allowed, access);
  case 4:
    return updateLanes<uint32_t>(warp, inst, mask, allowed, access);
  case 8:
    return updateLanes<uint64_t>(warp, inst, mask, allowed, access);
  default:
    return;
  }
}

} // namespace ptxvm::handlers
