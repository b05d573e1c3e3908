// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Kernels.h"
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <dnnl.h>
#include <memory>
#include <signal.h>

namespace {

template <typename T>
void scale(int64_t m, int64_t n, T beta, T *c, int64_t ldc) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j)
      c[i * ldc + j] = beta == T(0) ? T(0) : beta * c[i * ldc + j];
}

/// The k x n matrix op(b) as a dense one when it is transposed.
std::unique_ptr<double[]> transpose(int64_t n, int64_t k, const double *b,
                                    int64_t ldb) {
  std::unique_ptr<double[]> packed(new double[n * k]);
#pragma omp parallel for schedule(static)
  for (int64_t p = 0; p < k; ++p)
    for (int64_t j = 0; j < n; ++j)
      packed[p * n + j] = b[j * ldb + p];
  return packed;
}

/// A stack for signal handlers with SA_ONSTACK, for as long as the thread
/// lives, where it has none. oneDNN's products (2.6, AVX-512) hold data in the
/// stack pointer: a handler on the thread's own stack would write into the
/// heap.
class SignalStack {
public:
  SignalStack() {
    stack_t present = {};
    if (sigaltstack(nullptr, &present) != 0 || !(present.ss_flags & SS_DISABLE))
      return;
    memory.reset(new char[kBytes]);
    stack_t own = {};
    own.ss_sp = memory.get();
    own.ss_size = kBytes;
    sigaltstack(&own, nullptr);
  }
  ~SignalStack() {
    if (!memory)
      return;
    stack_t none = {};
    none.ss_flags = SS_DISABLE;
    sigaltstack(&none, nullptr);
  }

private:
  // A frame with AVX-512 and AMX state takes 11 KiB.
  static constexpr size_t kBytes = 128 << 10;
  std::unique_ptr<char[]> memory;
};

/// How many calls of dnnl_sgemm (2.6) had better make a product. It does not
/// pack the rows of `a` in a product a^T b whose result is narrow or low; where
/// these stand a multiple of 2 KiB apart, and 4 KiB or more, columns of more
/// than some 200 terms do not stay in the first-level cache. Measured, 1 and 2
/// threads: 4 to 28 % less time in parts, no less where rows stand otherwise.
int64_t countParts(bool transA, bool transB, int64_t m, int64_t n, int64_t k,
                   int64_t lda) {
  constexpr int64_t kTerms = 208, kStride = 512, kPackedFrom = 510;
  bool isPacked = m * n > kPackedFrom * (m + n);
  bool isFar = lda >= 2 * kStride && lda % kStride == 0;
  return transA && !transB && isFar && !isPacked ? (k + kTerms - 1) / kTerms
                                                 : 1;
}

} // namespace

void nag_gemm_f32(int64_t transA, int64_t transB, int64_t m, int64_t n,
                  int64_t k, float alpha, const float *a, int64_t lda,
                  const float *b, int64_t ldb, float beta, float *c,
                  int64_t ldc) {
  if (m <= 0 || n <= 0)
    return;
  if (k <= 0)
    return scale(m, n, beta, c, ldc);
  static thread_local SignalStack signalStack;
  int64_t parts = countParts(transA, transB, m, n, k, lda);
  int64_t terms = (k + parts - 1) / parts;
  for (int64_t first = 0; first < k; first += terms) {
    dnnl_status_t status = dnnl_sgemm(
        transA ? 'T' : 'N', transB ? 'T' : 'N', m, n,
        std::min(terms, k - first), alpha, a + first * (transA ? lda : 1), lda,
        b + first * (transB ? 1 : ldb), ldb, first ? 1 : beta, c, ldc);
    if (status == dnnl_success)
      continue;
    std::fprintf(stderr, "dnnl_sgemm failed with status %d\n", int(status));
    std::abort();
  }
}

void nag_gemm_f64(int64_t transA, int64_t transB, int64_t m, int64_t n,
                  int64_t k, double alpha, const double *a, int64_t lda,
                  const double *b, int64_t ldb, double beta, double *c,
                  int64_t ldc) {
  if (m <= 0 || n <= 0)
    return;
  std::unique_ptr<double[]> packed;
  if (transB && k > 0) {
    packed = transpose(n, k, b, ldb);
    b = packed.get();
    ldb = n;
  }
  int64_t rowStride = transA ? 1 : lda, columnStride = transA ? lda : 1;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < m; ++i) {
    double *row = c + i * ldc;
    scale<double>(1, n, beta, row, ldc);
    for (int64_t p = 0; p < k; ++p) {
      double factor = alpha * a[i * rowStride + p * columnStride];
      for (int64_t j = 0; j < n; ++j)
        row[j] += factor * b[p * ldb + j];
    }
  }
}
