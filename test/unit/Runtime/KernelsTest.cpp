// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Kernels.h"
#include "gtest/gtest.h"
#include <cmath>
#include <csignal>
#include <fstream>
#include <omp.h>
#include <string>
#include <sys/time.h>
#include <tuple>
#include <unistd.h>
#include <vector>

/// What compilers that follow LLVM's OpenMP interface call to start a team.
struct Ident {
  int32_t reserved1, flags, reserved2, reserved3;
  const char *source;
};
extern "C" void __kmpc_fork_call(Ident *location, int32_t arguments,
                                 void *function, ...);

namespace {

template <typename T>
using Gemm = void (*)(int64_t, int64_t, int64_t, int64_t, int64_t, T, const T *,
                      int64_t, const T *, int64_t, T, T *, int64_t);

template <typename T>
std::vector<T> makeMatrix(int64_t rows, int64_t stride, int64_t seed) {
  std::vector<T> values(rows * stride);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = T(std::sin(double(i * 7 + seed)));
  return values;
}

/// The largest difference between `gemm` and a plain triple loop, with row
/// strides larger than the rows; -1 when it wrote beside its result.
template <typename T>
double compareGemm(Gemm<T> gemm, bool transA, bool transB, int64_t m, int64_t n,
                   int64_t k, double beta) {
  int64_t lda = (transA ? m : k) + 3, ldb = (transB ? k : n) + 2, ldc = n + 1;
  std::vector<T> a = makeMatrix<T>(transA ? k : m, lda, 1);
  std::vector<T> b = makeMatrix<T>(transB ? n : k, ldb, 2);
  std::vector<T> c = makeMatrix<T>(m, ldc, 3), before = c;
  gemm(transA, transB, m, n, k, T(0.5), a.data(), lda, b.data(), ldb, T(beta),
       c.data(), ldc);
  double worst = 0;
  for (int64_t i = 0; i < m; ++i) {
    if (c[i * ldc + n] != before[i * ldc + n])
      return -1;
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t p = 0; p < k; ++p)
        sum += double(transA ? a[p * lda + i] : a[i * lda + p]) *
               double(transB ? b[j * ldb + p] : b[p * ldb + j]);
      double expected = 0.5 * sum + beta * double(before[i * ldc + j]);
      worst = std::max(worst, std::abs(expected - double(c[i * ldc + j])));
    }
  }
  return worst;
}

using Shape = std::tuple<int64_t, int64_t, int64_t>;

class GemmTest : public testing::TestWithParam<Shape> {};

TEST_P(GemmTest, AgreesWithPlainLoops) {
  auto [m, n, k] = GetParam();
  for (int flags = 0; flags < 4; ++flags)
    for (double beta : {0.0, 1.0, 0.25}) {
      bool transA = flags & 1, transB = flags & 2;
      double f32 = compareGemm(nag_gemm_f32, transA, transB, m, n, k, beta);
      double f64 = compareGemm(nag_gemm_f64, transA, transB, m, n, k, beta);
      EXPECT_GE(f32, 0.0);
      EXPECT_GE(f64, 0.0);
      EXPECT_LE(f32, 1e-6 * (k + 1)) << flags << " beta " << beta;
      EXPECT_LE(f64, 1e-15 * (k + 1)) << flags << " beta " << beta;
    }
}

INSTANTIATE_TEST_SUITE_P(Shapes, GemmTest,
                         testing::Values(Shape{1, 1, 1}, Shape{3, 5, 7},
                                         Shape{64, 64, 32}, Shape{65, 33, 129},
                                         Shape{0, 4, 4}, Shape{4, 0, 4},
                                         Shape{4, 4, 0}, Shape{1, 200, 40},
                                         // Rows of `a` 4 KiB apart, so that
                                         // the sum is cut.
                                         Shape{1021, 24, 500},
                                         Shape{1021, 24, 209}));

TEST(Gemm, ZeroBetaOverwritesNaN) {
  float a = 2, b = 3, c = NAN;
  nag_gemm_f32(0, 0, 1, 1, 1, 1, &a, 1, &b, 1, 0, &c, 1);
  EXPECT_EQ(c, 6);
  c = NAN;
  nag_gemm_f32(0, 0, 1, 1, 0, 1, &a, 1, &b, 1, 0, &c, 1);
  EXPECT_EQ(c, 0);
}

