// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Positions sorted by token on the device: a stable radix sort.
#ifndef NAG_LIB_CONVERSION_NAGTOGPU_TOKENSORT_H
#define NAG_LIB_CONVERSION_NAGTOGPU_TOKENSORT_H

#include "KernelCode.h"
#include "nag/Conversion/NagToGPU.h"

namespace nag {

/// Positions of a block of the sort, its threads, and the values of a digit.
inline constexpr int64_t kSortChunk = 256;
inline constexpr int64_t kSortDigitBits = 8;

/// Buffers of i32 in scratch memory.
struct SortedTokens {
  /// [N]: the tokens in their order, and the positions of each, of equal tokens
  /// in the order of the positions.
  mlir::Value tokens, positions;
};

/// Launches the sort of `count` tokens, a memref<count x i32> with values below
/// `rows`. Tokens outside of [0, rows) are left out or counted as others; no
/// access is out of bounds.
SortedTokens sortTokens(KernelLowering &kernel, mlir::Value tokens,
                        int64_t count, int64_t rows);

} // namespace nag

#endif // NAG_LIB_CONVERSION_NAGTOGPU_TOKENSORT_H
