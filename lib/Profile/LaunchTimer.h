// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef NAG_LIB_PROFILE_LAUNCHTIMER_H
#define NAG_LIB_PROFILE_LAUNCHTIMER_H

#include "nag/Runtime/CUDA/Device.h"

#include "llvm/ADT/STLFunctionalExtras.h"

#include <map>

namespace nag::profile {

/// Times launches where they stand in a program, by events of the device before
/// and behind each. A launch has some microseconds of its own in it.
class LaunchTimer {
public:
  explicit LaunchTimer(runtime::cuda::CUDADevice &gpu) : device(gpu) {}
  ~LaunchTimer();
  LaunchTimer(const LaunchTimer &) = delete;

  /// Enqueues a launch of the kernel of that number.
  void time(size_t kernel, llvm::function_ref<void()> launch);
  /// Waits for the launches since the last round: their mean is one value of
  /// each kernel's.
  llvm::Error finishRound();
  /// Seconds of one launch: the median of the rounds.
  std::optional<double> getSeconds(size_t kernel) const;

private:
  struct Launch {
    size_t kernel;
    runtime::cuda::Event start, end;
  };

  /// An event of its own for every call in a round.
  llvm::Expected<runtime::cuda::Event> takeEvent();
  llvm::Error record(runtime::cuda::Event &event);

  runtime::cuda::CUDADevice &device;
  std::vector<runtime::cuda::Event> events;
  size_t taken = 0;
  std::vector<Launch> launches;
  std::map<size_t, std::vector<double>> rounds;
  llvm::Error failure = llvm::Error::success();
};

} // namespace nag::profile

#endif // NAG_LIB_PROFILE_LAUNCHTIMER_H
