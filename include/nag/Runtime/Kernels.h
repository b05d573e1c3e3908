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

/// nag.route: the tokens of each sequence of `length` scores that are executed,
/// by a capacity of `kept` tokens, a capacity of length - floor(rate * length)
/// tokens, or a threshold. Equal scores: the earlier token. `indices` has
/// `rows` elements, -1 behind the last; `offsets` has sequences + 1.
/// nag_quantile: nag.quantile of `slices` times `count` values.
void nag_route_capacity_f32(int64_t sequences, int64_t length, int64_t rows,
                            int64_t kept, const float *scores, int32_t *indices,
                            int32_t *offsets);
void nag_route_rate_f32(int64_t sequences, int64_t length, int64_t rows,
                        const float *scores, const float *rate,
                        int32_t *indices, int32_t *offsets);
void nag_route_threshold_f32(int64_t sequences, int64_t length, int64_t rows,
                             const float *scores, const float *threshold,
                             int32_t *indices, int32_t *offsets);
void nag_quantile_f32(int64_t slices, int64_t count, const float *values,
                      const float *rate, float *thresholds);
void nag_route_capacity_f64(int64_t sequences, int64_t length, int64_t rows,
                            int64_t kept, const double *scores,
                            int32_t *indices, int32_t *offsets);
void nag_route_rate_f64(int64_t sequences, int64_t length, int64_t rows,
                        const double *scores, const double *rate,
                        int32_t *indices, int32_t *offsets);
void nag_route_threshold_f64(int64_t sequences, int64_t length, int64_t rows,
                             const double *scores, const double *threshold,
                             int32_t *indices, int32_t *offsets);
void nag_quantile_f64(int64_t slices, int64_t count, const double *values,
                      const double *rate, double *thresholds);

/// nag.put into other memory than that of what it completes: copies the rows
/// (of `rowBytes` bytes) of `from` that none of the indices names, which ascend
/// and of which offsets[sequences] count. Nothing where both are the same.
void nag_carry_rows(int64_t rows, int64_t rowBytes, int64_t sequences,
                    const void *from, const int32_t *indices,
                    const int32_t *offsets, void *to);

#ifdef __cplusplus
}
#endif

#endif // NAG_RUNTIME_KERNELS_H
