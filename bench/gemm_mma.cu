// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A straightforward tensor-core GEMM to compare with (bench/gemm.py): c[m, n] =
// the sum over k of a[m, k] b[n, k] in bf16, with mma.sync, ldmatrix, two
// stages of cp.async, padded shared memory, sums stored as they lie in
// registers. m and n are multiples of 128, k of 32.
#include <cstdint>
#include <cuda_bf16.h>

constexpr int kTile = 128, kDepth = 32, kPitch = kDepth + 8, kThreads = 256;
constexpr int kWarpM = 64, kWarpN = 32;

__device__ uint32_t sharedAddress(const void *pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

__device__ void copy16(void *to, const void *from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                   sharedAddress(to)),
               "l"(from));
}

__device__ void loadMatrices(uint32_t (&registers)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]),
                 "=r"(registers[3])
               : "r"(sharedAddress(row)));
}

__device__ void multiplyAdd(float (&sums)[4], const uint32_t (&a)[4],
                            uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
               "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

using Tile = __nv_bfloat16[kTile][kPitch];

/// Copies rows first .. first + 127, columns k .. k + 31.
__device__ void copyTile(Tile &tile, const __nv_bfloat16 *matrix, int first,
                         int k, int depth) {
  for (int unit = threadIdx.x; unit < kTile * kDepth / 8; unit += kThreads) {
    int row = unit / (kDepth / 8), column = unit % (kDepth / 8) * 8;
    copy16(&tile[row][column],
           &matrix[size_t(first + row) * depth + k + column]);
  }
}

extern "C" __global__ void __launch_bounds__(kThreads)
    gemm(const __nv_bfloat16 *a, const __nv_bfloat16 *b, __nv_bfloat16 *c,
         int n, int depth) {
  __shared__ __align__(16) Tile tileA[2], tileB[2];
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int warpM = warp / 4 * kWarpM, warpN = warp % 4 * kWarpN;
  int firstM = blockIdx.y * kTile, firstN = blockIdx.x * kTile;
  float sums[kWarpM / 16][kWarpN / 8][4] = {};

  copyTile(tileA[0], a, firstM, 0, depth);
  copyTile(tileB[0], b, firstN, 0, depth);
  asm volatile("cp.async.commit_group;");
  for (int k = 0, stage = 0; k < depth; k += kDepth, stage ^= 1) {
    if (k + kDepth < depth) {
      copyTile(tileA[stage ^ 1], a, firstM, k + kDepth, depth);
      copyTile(tileB[stage ^ 1], b, firstN, k + kDepth, depth);
    }
    asm volatile("cp.async.commit_group;");
    asm volatile("cp.async.wait_group 1;");
    __syncthreads();
    for (int step = 0; step < kDepth; step += 16) {
      uint32_t rows[kWarpM / 16][4], columns[kWarpN / 16][4];
      for (int i = 0; i < kWarpM / 16; ++i)
        loadMatrices(rows[i], &tileA[stage][warpM + 16 * i + lane % 16]
                                    [step + lane / 16 * 8]);
      for (int j = 0; j < kWarpN / 16; ++j)
        loadMatrices(columns[j],
                     &tileB[stage][warpN + 16 * j + lane % 8 + lane / 16 * 8]
                           [step + lane / 8 % 2 * 8]);
      for (int i = 0; i < kWarpM / 16; ++i)
        for (int j = 0; j < kWarpN / 8; ++j)
          multiplyAdd(sums[i][j], rows[i], columns[j / 2][j % 2 * 2],
                      columns[j / 2][j % 2 * 2 + 1]);
    }
    __syncthreads();
  }

  for (int i = 0; i < kWarpM / 16; ++i)
    for (int j = 0; j < kWarpN / 8; ++j)
      for (int half = 0; half < 2; ++half) {
        int row = firstM + warpM + 16 * i + 8 * half + lane / 4;
        int column = firstN + warpN + 8 * j + lane % 4 * 2;
        *reinterpret_cast<__nv_bfloat162 *>(&c[size_t(row) * n + column]) =
            __floats2bfloat162_rn(sums[i][j][2 * half],
                                  sums[i][j][2 * half + 1]);
      }
}
