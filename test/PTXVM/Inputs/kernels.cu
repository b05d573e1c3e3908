// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Kernels for test/PTXVM/foreign.py, compiled by nvcc where it is installed.
// kernels.ptx is nvcc's output, for machines without it:
//   nvcc -O3 -std=c++17 -arch=sm_80 -ptx kernels.cu -o kernels.ptx
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_pipeline.h>
#include <cstdio>

extern "C" {

__global__ void saxpy(int n, float a, const float *x, float *y) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n)
    y[i] = a * x[i] + y[i];
}

// One partial sum per block: tree in shared memory, then warp shuffles.
__global__ void reduceSum(const float *x, float *out, int n) {
  __shared__ float partial[256];
  float sum = 0;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n;
       i += gridDim.x * blockDim.x)
    sum += x[i];
  partial[threadIdx.x] = sum;
  __syncthreads();
  for (int half = 128; half >= 32; half /= 2) {
    if (threadIdx.x < half)
      partial[threadIdx.x] += partial[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x < 32) {
    float v = partial[threadIdx.x];
    for (int offset = 16; offset > 0; offset /= 2)
      v += __shfl_down_sync(0xffffffffu, v, offset);
    if (threadIdx.x == 0)
      out[blockIdx.x] = v;
  }
}

// Inclusive prefix sum of one block of 256 ints.
__global__ void scan(const int *x, int *y) {
  __shared__ int warpSums[8];
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  int v = x[i];
  for (int offset = 1; offset < 32; offset *= 2) {
    int below = __shfl_up_sync(0xffffffffu, v, offset);
    if (lane >= offset)
      v += below;
  }
  if (lane == 31)
    warpSums[warp] = v;
  __syncthreads();
  for (int k = 0; k < warp; ++k)
    v += warpSums[k];
  y[i] = v;
}

__global__ void transpose(const float *in, float *out, int rows, int cols) {
  __shared__ float tile[32][33];
  int x = blockIdx.x * 32 + threadIdx.x, y = blockIdx.y * 32 + threadIdx.y;
  for (int k = 0; k < 32; k += 8)
    if (x < cols && y + k < rows)
      tile[threadIdx.y + k][threadIdx.x] = in[(y + k) * cols + x];
  __syncthreads();
  x = blockIdx.y * 32 + threadIdx.x, y = blockIdx.x * 32 + threadIdx.y;
  for (int k = 0; k < 32; k += 8)
    if (x < rows && y + k < cols)
      out[(y + k) * rows + x] = tile[threadIdx.x][threadIdx.y + k];
}

__global__ void histogram(const unsigned char *x, unsigned *bins, int n) {
  __shared__ unsigned local[256];
  local[threadIdx.x] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n;
       i += gridDim.x * blockDim.x)
    atomicAdd(&local[x[i]], 1u);
  __syncthreads();
  atomicAdd(&bins[threadIdx.x], local[threadIdx.x]);
}

__global__ void tiledGemm(const float *a, const float *b, float *c, int n) {
  __shared__ float as[16][16], bs[16][16];
  int row = blockIdx.y * 16 + threadIdx.y, col = blockIdx.x * 16 + threadIdx.x;
  float sum = 0;
  for (int t = 0; t < n; t += 16) {
    as[threadIdx.y][threadIdx.x] = a[row * n + t + threadIdx.x];
    bs[threadIdx.y][threadIdx.x] = b[(t + threadIdx.y) * n + col];
    __syncthreads();
    for (int k = 0; k < 16; ++k)
      sum += as[threadIdx.y][k] * bs[k][threadIdx.x];
    __syncthreads();
  }
  c[row * n + col] = sum;
}

// One warp per 16x8 tile: ldmatrix and mma.sync m16n8k16, f32 accumulators.
// a is M x K, b is N x K (both K innermost).
__global__ void tensorGemm(const __half *a, const __half *b, float *c, int n,
                           int k) {
  __shared__ __align__(16) __half as[16][16], bs[8][16];
  int row = blockIdx.y * 16, col = blockIdx.x * 8, lane = threadIdx.x;
  float acc[4] = {0, 0, 0, 0};
  for (int t = 0; t < k; t += 16) {
    for (int i = lane; i < 256; i += 32)
      as[i / 16][i % 16] = a[(row + i / 16) * k + t + i % 16];
    for (int i = lane; i < 128; i += 32)
      bs[i / 16][i % 16] = b[(col + i / 16) * k + t + i % 16];
    __syncwarp();
    unsigned fa[4], fb[2];
    unsigned pa = __cvta_generic_to_shared(&as[lane % 16][lane / 16 * 8]);
    unsigned pb = __cvta_generic_to_shared(&bs[lane % 8][lane / 8 % 2 * 8]);
    asm volatile(
        "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
        : "=r"(fa[0]), "=r"(fa[1]), "=r"(fa[2]), "=r"(fa[3])
        : "r"(pa));
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(fb[0]), "=r"(fb[1])
                 : "r"(pb));
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
                 : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]),
                   "r"(fb[1]));
    __syncwarp();
  }
  int r = row + lane / 4, q = col + lane % 4 * 2;
  c[r * n + q] = acc[0], c[r * n + q + 1] = acc[1];
  c[(r + 8) * n + q] = acc[2], c[(r + 8) * n + q + 1] = acc[3];
}

