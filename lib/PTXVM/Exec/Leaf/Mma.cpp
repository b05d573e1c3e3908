// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// mma.sync: fragments are spread into dense tiles, multiplied by small kernels,
// and the accumulators gathered back. f32 accumulation is a chain of fused
// multiply-adds from k = 0 up; f16 accumulators round once, at the end.
#include "../Mma.h"
#include "Formats.h"

#ifdef __FMA__
#include <immintrin.h>
#endif

namespace ptxvm::PTXVM_ISA {
namespace {

#ifdef __FMA__

/// Rows of eight f32 accumulators interleave two registers of four lanes.
void loadRows(const LaneState &w, const MmaOperands &o, float (&tile)[16][8]) {
  for (unsigned r = 0; r < 2; ++r) {
    const float *even = w.at<float>(o.c[2 * r]),
                *odd = w.at<float>(o.c[2 * r + 1]);
    for (unsigned m = 0; m < 8; ++m) {
      __m128 a = _mm_loadu_ps(even + 4 * m), b = _mm_loadu_ps(odd + 4 * m);
      _mm_store_ps(tile[8 * r + m], _mm_unpacklo_ps(a, b));
      _mm_store_ps(tile[8 * r + m] + 4, _mm_unpackhi_ps(a, b));
    }
  }
}
void storeRows(LaneState &w, const MmaOperands &o, const float (&tile)[16][8]) {
  for (unsigned r = 0; r < 2; ++r) {
    float *even = w.at<float>(o.d[2 * r]), *odd = w.at<float>(o.d[2 * r + 1]);
    for (unsigned m = 0; m < 8; ++m) {
      __m128 low = _mm_load_ps(tile[8 * r + m]);
      __m128 high = _mm_load_ps(tile[8 * r + m] + 4);
      _mm_storeu_ps(even + 4 * m, _mm_shuffle_ps(low, high, 0x88));
      _mm_storeu_ps(odd + 4 * m, _mm_shuffle_ps(low, high, 0xdd));
    }
  }
}

/// Eight 16-bit elements, from the words of four lanes.
struct HalfRow {
  static __m256 widen(__m128i words) { return _mm256_cvtph_ps(words); }
};
struct BfloatRow {
  static __m256 widen(__m128i words) {
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(words), 16));
  }
};
template <typename In> __m256 rowOf(const uint32_t *words, unsigned row) {
  return In::widen(
      _mm_loadu_si128(reinterpret_cast<const __m128i *>(words + 4 * row)));
}

void storeTransposed(__m256 (&r)[8], float (&b)[8][8]) {
  __m256 t[8], u[8];
  for (unsigned k = 0; k < 8; k += 2) {
    t[k] = _mm256_unpacklo_ps(r[k], r[k + 1]);
    t[k + 1] = _mm256_unpackhi_ps(r[k], r[k + 1]);
  }
  for (unsigned k = 0; k < 8; k += 4) {
    u[k] = _mm256_shuffle_ps(t[k], t[k + 2], 0x44);
    u[k + 1] = _mm256_shuffle_ps(t[k], t[k + 2], 0xee);
    u[k + 2] = _mm256_shuffle_ps(t[k + 1], t[k + 3], 0x44);
    u[k + 3] = _mm256_shuffle_ps(t[k + 1], t[k + 3], 0xee);
  }
  for (unsigned k = 0; k < 4; ++k) {
    _mm256_store_ps(b[k], _mm256_permute2f128_ps(u[k], u[k + 4], 0x20));
    _mm256_store_ps(b[k + 4], _mm256_permute2f128_ps(u[k], u[k + 4], 0x31));
  }
}

/// The same layout as loadPairs, a row of eight at a time.
template <typename In, unsigned K>
void loadPairRows(const LaneState &w, const MmaOperands &o, float (&a)[16][K],
                  float (&b)[K][8]) {
  for (unsigned r = 0; r < K / 4; ++r) {
    const uint32_t *words = w.at<uint32_t>(o.a[r]);
    for (unsigned m = 0; m < 8; ++m)
      _mm256_store_ps(&a[8 * (r % 2) + m][8 * (r / 2)], rowOf<In>(words, m));
  }
  for (unsigned r = 0; r < K / 8; ++r) {
    const uint32_t *words = w.at<uint32_t>(o.b[r]);
    __m256 rows[8];
    for (unsigned n = 0; n < 8; ++n)
      rows[n] = rowOf<In>(words, n);
    storeTransposed(rows, reinterpret_cast<float (&)[8][8]>(b[8 * r]));
  }
}

