// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef NAG_CONVERSION_NAGTOGPU_ROWSUMS_H
#define NAG_CONVERSION_NAGTOGPU_ROWSUMS_H

#include "nag/Conversion/NagToGPU.h"

namespace nag {

/// A sum of `slots` vectors of `length` elements. Host buffers of one
/// dimension: `partials` of slots * length f32, `result` of `length`.
struct PartialSum {
  mlir::Value partials;
  mlir::Value result;
  int64_t slots;
  int64_t length;
  /// The number of `partials` among the operands of the launch that makes them.
  unsigned argument;
};

/// Partial sums that a thread asks memory for at once.
inline constexpr int64_t kTermsAhead = 16;

/// Adds a launch that computes these sums. The order of additions depends on
/// the number of slots alone.
void emitPartialSums(KernelLowering &kernel, llvm::ArrayRef<PartialSum> sums);

/// True for sums, at least one, that are quickly added up by one block.
bool fitsLastBlock(llvm::ArrayRef<PartialSum> sums);
/// Lets the last of a launch's `blocks`, of `threads` threads each, compute the
/// sums at the end; `results` are the function's arguments for them. The order
/// of additions depends on the numbers of slots and threads alone.
void addUpInLastBlock(DeviceFunction &function, llvm::ArrayRef<PartialSum> sums,
                      llvm::ArrayRef<mlir::Value> results, int64_t blocks,
                      int64_t threads);

} // namespace nag

#endif // NAG_CONVERSION_NAGTOGPU_ROWSUMS_H