// The same through nvcuda::wmma-free bf16 registers, for m16n8k16 bf16.
__global__ void bf16Mma(const unsigned *a, const unsigned *b, float *c) {
  int lane = threadIdx.x;
  float acc[4] = {0, 0, 0, 0};
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
               "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
               : "r"(a[(lane / 4) * 8 + lane % 4]),
                 "r"(a[(lane / 4 + 8) * 8 + lane % 4]),
                 "r"(a[(lane / 4) * 8 + lane % 4 + 4]),
                 "r"(a[(lane / 4 + 8) * 8 + lane % 4 + 4]),
                 "r"(b[(lane / 4) * 8 + lane % 4]),
                 "r"(b[(lane / 4) * 8 + lane % 4 + 4]));
  c[(lane / 4) * 8 + lane % 4 * 2] = acc[0];
  c[(lane / 4) * 8 + lane % 4 * 2 + 1] = acc[1];
  c[(lane / 4 + 8) * 8 + lane % 4 * 2] = acc[2];
  c[(lane / 4 + 8) * 8 + lane % 4 * 2 + 1] = acc[3];
}

// One warp per row.
__global__ void softmax(const float *x, float *y, int cols) {
  const float *row = x + blockIdx.x * cols;
  float top = -INFINITY, sum = 0;
  for (int i = threadIdx.x; i < cols; i += 32)
    top = fmaxf(top, row[i]);
  for (int m = 16; m > 0; m /= 2)
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, m));
  for (int i = threadIdx.x; i < cols; i += 32)
    sum += __expf(row[i] - top);
  for (int m = 16; m > 0; m /= 2)
    sum += __shfl_xor_sync(0xffffffffu, sum, m);
  for (int i = threadIdx.x; i < cols; i += 32)
    y[blockIdx.x * cols + i] = __expf(row[i] - top) / sum;
}

// Loops of different lengths, a switch and an early exit.
__global__ void collatz(const unsigned *x, unsigned *steps, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n)
    return;
  unsigned v = x[i], count = 0;
  while (v != 1) {
    switch (v % 4) {
    case 0: v /= 4, count += 2; break;
    case 2: v /= 2, ++count; break;
    default: v = 3 * v + 1, ++count; break;
    }
  }
  steps[i] = count;
}

__device__ __noinline__ int fibonacci(int n) {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}
__global__ void recursive(int *out) { out[threadIdx.x] = fibonacci(threadIdx.x); }

// Two-stage cp.async pipeline: sums of rows of a stream.
__global__ void pipeline(const float4 *x, float *out, int tiles) {
  __shared__ float4 stage[2][64];
  int t = threadIdx.x;
  __pipeline_memcpy_async(&stage[0][t], &x[t], 16);
  __pipeline_commit();
  float sum = 0;
  for (int k = 0; k < tiles; ++k) {
    if (k + 1 < tiles)
      __pipeline_memcpy_async(&stage[(k + 1) % 2][t], &x[(k + 1) * 64 + t], 16);
    __pipeline_commit();
    __pipeline_wait_prior(1);
    __syncthreads();
    float4 v = stage[k % 2][63 - t];
    sum += v.x + v.y + v.z + v.w;
    __syncthreads();
  }
  out[t] = sum;
}

// A lock that lanes of one warp fight for: needs independent progress.
__device__ int lock;
__global__ void spinLock(int *counter) {
  bool done = false;
  while (!done) {
    if (atomicCAS(&lock, 0, 1) == 0) {
      __threadfence();
      *(volatile int *)counter += 1;
      __threadfence();
      atomicExch(&lock, 0);
      done = true;
    }
  }
}

__global__ void votes(const int *x, unsigned *out) {
  unsigned full = 0xffffffffu, v = x[threadIdx.x];
  out[threadIdx.x] = __ballot_sync(full, v & 1);
  out[32 + threadIdx.x] = __match_any_sync(full, v & 3);
  out[64 + threadIdx.x] = __reduce_add_sync(full, v);
  out[96 + threadIdx.x] = __all_sync(full, v < 1000) + 2 * __any_sync(full, v == 5);
}

__global__ void halves(const __half2 *x, const __half2 *y, __half2 *z,
                       const __nv_bfloat162 *u, __nv_bfloat162 *w) {
  int i = threadIdx.x;
  z[i] = __hfma2(x[i], y[i], __hadd2(x[i], y[i]));
  w[i] = __hmul2(u[i], __hmax2(u[i], w[i]));
}

__global__ void hello(int n) {
  if (threadIdx.x < n)
    printf("thread %d of %d: %.2f %s\n", threadIdx.x, blockDim.x,
           0.5 * threadIdx.x, "ok");
}

__global__ void elementwise(const float *x, const float *y, float *z, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n)
    return;
  float a = x[i], b = y[i];
  for (int k = 0; k < 32; ++k) {
    a = a * 0.99f + b;
    b = fmaxf(b - a * 0.01f, -4.0f);
  }
  z[i] = a + b;
}

// Nothing but mma.sync on registers: for bench/ptxvm.py.
__global__ void mmaLoop(const unsigned *x, float *y, int n) {
  unsigned a[4], b[2];
  float acc[8] = {};
  for (int k = 0; k < 4; ++k)
    a[k] = x[threadIdx.x + 32 * k];
  b[0] = x[threadIdx.x + 128], b[1] = x[threadIdx.x + 160];
  for (int k = 0; k < n; ++k)
    for (int s = 0; s < 8; s += 4)
      asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                   "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                   : "+f"(acc[s]), "+f"(acc[s + 1]), "+f"(acc[s + 2]),
                     "+f"(acc[s + 3])
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]),
                     "r"(b[1]));
  for (int k = 0; k < 8; ++k)
    y[threadIdx.x + 32 * k] = acc[k];
}
}
