// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Measures nag_gemm_f32 at the shapes of small models, and a call per small
// tile against a compiled tile kernel, on one thread and inside a parallel
// region. Prints one line per case: GFLOP/s and time per call.
#include "nag/Runtime/Kernels.h"
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <omp.h>
#include <time.h>
#include <vector>

namespace {

/// Eight floats: one AVX register.
typedef float Lanes __attribute__((vector_size(32)));
constexpr int64_t lanes = sizeof(Lanes) / sizeof(float);

Lanes load(const float *from) {
  Lanes values;
  std::memcpy(&values, from, sizeof values);
  return values;
}

/// c += a b on row-major tiles, 4 x 24 results in registers (12 accumulators).
/// m must be a multiple of 4, n of 8.
template <int64_t Columns>
void multiplyColumns(int64_t m, int64_t n, int64_t k, const float *a,
                     const float *b, float *c) {
  for (int64_t i = 0; i < m; i += 4) {
    Lanes sum[4][Columns] = {};
    for (int64_t p = 0; p < k; ++p)
      for (int64_t r = 0; r < 4; ++r)
        for (int64_t q = 0; q < Columns; ++q)
          sum[r][q] += a[(i + r) * k + p] * load(b + p * n + q * lanes);
    for (int64_t r = 0; r < 4; ++r)
      for (int64_t q = 0; q < Columns; ++q) {
        float *out = c + (i + r) * n + q * lanes;
        Lanes result = load(out) + sum[r][q];
        std::memcpy(out, &result, sizeof result);
      }
  }
}

void multiplyTile(int64_t m, int64_t n, int64_t k, const float *a,
                  const float *b, float *c) {
  int64_t j = 0;
  for (; j + 3 * lanes <= n; j += 3 * lanes)
    multiplyColumns<3>(m, n, k, a, b + j, c + j);
  for (; j < n; j += lanes)
    multiplyColumns<1>(m, n, k, a, b + j, c + j);
}

void callLibrary(int64_t m, int64_t n, int64_t k, const float *a,
                 const float *b, float *c) {
  nag_gemm_f32(0, 0, m, n, k, 1, a, k, b, n, 1, c, n);
}

struct Operands {
  Operands(int64_t m, int64_t n, int64_t k)
      : a(m * k, 0.5f), b(k * n, 0.25f), c(m * n) {}
  std::vector<float> a, b, c;
};

double readClock(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

/// Seconds of one run of `body` by `clock`: the best of eight rounds of ~20 ms.
/// The thread's own clock keeps other processes out of the figure.
template <typename Body> double measure(clockid_t clock, Body body) {
  body();
  double best = 1e9;
  int64_t count = 1;
  for (int round = 0; round < 8;) {
    double start = readClock(clock);
    for (int64_t i = 0; i < count; ++i)
      body();
    double seconds = readClock(clock) - start;
    if (seconds < 0.02) {
      count *= 2;
      continue;
    }
    best = std::min(best, seconds / double(count));
    ++round;
  }
  return best;
}

void report(const char *what, int64_t m, int64_t n, int64_t k, int64_t calls,
            double seconds) {
  std::printf("%-34s %5ld x %4ld x %4ld  %7.1f GFLOP/s  %9.2f us/call\n", what,
              long(m), long(n), long(k), 2e-9 * m * n * k * calls / seconds,
              seconds * 1e6 / calls);
}

void measureWhole(int64_t m, int64_t n, int64_t k) {
  Operands x(m, n, k);
  report("dnnl_sgemm, all threads, wall time", m, n, k, 1,
         measure(CLOCK_MONOTONIC, [&] {
           callLibrary(m, n, k, x.a.data(), x.b.data(), x.c.data());
         }));
}

template <typename Multiply>
void measureTile(const char *what, int64_t m, int64_t n, int64_t k,
                 Multiply multiply) {
  constexpr int64_t calls = 64;
  auto run = [&] {
    Operands x(m, n, k);
    return measure(CLOCK_THREAD_CPUTIME_ID, [&] {
      for (int64_t i = 0; i < calls; ++i)
        multiply(m, n, k, x.a.data(), x.b.data(), x.c.data());
    });
  };
  double seconds = 0;
#pragma omp parallel
  {
    double mine = run();
#pragma omp critical
    seconds = std::max(seconds, mine);
  }
  report(what, m, n, k, calls, seconds);
}

} // namespace

int main() {
  std::printf("threads %d\n", omp_get_max_threads());
  for (int64_t n : {128, 256, 512})
    for (int64_t k : {128, 256, 512})
      measureWhole(2048, n, k);
  measureWhole(2048, 256, 32);
  measureWhole(128, 512, 2048);
  std::printf("inside a parallel region, per thread, time of the slowest:\n");
  int64_t tiles[][3] = {{1, 8, 1},     {64, 64, 32},  {64, 128, 32},
                        {64, 32, 64},  {64, 32, 128}, {128, 128, 32},
                        {128, 32, 128}};
  for (auto [m, n, k] : tiles) {
    measureTile("dnnl_sgemm per tile", m, n, k, callLibrary);
    if (m % 4 == 0)
      measureTile("tile kernel", m, n, k, multiplyTile);
  }
  double fork = measure(CLOCK_MONOTONIC, [] {
#pragma omp parallel
    {
      asm volatile("" ::: "memory");
    }
  });
  std::printf("empty parallel region %.2f us\n", fork * 1e6);
}
