// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Handlers that touch memory, other lanes or the machine's state.
#ifndef PTXVM_EXEC_HANDLERS_H
#define PTXVM_EXEC_HANDLERS_H

#include "Lanes.h"

namespace ptxvm {

/// Bits of Inst::flags of memory instructions.
namespace memory {
inline constexpr uint8_t frameRelative = 1; // address of a local variable
inline constexpr uint8_t narrowBase = 2;    // 32-bit address register
inline constexpr uint8_t strong = 4;        // volatile, relaxed, acquire, ...
inline constexpr uint8_t signExtend = 8;
inline constexpr uint8_t noResult = 16; // red
} // namespace memory

enum class AtomicOp : uint8_t {
  Add,
  Min,
  Max,
  Inc,
  Dec,
  And,
  Or,
  Xor,
  Exchange,
  CompareSwap
};

enum class ShuffleMode : uint8_t { Up, Down, Butterfly, Index };
enum class VoteMode : uint8_t { All, Any, Uniform, Ballot };
enum class BarrierReduction : uint8_t { None, PopCount, And, Or };

/// Bits of Inst::flags of ldmatrix and stmatrix.
namespace matrix {
inline constexpr uint8_t transposed = 32;
} // namespace matrix

/// Bits of Inst::flags of barriers.
namespace barrier {
inline constexpr uint8_t aligned = 1;
inline constexpr uint8_t hasCount = 2;
inline constexpr uint8_t invertPredicate = 4;
} // namespace barrier

namespace handlers {
#define PTXVM_HANDLER(name)                                                    \
  void name(LaneState &lanes, const Inst &inst, uint32_t mask)
PTXVM_HANDLER(nothing);
PTXVM_HANDLER(localAddress);
PTXVM_HANDLER(readTimer);
PTXVM_HANDLER(isSpace);
PTXVM_HANDLER(loadParam);
PTXVM_HANDLER(loadAny);
PTXVM_HANDLER(storeAny);
PTXVM_HANDLER(atomic);
PTXVM_HANDLER(fence);
PTXVM_HANDLER(copyAsync);
PTXVM_HANDLER(commitAsync);
PTXVM_HANDLER(waitAsync);
PTXVM_HANDLER(loadMatrix);
PTXVM_HANDLER(storeMatrix);
PTXVM_HANDLER(shuffle);
PTXVM_HANDLER(vote);
PTXVM_HANDLER(matchAny);
PTXVM_HANDLER(matchAll);
PTXVM_HANDLER(activeMask);
PTXVM_HANDLER(reduce);
PTXVM_HANDLER(elect);
PTXVM_HANDLER(warpBarrier);
#undef PTXVM_HANDLER

/// The quick form for whole elements of `size` bytes, or null.
Handler loadHandler(unsigned size);
Handler storeHandler(unsigned size);
} // namespace handlers

} // namespace ptxvm

#endif // PTXVM_EXEC_HANDLERS_H
