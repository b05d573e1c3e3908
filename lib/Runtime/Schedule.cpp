// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Schedule.h"
#include <algorithm>
#include <cmath>

using namespace nag::runtime;

double LearningRate::at(int64_t step) const {
  constexpr double pi = 3.14159265358979323846;
  if (step <= warmup)
    return peak * double(step) / double(warmup);
  if (decay == Decay::None)
    return peak;
  double span = double(std::max<int64_t>(total - warmup, 1));
  double progress = std::min(double(step - 1 - warmup) / span, 1.0);
  double left =
      decay == Decay::Cosine ? (1 + std::cos(pi * progress)) / 2 : 1 - progress;
  return peak * (floor + (1 - floor) * left);
}

double nag::runtime::getGateScale(int64_t step, int64_t warmup) {
  return step >= warmup ? 1.0 : double(step) / double(warmup);
}
