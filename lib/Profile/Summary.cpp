// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Summary.h"

#include <algorithm>

using namespace nag;
using namespace nag::profile;

double nag::profile::divide(double a, double b) { return b == 0 ? 0 : a / b; }

void Summary::add(const Kernel &kernel, int64_t times) {
  for (const DeviceKernel &part : kernel.parts) {
    counters.add(part.counters, times);
    launches += times;
  }
  compulsoryBytes += times * kernel.compulsoryBytes;
  flops += times * kernel.flops;
}

Summary nag::profile::summarize(const Kernel &kernel) {
  Summary summary;
  summary.add(kernel, 1);
  return summary;
}

Summary nag::profile::summarize(const Profile &profile) {
  Summary summary;
  for (const Kernel &kernel : profile.kernels)
    summary.add(kernel, kernel.getLaunches());
  return summary;
}

double nag::profile::getStepSeconds(const Profile &profile,
                                    const GPUDevice &device) {
  double seconds = 0;
  for (const Kernel &kernel : profile.kernels)
    seconds += kernel.getLaunches() * kernel.getBound(device).seconds;
  return seconds;
}

double nag::profile::getLaunchSeconds(const Kernel &kernel) {
  return kernel.getLaunches() * kernel.getSeconds();
}

double nag::profile::getLaunchSeconds(const Profile &profile) {
  double seconds = 0;
  for (const Kernel &kernel : profile.kernels)
    seconds += getLaunchSeconds(kernel);
  return seconds;
}

double nag::profile::findMedian(std::vector<double> values) {
  auto middle = values.begin() + values.size() / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}
