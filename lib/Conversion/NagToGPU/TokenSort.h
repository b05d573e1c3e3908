// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Positions sorted by token on the device, in one launch: a stable radix sort.
#ifndef NAG_LIB_CONVERSION_NAGTOGPU_TOKENSORT_H
#define NAG_LIB_CONVERSION_NAGTOGPU_TOKENSORT_H

#include "BlockOrder.h"
#include "KernelCode.h"
#include "nag/Conversion/NagToGPU.h"

namespace nag {

/// Positions of a block of the sort, its threads, and the values of a digit.
inline constexpr int64_t kSortChunk = 256;
inline constexpr int64_t kSortDigitBits = 8;

/// The sort of tokens as phases of a launch with blocks of kSortChunk threads
/// and getSharedBytes() of dynamic shared memory. Tokens outside of [0, rows)
/// are left out or counted as others; no access is out of bounds.
class TokenSort {
public:
  /// Of `tokens`, a memref<count x i32> with values below `rows`; allocates
  /// scratch memory for what the phases hand on.
  TokenSort(KernelLowering &kernel, mlir::Value tokens, int64_t count,
            int64_t rows);

  /// The blocks of each phase.
  llvm::SmallVector<int64_t> getPhases() const;
  static int64_t getSharedBytes() { return kSortChunk * sizeof(int32_t); }
  /// What the launch passes for the sort.
  llvm::ArrayRef<mlir::Value> getBuffers() const { return buffers; }

  /// [count] in i32: the tokens in their order, and the positions of each, of
  /// equal tokens in the order of the positions.
  struct Sorted {
    mlir::Value tokens, positions;
  };
  /// Builds the phases; `arguments` stand for getBuffers(), in which later
  /// phases find the result.
  Sorted build(BlockPhases &phases, mlir::ImplicitLocOpBuilder &builder,
               llvm::ArrayRef<mlir::Value> arguments) const;

private:
  int64_t count, digits;
  llvm::SmallVector<mlir::Value> buffers;
};

} // namespace nag

#endif // NAG_LIB_CONVERSION_NAGTOGPU_TOKENSORT_H
