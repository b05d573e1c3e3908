// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Chooses between the copies of the leaves; sets the floating-point mode.
#include "Leaf.h"

#include <immintrin.h>
#include <initializer_list>

#ifndef __x86_64__
#error "the leaf instructions set the rounding mode through MXCSR: x86-64 only"
#endif

namespace ptxvm {
namespace {

bool hasAvx2() {
  static const bool has =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return has;
}

using Selector = Handler (*)(const LeafQuery &);

Handler firstOf(const LeafQuery &query,
                std::initializer_list<Selector> selectors) {
  for (Selector selector : selectors)
    if (Handler handler = selector(query))
      return handler;
  return nullptr;
}

void runInFloatMode(LaneState &lanes, const Inst &inst, uint32_t mask) {
  static constexpr unsigned modes[] = {_MM_ROUND_NEAREST, _MM_ROUND_TOWARD_ZERO,
                                       _MM_ROUND_DOWN, _MM_ROUND_UP};
  constexpr unsigned denormalsAreZero = 0x40;
  unsigned before = _mm_getcsr();
  unsigned wanted = (before & ~unsigned(_MM_ROUND_MASK)) |
                    modes[static_cast<unsigned>(inst.rounding)];
  if (inst.flush)
    wanted |= _MM_FLUSH_ZERO_ON | denormalsAreZero;
  _mm_setcsr(wanted);
  inst.inner(lanes, inst, mask);
  _mm_setcsr(before);
}

} // namespace

Handler selectLeaf(const LeafQuery &query) {
  if (hasAvx2())
    return firstOf(query,
                   {avx2::selectMove, avx2::selectBits, avx2::selectCompare,
                    avx2::selectConvert, avx2::selectFloat, avx2::selectHalf,
                    avx2::selectInteger});
  return firstOf(query, {generic::selectMove, generic::selectBits,
                         generic::selectCompare, generic::selectConvert,
                         generic::selectFloat, generic::selectHalf,
                         generic::selectInteger});
}

Handler selectMmaHandler(uint8_t kind) {
  return hasAvx2() ? avx2::selectMma(kind) : generic::selectMma(kind);
}

Handler floatModeHandler() { return runInFloatMode; }

} // namespace ptxvm
