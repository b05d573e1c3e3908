// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef NAG_LIB_PROFILE_MACHINE_H
#define NAG_LIB_PROFILE_MACHINE_H

#include "nag/PTXVM/CudaExtension.h"
#include "nag/Profile/Profile.h"

namespace nag::profile {

/// The PTX machine of this process as a counter: what its library tells beyond
/// CUDA (PTXVM/CudaExtension.h).
class Machine {
public:
  static llvm::Expected<Machine> load();

  /// Counts memory traffic of the launches to come, without checks.
  llvm::Error count() const;
  /// The counters of every kernel launched since the last call, by name.
  llvm::StringMap<Counters> take() const;

private:
  int (*configure)(const char *checks, int counters) = nullptr;
  size_t (*countKernels)() = nullptr;
  int (*getKernel)(size_t index, NagPtxvmKernel *kernel) = nullptr;
  size_t (*countCounters)() = nullptr;
  const char *(*getName)(size_t index) = nullptr;
  int (*getCounters)(size_t kernel, uint64_t *values, size_t count) = nullptr;
  void (*reset)() = nullptr;
};

} // namespace nag::profile

#endif // NAG_LIB_PROFILE_MACHINE_H
