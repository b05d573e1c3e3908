// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Single elements of buffers in host memory, as doubles.
#ifndef NAG_RUNTIME_ELEMENTS_H
#define NAG_RUNTIME_ELEMENTS_H

#include "nag/Runtime/Program.h"

namespace nag::runtime {

/// True for the types readElement and writeElement take: f64, f32, f16, bf16.
bool isFloat(DType dtype);

/// Element `index` of a dense buffer of floats.
double readElement(DType dtype, const void *buffer, int64_t index);

/// Stores `value`, rounded to the nearest (ties to even).
void writeElement(DType dtype, void *buffer, int64_t index, double value);

} // namespace nag::runtime

#endif // NAG_RUNTIME_ELEMENTS_H
