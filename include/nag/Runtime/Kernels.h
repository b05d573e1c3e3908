// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Functions that generated host code calls. C linkage; the library NagKernels
// holds them alone, so that an object file needs it, libdnnl and libomp only.
#ifndef NAG_RUNTIME_KERNELS_H
#define NAG_RUNTIME_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// c = alpha * op(a) op(b) + beta * c, all row-major, op(x) = x transposed when
/// its flag is 1. op(a) is m x k, op(b) k x n, c m x n; ld* are row strides in
/// elements. Sizes may be 0 (k = 0 scales c alone). With beta = 0, c is written
/// only. Runs on the OpenMP threads of the caller; on one inside a parallel
/// region. Equal inputs and thread counts give equal bits.
void nag_gemm_f32(int64_t transA, int64_t transB, int64_t m, int64_t n,
                  int64_t k, float alpha, const float *a, int64_t lda,
                  const float *b, int64_t ldb, float beta, float *c,
                  int64_t ldc);

/// The same in double precision, for gradient checks.
void nag_gemm_f64(int64_t transA, int64_t transB, int64_t m, int64_t n,
                  int64_t k, double alpha, const double *a, int64_t lda,
                  const double *b, int64_t ldb, double beta, double *c,
                  int64_t ldc);

#ifdef __cplusplus
}
#endif

#endif // NAG_RUNTIME_KERNELS_H
