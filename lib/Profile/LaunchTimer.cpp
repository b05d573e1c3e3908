// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "LaunchTimer.h"
#include "Summary.h"

using namespace llvm;
using namespace nag;
using namespace nag::profile;
using nag::runtime::cuda::Event;

LaunchTimer::~LaunchTimer() {
  for (Event event : events)
    device.getDriver()->cuEventDestroy_v2(event);
  consumeError(std::move(failure));
}

Expected<Event> LaunchTimer::takeEvent() {
  if (taken == events.size()) {
    Event event = nullptr;
    const runtime::cuda::Driver &driver = device.getDriver();
    if (Error error = driver.check(driver->cuEventCreate(&event, /*flags=*/0),
                                   "cuEventCreate"))
      return error;
    events.push_back(event);
  }
  return events[taken++];
}

Error LaunchTimer::record(Event &event) {
  auto made = takeEvent();
  if (!made)
    return made.takeError();
  event = *made;
  const runtime::cuda::Driver &driver = device.getDriver();
  return driver.check(driver->cuEventRecord(event, device.getStream()),
                      "cuEventRecord");
}

void LaunchTimer::time(size_t kernel, function_ref<void()> launch) {
  Launch timed{kernel, nullptr, nullptr};
  if (failure)
    return;
  failure = record(timed.start);
  if (failure)
    return;
  launch();
  failure = record(timed.end);
  launches.push_back(timed);
}

Error LaunchTimer::finishRound() {
  Error error = joinErrors(std::move(failure), device.synchronize());
  failure = Error::success();
  if (error)
    return error;
  const runtime::cuda::Driver &driver = device.getDriver();
  std::map<size_t, std::pair<double, int64_t>> sums;
  for (const Launch &launch : launches) {
    float milliseconds = 0;
    if (Error failed = driver.check(
            driver->cuEventElapsedTime(&milliseconds, launch.start, launch.end),
            "cuEventElapsedTime"))
      return failed;
    auto &[sum, count] = sums[launch.kernel];
    sum += milliseconds * 1e-3;
    ++count;
  }
  for (const auto &[kernel, total] : sums)
    rounds[kernel].push_back(total.first / double(total.second));
  launches.clear();
  taken = 0;
  return Error::success();
}

std::optional<double> LaunchTimer::getSeconds(size_t kernel) const {
  auto found = rounds.find(kernel);
  if (found == rounds.end())
    return std::nullopt;
  return findMedian(found->second);
}