#endif

/// Element (row, column) of a 16x8 accumulator: register 2 * (row / 8) +
/// column % 2 of lane 4 * (row % 8) + column / 2.
template <typename T, unsigned Rows>
void loadAccumulators(const LaneState &w, const MmaOperands &o,
                      T (&tile)[Rows][8]) {
  for (unsigned r = 0; r < Rows / 8; ++r) {
    const T *even = w.at<T>(o.c[2 * r]), *odd = w.at<T>(o.c[2 * r + 1]);
    for (unsigned lane = 0; lane < 32; ++lane) {
      tile[8 * r + lane / 4][lane % 4 * 2] = even[lane];
      tile[8 * r + lane / 4][lane % 4 * 2 + 1] = odd[lane];
    }
  }
}
template <typename T, unsigned Rows>
void storeAccumulators(LaneState &w, const MmaOperands &o,
                       const T (&tile)[Rows][8]) {
  for (unsigned r = 0; r < Rows / 8; ++r) {
    T *even = w.at<T>(o.d[2 * r]), *odd = w.at<T>(o.d[2 * r + 1]);
    for (unsigned lane = 0; lane < 32; ++lane) {
      even[lane] = tile[8 * r + lane / 4][lane % 4 * 2];
      odd[lane] = tile[8 * r + lane / 4][lane % 4 * 2 + 1];
    }
  }
}
void loadHalfAccumulators(const LaneState &w, const MmaOperands &o,
                          float (&tile)[16][8]) {
  for (unsigned r = 0; r < 2; ++r) {
    const uint32_t *c = w.at<uint32_t>(o.c[r]);
    for (unsigned lane = 0; lane < 32; ++lane) {
      float *pair = &tile[8 * r + lane / 4][lane % 4 * 2];
      pair[0] = fromHalf(static_cast<uint16_t>(c[lane]));
      pair[1] = fromHalf(static_cast<uint16_t>(c[lane] >> 16));
    }
  }
}
void storeHalfAccumulators(LaneState &w, const MmaOperands &o,
                           const float (&tile)[16][8]) {
  for (unsigned r = 0; r < 2; ++r) {
    uint32_t *d = w.at<uint32_t>(o.d[r]);
    for (unsigned lane = 0; lane < 32; ++lane) {
      const float *pair = &tile[8 * r + lane / 4][lane % 4 * 2];
      d[lane] = toHalf(pair[0]) | static_cast<uint32_t>(toHalf(pair[1])) << 16;
    }
  }
}

struct HalfInput {
#ifdef __FMA__
  using Row = HalfRow;
#endif
  static float low(uint32_t word) {
    return fromHalf(static_cast<uint16_t>(word));
  }
  static float high(uint32_t word) {
    return fromHalf(static_cast<uint16_t>(word >> 16));
  }
};
struct BfloatInput {
#ifdef __FMA__
  using Row = BfloatRow;
#endif
  static float low(uint32_t word) { return asFloat(word << 16); }
  static float high(uint32_t word) { return asFloat(word & 0xffff0000u); }
};

/// Two 16-bit elements per register; register r of A covers rows 8 * (r % 2)
/// and columns 8 * (r / 2), register r of B rows 8 * r.
template <typename In, unsigned K>
void loadPairs(const LaneState &w, const MmaOperands &o, float (&a)[16][K],
               float (&b)[K][8]) {
  float low[32], high[32];
  for (unsigned r = 0; r < K / 4; ++r) {
    const uint32_t *word = w.at<uint32_t>(o.a[r]);
    for (unsigned lane = 0; lane < 32; ++lane) {
      low[lane] = In::low(word[lane]);
      high[lane] = In::high(word[lane]);
    }
    for (unsigned lane = 0; lane < 32; ++lane) {
      float *row = &a[8 * (r % 2) + lane / 4][8 * (r / 2) + lane % 4 * 2];
      row[0] = low[lane];
      row[1] = high[lane];
    }
  }
  for (unsigned r = 0; r < K / 8; ++r) {
    const uint32_t *word = w.at<uint32_t>(o.b[r]);
    for (unsigned lane = 0; lane < 32; ++lane) {
      low[lane] = In::low(word[lane]);
      high[lane] = In::high(word[lane]);
    }
    for (unsigned lane = 0; lane < 32; ++lane) {
      b[8 * r + lane % 4 * 2][lane / 4] = low[lane];
      b[8 * r + lane % 4 * 2 + 1][lane / 4] = high[lane];
    }
  }
}