TEST(Gemm, InsideAParallelRegion) {
  constexpr int64_t size = 48;
  std::vector<float> a = makeMatrix<float>(size, size, 1), b = a;
  std::vector<float> whole(size * size), parts(size * size);
  nag_gemm_f32(0, 0, size, size, size, 1, a.data(), size, b.data(), size, 0,
               whole.data(), size);
#pragma omp parallel for num_threads(2)
  for (int64_t i = 0; i < size; i += 16)
    nag_gemm_f32(0, 0, 16, size, size, 1, &a[i * size], size, b.data(), size, 0,
                 &parts[i * size], size);
  for (int64_t i = 0; i < size * size; ++i)
    EXPECT_NEAR(whole[i], parts[i], 1e-5);
}

/// Rows of two elements: none, some or all of five are named.
TEST(CarryRows, CopiesTheRowsThatNoIndexNames) {
  const std::vector<float> from = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  auto carry = [&](std::vector<int32_t> indices) {
    int32_t count = int32_t(indices.size());
    int32_t offsets[] = {0, std::min(count, 1), count};
    indices.resize(5, -1);
    std::vector<float> to(10, 0);
    nag_carry_rows(5, 2 * sizeof(float), 2, from.data(), indices.data(),
                   offsets, to.data());
    return to;
  };
  EXPECT_EQ(carry({}), from);
  EXPECT_EQ(carry({0, 2, 3}),
            (std::vector<float>{0, 0, 3, 4, 0, 0, 0, 0, 9, 10}));
  EXPECT_EQ(carry({1, 4}), (std::vector<float>{1, 2, 0, 0, 5, 6, 7, 8, 0, 0}));
  EXPECT_EQ(carry({0, 1, 2, 3, 4}), std::vector<float>(10, 0));
}

int64_t countThreads() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line))
    if (line.rfind("Threads:", 0) == 0)
      return std::stoll(line.substr(8));
  return -1;
}

void noteTeamSize(int32_t *thread, int32_t *, int *team) {
  if (*thread == 0)
    *team = omp_get_num_threads();
}

/// GEMMs (which ask for GOMP_*) and generated code (which asks for __kmpc_*)
/// use the same workers: the process has as many threads as each asks for, not
/// the sum.
TEST(OpenMP, OneThreadPool) {
  constexpr int64_t size = 256;
  std::vector<float> a = makeMatrix<float>(size, size, 1), c = a;
  omp_set_num_threads(3);
  auto multiply = [&] {
    nag_gemm_f32(0, 0, size, size, size, 1, a.data(), size, a.data(), size, 0,
                 c.data(), size);
  };
  multiply();
  int team = 0;
  Ident location = {0, 2, 0, 0, ";OneThreadPool;here;0;0;;"};
  __kmpc_fork_call(&location, 1, reinterpret_cast<void *>(noteTeamSize), &team);
  multiply();
  omp_set_num_threads(2);
  EXPECT_EQ(team, 3);
  EXPECT_EQ(countThreads(), 3);
}

volatile sig_atomic_t handled = 0, handledElsewhere = 0;

void noteStack(int) {
  stack_t stack = {};
  sigaltstack(nullptr, &stack);
  handled = handled + 1;
  if (!(stack.ss_flags & SS_ONSTACK))
    handledElsewhere = handledElsewhere + 1;
}

/// Products use the stack pointer for data; handlers must have another stack.
TEST(Gemm, LeavesSignalsAStack) {
  std::vector<float> a = makeMatrix<float>(256, 256, 1), c = a;
  auto multiply = [&](bool transposed) {
    nag_gemm_f32(transposed, !transposed, 96, 32, 16, 1, a.data(), 128,
                 a.data(), 128, 0, c.data(), 32);
  };
  multiply(true);
  struct sigaction action = {}, before;
  action.sa_handler = noteStack;
  action.sa_flags = SA_ONSTACK | SA_RESTART;
  sigaction(SIGALRM, &action, &before);
  itimerval often = {{0, 100}, {0, 100}}, never = {};
  setitimer(ITIMER_REAL, &often, nullptr);
  while (handled < 50)
    for (bool transposed : {false, true})
      multiply(transposed);
  setitimer(ITIMER_REAL, &never, nullptr);
  sigaction(SIGALRM, &before, nullptr);
  EXPECT_EQ(handledElsewhere, 0);
}

} // namespace
