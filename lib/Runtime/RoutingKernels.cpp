// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Selection of tokens by score, without sorting: the k-th largest magnitude is
// found bit by bit, then one pass lists what is executed. And the rows of the
// others, where they are wanted in another place.
#include "nag/Runtime/Kernels.h"
#include <cmath>
#include <cstring>

namespace {

template <typename T> struct BitsOf;
template <> struct BitsOf<float> {
  using Type = uint32_t;
};
template <> struct BitsOf<double> {
  using Type = uint64_t;
};

/// Magnitudes as integers of the same order; NaN is the largest.
template <typename T> class Magnitudes {
public:
  using Bits = typename BitsOf<T>::Type;

  Magnitudes(const T *scores, int64_t length) : values(scores), count(length) {}

  int64_t size() const { return count; }
  Bits operator[](int64_t index) const {
    Bits bits;
    std::memcpy(&bits, values + index, sizeof(T));
    return bits & (~Bits(0) >> 1);
  }
  int64_t countFrom(Bits least) const {
    int64_t found = 0;
    for (int64_t i = 0; i < count; ++i)
      found += (*this)[i] >= least;
    return found;
  }
  /// The `rank`-th largest; `rank` counts from 1.
  Bits findLargest(int64_t rank) const {
    Bits found = 0;
    for (int bit = int(sizeof(Bits)) * 8 - 2; bit >= 0; --bit) {
      Bits candidate = found | Bits(1) << bit;
      if (countFrom(candidate) >= rank)
        found = candidate;
    }
    return found;
  }

private:
  const T *values;
  int64_t count;
};

/// Writes first + t for the `kept` largest values, ascending; of equals the
/// earlier ones count.
template <typename T>
void listLargest(const Magnitudes<T> &scores, int64_t kept, int64_t first,
                 int32_t *indices) {
  auto least = scores.findLargest(kept);
  int64_t ties = kept - scores.countFrom(least + 1);
  for (int64_t t = 0; t < scores.size(); ++t)
    if (scores[t] > least || (scores[t] == least && ties-- > 0))
      *indices++ = int32_t(first + t);
}

/// Nothing stands behind the last index.
void clearTail(int64_t used, int64_t rows, int32_t *indices) {
  for (int64_t i = used; i < rows; ++i)
    indices[i] = -1;
}

template <typename T>
void routeCapacity(int64_t sequences, int64_t length, int64_t rows,
                   int64_t kept, const T *scores, int32_t *indices,
                   int32_t *offsets) {
#pragma omp parallel for schedule(static)
  for (int64_t b = 0; b < sequences; ++b)
    listLargest(Magnitudes<T>(scores + b * length, length), kept, b * length,
                indices + b * kept);
  for (int64_t b = 0; b <= sequences; ++b)
    offsets[b] = int32_t(b * kept);
  clearTail(sequences * kept, rows, indices);
}

/// As RoutingAttr::getKept; a rate out of range keeps all tokens or one.
template <typename T> int64_t countKept(int64_t length, T rate) {
  double share = rate > 0 ? double(rate) : 0.0;
  double skipped = std::floor((share + 1e-7) * double(length));
  return skipped < double(length) ? length - int64_t(skipped) : 1;
}

template <typename T>
void routeThreshold(int64_t sequences, int64_t length, int64_t rows,
                    const T *scores, T threshold, int32_t *indices,
                    int32_t *offsets) {
  int32_t count = 0;
  for (int64_t b = 0; b < sequences; ++b) {
    offsets[b] = count;
    for (int64_t t = b * length; t < (b + 1) * length; ++t)
      if (!(std::fabs(scores[t]) < threshold))
        indices[count++] = int32_t(t);
  }
  offsets[sequences] = count;
  clearTail(count, rows, indices);
}

template <typename T>
void quantile(int64_t slices, int64_t count, const T *values, T rate,
              T *thresholds) {
  int64_t kept = countKept(count, rate);
#pragma omp parallel for schedule(static)
  for (int64_t s = 0; s < slices; ++s) {
    auto bits = Magnitudes<T>(values + s * count, count).findLargest(kept);
    std::memcpy(thresholds + s, &bits, sizeof(T));
  }
}

} // namespace

#define NAG_ROUTING_KERNELS(T, suffix)                                         \
  void nag_route_capacity_##suffix(                                            \
      int64_t sequences, int64_t length, int64_t rows, int64_t kept,           \
      const T *scores, int32_t *indices, int32_t *offsets) {                   \
    routeCapacity(sequences, length, rows, kept, scores, indices, offsets);    \
  }                                                                            \
  void nag_route_rate_##suffix(int64_t sequences, int64_t length,              \
                               int64_t rows, const T *scores, const T *rate,   \
                               int32_t *indices, int32_t *offsets) {           \
    routeCapacity(sequences, length, rows, countKept(length, *rate), scores,   \
                  indices, offsets);                                           \
  }                                                                            \
  void nag_route_threshold_##suffix(                                           \
      int64_t sequences, int64_t length, int64_t rows, const T *scores,        \
      const T *threshold, int32_t *indices, int32_t *offsets) {                \
    routeThreshold(sequences, length, rows, scores, *threshold, indices,       \
                   offsets);                                                   \
  }                                                                            \
  void nag_quantile_##suffix(int64_t slices, int64_t count, const T *values,   \
                             const T *rate, T *thresholds) {                   \
    quantile(slices, count, values, *rate, thresholds);                        \
  }

NAG_ROUTING_KERNELS(float, f32)
NAG_ROUTING_KERNELS(double, f64)

void nag_carry_rows(int64_t rows, int64_t rowBytes, int64_t sequences,
                    const void *from, const int32_t *indices,
                    const int32_t *offsets, void *to) {
  if (from == to)
    return;
  int64_t count = offsets[sequences];
#pragma omp parallel for schedule(static)
  for (int64_t gap = 0; gap <= count; ++gap) {
    int64_t begin = gap == 0 ? 0 : indices[gap - 1] + 1;
    int64_t end = gap == count ? rows : indices[gap];
    std::memcpy(static_cast<char *>(to) + begin * rowBytes,
                static_cast<const char *>(from) + begin * rowBytes,
                (end - begin) * rowBytes);
  }
}