/// One tf32 element per register: the 13 low bits of an f32 are ignored.
template <unsigned K>
void loadSingles(const LaneState &w, const MmaOperands &o, float (&a)[16][K],
                 float (&b)[K][8]) {
  for (unsigned r = 0; r < K / 2; ++r) {
    const uint32_t *word = w.at<uint32_t>(o.a[r]);
    for (unsigned lane = 0; lane < 32; ++lane)
      a[8 * (r % 2) + lane / 4][4 * (r / 2) + lane % 4] =
          asFloat(word[lane] & 0xffffe000u);
  }
  for (unsigned r = 0; r < K / 4; ++r) {
    const uint32_t *word = w.at<uint32_t>(o.b[r]);
    for (unsigned lane = 0; lane < 32; ++lane)
      b[4 * r + lane % 4][lane / 4] = asFloat(word[lane] & 0xffffe000u);
  }
}

/// acc += a * b, eight rows at a time so that their sums stay in registers.
template <unsigned K>
void multiply(const float (&a)[16][K], const float (&b)[K][8],
              float (&acc)[16][8]) {
#ifdef __FMA__
  for (unsigned block = 0; block < 16; block += 8) {
    __m256 sums[8];
    for (unsigned m = 0; m < 8; ++m)
      sums[m] = _mm256_load_ps(acc[block + m]);
    for (unsigned k = 0; k < K; ++k) {
      __m256 row = _mm256_load_ps(b[k]);
      for (unsigned m = 0; m < 8; ++m)
        sums[m] = _mm256_fmadd_ps(_mm256_broadcast_ss(&a[block + m][k]), row,
                                  sums[m]);
    }
    for (unsigned m = 0; m < 8; ++m)
      _mm256_store_ps(acc[block + m], sums[m]);
  }
#else
  for (unsigned k = 0; k < K; ++k)
    for (unsigned m = 0; m < 16; ++m)
      for (unsigned n = 0; n < 8; ++n)
        acc[m][n] = __builtin_fmaf(a[m][k], b[k][n], acc[m][n]);
#endif
}

const MmaOperands &operandsOf(const Inst &i) {
  return *reinterpret_cast<const MmaOperands *>(i.imm);
}

void loadSums(const LaneState &w, const MmaOperands &o, float (&acc)[16][8]) {
#ifdef __FMA__
  loadRows(w, o, acc);
#else
  loadAccumulators<float, 16>(w, o, acc);
#endif
}
void storeSums(LaneState &w, const MmaOperands &o, const float (&acc)[16][8]) {
#ifdef __FMA__
  storeRows(w, o, acc);
#else
  storeAccumulators<float, 16>(w, o, acc);
#endif
}

template <typename Load, unsigned K>
void floatMma(LaneState &w, const Inst &i, uint32_t) {
  const MmaOperands &o = operandsOf(i);
  alignas(64) float a[16][K], b[K][8], acc[16][8];
  Load::apply(w, o, a, b);
  if (i.flags & mma::halfAccumulators)
    loadHalfAccumulators(w, o, acc);
  else
    loadSums(w, o, acc);
  multiply<K>(a, b, acc);
  for (auto &row : acc)
    for (float &value : row)
      value = canonical(value);
  if (i.flags & mma::halfAccumulators)
    storeHalfAccumulators(w, o, acc);
  else
    storeSums(w, o, acc);
}
template <typename In> struct Pairs {
  template <unsigned K>
  static void apply(const LaneState &w, const MmaOperands &o, float (&a)[16][K],
                    float (&b)[K][8]) {
#ifdef __FMA__
    loadPairRows<typename In::Row, K>(w, o, a, b);
#else
    loadPairs<In, K>(w, o, a, b);
#endif
  }
};
struct Singles {
  template <unsigned K>
  static void apply(const LaneState &w, const MmaOperands &o, float (&a)[16][K],
                    float (&b)[K][8]) {
    loadSingles<K>(w, o, a, b);
  }
};

