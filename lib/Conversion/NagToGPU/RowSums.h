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
};

/// Adds a launch that computes these sums. The order of additions depends on
/// the number of slots alone.
void emitPartialSums(KernelLowering &kernel, llvm::ArrayRef<PartialSum> sums);

} // namespace nag

#endif // NAG_CONVERSION_NAGTOGPU_ROWSUMS_H
