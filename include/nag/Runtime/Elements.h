// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Single elements of buffers in host memory, as doubles.
#ifndef NAG_RUNTIME_ELEMENTS_H
#define NAG_RUNTIME_ELEMENTS_H

#include "nag/Runtime/Program.h"

namespace nag::runtime {

/// True for the types readElement and writeElement take: f64, f32, f16, bf16.
bool isFloat(DType dtype);

namespace detail {
double readHalf(DType dtype, const void *buffer, int64_t index);
void writeHalf(DType dtype, void *buffer, int64_t index, double value);
} // namespace detail

/// Element `index` of a dense buffer of floats.
inline double readElement(DType dtype, const void *buffer, int64_t index) {
  if (dtype == DType::F32)
    return static_cast<const float *>(buffer)[index];
  if (dtype == DType::F64)
    return static_cast<const double *>(buffer)[index];
  return detail::readHalf(dtype, buffer, index);
}

/// Stores `value`, rounded to the nearest (ties to even).
inline void writeElement(DType dtype, void *buffer, int64_t index,
                         double value) {
  if (dtype == DType::F32)
    static_cast<float *>(buffer)[index] = float(value);
  else if (dtype == DType::F64)
    static_cast<double *>(buffer)[index] = value;
  else
    detail::writeHalf(dtype, buffer, index, value);
}

} // namespace nag::runtime

#endif // NAG_RUNTIME_ELEMENTS_H
