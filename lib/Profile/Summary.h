// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef NAG_LIB_PROFILE_SUMMARY_H
#define NAG_LIB_PROFILE_SUMMARY_H

#include "nag/Profile/Profile.h"

namespace nag::profile {

/// a / b, and 0 where b is.
double divide(double a, double b);

/// What a kernel, or a whole step, comes to.
struct Summary {
  Counters counters;
  int64_t launches = 0, compulsoryBytes = 0, flops = 0;

  void add(const Kernel &kernel, int64_t times);
  double getRequestedRatio() const {
    return divide(double(counters.getRequestedBytes()), compulsoryBytes);
  }
  double getUniqueRatio() const {
    return divide(double(counters.getUniqueBytes()), compulsoryBytes);
  }
  double getSectorRatio() const {
    return divide(double(counters.get("global_sectors")),
                  double(counters.get("global_sectors_ideal")));
  }
  double getTensorShare() const {
    return divide(double(counters.get("tensor_flops")),
                  double(counters.getFlops()));
  }
};

/// Of one execution.
Summary summarize(const Kernel &kernel);
/// Of the step.
Summary summarize(const Profile &profile);

/// The bound of a step.
double getStepSeconds(const Profile &profile, const GPUDevice &device);
/// Seconds of all launches of a kernel in a step, and of all kernels, on the
/// GPU that timed them.
double getLaunchSeconds(const Kernel &kernel);
double getLaunchSeconds(const Profile &profile);

/// The middle one of some values, the larger of two.
double findMedian(std::vector<double> values);

} // namespace nag::profile

#endif // NAG_LIB_PROFILE_SUMMARY_H
