// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What changes from step to step. Steps count from 1.
#ifndef NAG_RUNTIME_SCHEDULE_H
#define NAG_RUNTIME_SCHEDULE_H

#include <cstdint>

namespace nag::runtime {

enum class Decay { None, Linear, Cosine };

/// Linear warm-up to `peak`, then decay to floor * peak:
///   step <= warmup:  peak * step / warmup
///   else, with p = (step - 1 - warmup) / (total - warmup), in [0, 1):
///     cosine  peak * (floor + (1 - floor) * (1 + cos(pi p)) / 2)
///     linear  peak * (floor + (1 - floor) * (1 - p))
/// Steps after `total` stay at floor * peak (at peak without decay).
struct LearningRate {
  double peak = 3e-3;
  int64_t warmup = 40;
  int64_t total = 500;
  Decay decay = Decay::Cosine;
  double floor = 0;

  double at(int64_t step) const;
};

/// The factor of alpha (docs/mathematics.md section 6): step / warmup up to 1;
/// 1 when warmup is 0.
double getGateScale(int64_t step, int64_t warmup);

} // namespace nag::runtime

#endif // NAG_RUNTIME_SCHEDULE_H
