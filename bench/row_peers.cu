// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Fused CUDA C++ kernels that bench/traffic.py sets beside this compiler's: one
// block per row of WIDTH bf16, the row in registers, 16 bytes per access.
#include <cuda_bf16.h>

#ifndef WIDTH
#define WIDTH 1024
#endif

constexpr int kThreads = WIDTH / 8 < 256 ? WIDTH / 8 : 256;
constexpr int kVectors = (WIDTH / 8 + kThreads - 1) / kThreads;
constexpr int kWarps = (kThreads + 31) / 32;
constexpr float kEps = 1.1920929e-7f;

/// A thread's elements of a row.
struct Row {
  float x[kVectors][8];

  template <typename F> __device__ void forEach(F f) {
    for (int v = 0; v < kVectors; ++v)
      for (int i = 0; i < 8; ++i)
        f(x[v][i], v, i);
  }
};

__device__ bool isInside(int v) { return v * kThreads + threadIdx.x < WIDTH / 8; }

__device__ Row load(const __nv_bfloat16 *memory) {
  Row row;
  const uint4 *from = reinterpret_cast<const uint4 *>(memory + size_t(blockIdx.x) * WIDTH);
  for (int v = 0; v < kVectors; ++v) {
    uint4 bits = isInside(v) ? from[v * kThreads + threadIdx.x] : make_uint4(0, 0, 0, 0);
    const __nv_bfloat16 *values = reinterpret_cast<const __nv_bfloat16 *>(&bits);
    for (int i = 0; i < 8; ++i)
      row.x[v][i] = __bfloat162float(values[i]);
  }
  return row;
}

__device__ void store(const Row &row, __nv_bfloat16 *memory) {
  uint4 *to = reinterpret_cast<uint4 *>(memory + size_t(blockIdx.x) * WIDTH);
  for (int v = 0; v < kVectors; ++v) {
    uint4 bits;
    __nv_bfloat16 *values = reinterpret_cast<__nv_bfloat16 *>(&bits);
    for (int i = 0; i < 8; ++i)
      values[i] = __float2bfloat16(row.x[v][i]);
    if (isInside(v))
      to[v * kThreads + threadIdx.x] = bits;
  }
}

/// The sum over the block, in all threads.
__device__ float sum(float x) {
  __shared__ float parts[kWarps];
  for (int step = 16; step > 0; step /= 2)
    x += __shfl_xor_sync(0xffffffff, x, step);
  if (kWarps == 1)
    return x;
  __syncthreads();
  if (threadIdx.x % 32 == 0)
    parts[threadIdx.x / 32] = x;
  __syncthreads();
  float total = 0;
  for (int warp = 0; warp < kWarps; ++warp)
    total += parts[warp];
  return total;
}

__device__ float dot(Row &a, Row &b) {
  float part = 0;
  a.forEach([&](float &x, int v, int i) { part += x * b.x[v][i]; });
  return sum(part);
}

__device__ float total(Row &a) {
  float part = 0;
  a.forEach([&](float &x, int, int) { part += x; });
  return sum(part);
}

/// c = f - mean(f); returns k with u = c - k r.
__device__ float centre(Row &f, Row &r) {
  float mean = total(f) / WIDTH;
  f.forEach([&](float &x, int v, int) { x = isInside(v) ? x - mean : 0; });
  return dot(f, r) / dot(r, r);
}

extern "C" __global__ void gate_rotate(const __nv_bfloat16 *rows, const __nv_bfloat16 *branch, const __nv_bfloat16 *products,
                                       const float *bias, const float *mixture, const float *norms, __nv_bfloat16 *result,
                                       float *newNorms) {
  Row r = load(rows), f = load(branch);
  int c = threadIdx.x % 32;
  float z = threadIdx.x < 32 ? __bfloat162float(products[blockIdx.x * 32 + c]) + bias[c] : 0;
  float m = threadIdx.x < 32 ? mixture[c] / (1 + expf(-z)) : 0;
  float g = sum(m);
  float k = centre(f, r);
  f.forEach([&](float &x, int v, int i) { x -= k * r.x[v][i]; });
  float n = sqrtf(dot(f, f) / WIDTH + kEps);
  r.forEach([&](float &x, int v, int i) { x += g / n * f.x[v][i]; });
  float rms = sqrtf(dot(r, r) / WIDTH + kEps);
  r.forEach([&](float &x, int, int) { x /= rms; });
  store(r, result);
  if (threadIdx.x == 0)
    newNorms[blockIdx.x] = norms[blockIdx.x] + log1pf(g * g) / 2;
}

extern "C" __global__ void rotate_vjp(const __nv_bfloat16 *rows, const __nv_bfloat16 *branch, const float *gates,
                                      const __nv_bfloat16 *grad, const float *normGrad, __nv_bfloat16 *rowGrad,
                                      __nv_bfloat16 *branchGrad, float *gateGrad) {
  Row r = load(rows), u = load(branch), d = load(grad);
  float g = gates[blockIdx.x], k = centre(u, r), square = dot(r, r);
  u.forEach([&](float &x, int v, int i) { x -= k * r.x[v][i]; });
  float n = sqrtf(dot(u, u) / WIDTH + kEps);
  float yy = square + g * g / (n * n) * dot(u, u) + 2 * g / n * dot(r, u);
  float rms = sqrtf(yy / WIDTH + kEps);
  float along = (dot(d, r) + g / n * dot(d, u)) / (yy / WIDTH + kEps) / WIDTH;
  // dy into d, then du into u.
  d.forEach([&](float &x, int v, int i) { x = (x - along * (r.x[v][i] + g / n * u.x[v][i])) / rms; });
  float dv = dot(d, u) / n;
  float inside = dv / (n * WIDTH);
  Row du = u;
  du.forEach([&](float &x, int v, int i) { x = g / n * (d.x[v][i] - x * inside); });
  float q = dot(du, r) / square;
  float mean = (total(du) - q * total(r)) / WIDTH;
  d.forEach([&](float &x, int v, int i) { x -= k * du.x[v][i] + q * (u.x[v][i] - k * r.x[v][i]); });
  du.forEach([&](float &x, int v, int i) { x -= q * r.x[v][i] + mean; });
  store(d, rowGrad);
  store(du, branchGrad);
  if (threadIdx.x == 0)
    gateGrad[blockIdx.x] = dv + normGrad[blockIdx.x] * g / (1 + g * g);
}

extern "C" __global__ void add_norm(const __nv_bfloat16 *stream, const __nv_bfloat16 *branch, __nv_bfloat16 *result,
                                    __nv_bfloat16 *normed) {
  Row x = load(stream), f = load(branch);
  x.forEach([&](float &a, int v, int i) { a += f.x[v][i]; });
  store(x, result);
  float rms = sqrtf(dot(x, x) / WIDTH + kEps);
  x.forEach([&](float &a, int, int) { a /= rms; });
  store(x, normed);
}