void doubleMma(LaneState &w, const Inst &i, uint32_t) {
  const MmaOperands &o = operandsOf(i);
  double acc[8][8];
  loadAccumulators<double, 8>(w, o, acc);
  const double *a = w.at<double>(o.a[0]), *b = w.at<double>(o.b[0]);
  for (unsigned k = 0; k < 4; ++k)
    for (unsigned m = 0; m < 8; ++m)
      for (unsigned n = 0; n < 8; ++n)
        acc[m][n] = __builtin_fma(a[4 * m + k], b[4 * n + k], acc[m][n]);
  for (auto &row : acc)
    for (double &value : row)
      value = canonical(value);
  storeAccumulators<double, 8>(w, o, acc);
}

int32_t byteOf(uint32_t word, unsigned k, bool isSignedByte) {
  uint32_t raw = word >> (8 * k) & 0xff;
  return isSignedByte ? static_cast<int8_t>(raw) : static_cast<int32_t>(raw);
}
int32_t finishInteger(int64_t sum, bool saturateSum) {
  if (saturateSum && sum > 0x7fffffffll)
    return 0x7fffffff;
  if (saturateSum && sum < -0x80000000ll)
    return -0x7fffffff - 1;
  return static_cast<int32_t>(static_cast<uint32_t>(sum));
}
/// Four bytes per register; register r of A covers rows 8 * (r % (M / 8)) and
/// columns 16 * (r / (M / 8)), register r of B rows 16 * r.
template <unsigned M, unsigned K>
void byteMma(LaneState &w, const Inst &i, uint32_t) {
  const MmaOperands &o = operandsOf(i);
  bool sa = i.flags & mma::signedA, sb = i.flags & mma::signedB;
  int32_t a[M][K], b[K][8], acc[M][8];
  for (unsigned r = 0; r < M / 8 * (K / 16); ++r)
    for (unsigned lane = 0; lane < 32; ++lane)
      for (unsigned k = 0; k < 4; ++k)
        a[8 * (r % (M / 8)) + lane / 4][16 * (r / (M / 8)) + lane % 4 * 4 + k] =
            byteOf(w.at<uint32_t>(o.a[r])[lane], k, sa);
  for (unsigned r = 0; r < K / 16; ++r)
    for (unsigned lane = 0; lane < 32; ++lane)
      for (unsigned k = 0; k < 4; ++k)
        b[16 * r + lane % 4 * 4 + k][lane / 4] =
            byteOf(w.at<uint32_t>(o.b[r])[lane], k, sb);
  loadAccumulators<int32_t, M>(w, o, acc);
  for (unsigned m = 0; m < M; ++m) {
    int32_t sums[8] = {};
    for (unsigned k = 0; k < K; ++k)
      for (unsigned n = 0; n < 8; ++n)
        sums[n] += a[m][k] * b[k][n];
    for (unsigned n = 0; n < 8; ++n)
      acc[m][n] = finishInteger(static_cast<int64_t>(acc[m][n]) + sums[n],
                                i.flags & mma::saturate);
  }
  storeAccumulators<int32_t, M>(w, o, acc);
}

} // namespace

Handler selectMma(uint8_t kind) {
  switch (static_cast<MmaKind>(kind)) {
  case MmaKind::F16_16x8x16:
    return floatMma<Pairs<HalfInput>, 16>;
  case MmaKind::F16_16x8x8:
    return floatMma<Pairs<HalfInput>, 8>;
  case MmaKind::BF16_16x8x16:
    return floatMma<Pairs<BfloatInput>, 16>;
  case MmaKind::BF16_16x8x8:
    return floatMma<Pairs<BfloatInput>, 8>;
  case MmaKind::TF32_16x8x8:
    return floatMma<Singles, 8>;
  case MmaKind::TF32_16x8x4:
    return floatMma<Singles, 4>;
  case MmaKind::F64_8x8x4:
    return doubleMma;
  case MmaKind::I8_16x8x32:
    return byteMma<16, 32>;
  case MmaKind::I8_16x8x16:
    return byteMma<16, 16>;
  case MmaKind::I8_8x8x16:
    return byteMma<8, 16>;
  }
  return nullptr;
}

} // namespace ptxvm::PTXVM_ISA
