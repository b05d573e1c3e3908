// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the environment says about the device and its checks.
#ifndef PTXVM_DRIVER_SETTINGS_H
#define PTXVM_DRIVER_SETTINGS_H

#include <cstdint>
#include <string>

namespace ptxvm::driver {

struct Settings {
  int major = 9, minor = 0; // compute capability
  uint32_t checks = 0;      // bits of Check
  bool counters = false;    // count memory traffic
  std::string countersFile, findingsFile;
  uint64_t memoryBytes = 0;
  unsigned threads = 0; // of the host; 0: all cores
  uint64_t branchLimit = 0;

  /// False leaves the reason in `problem`: variable, value, what was expected.
  bool readEnvironment(std::string &problem);
};

/// Limits of the two kinds of device that the machine plays.
struct DeviceLimits {
  int multiprocessors, sharedPerMultiprocessor, sharedPerBlock, l2Bytes;
};
DeviceLimits limitsOf(const Settings &settings);
/// Shared memory per block without cuFuncSetAttribute, and what the system
/// keeps of it.
inline constexpr int defaultSharedPerBlock = 48 * 1024;
inline constexpr int reservedSharedPerBlock = 1024;
inline constexpr int threadsPerMultiprocessor = 2048;
inline constexpr int blocksPerMultiprocessor = 32;
inline constexpr int registersPerMultiprocessor = 65536;
/// The machine has no register allocator; this is what functions report.
inline constexpr int reportedRegisters = 32;

} // namespace ptxvm::driver

#endif // PTXVM_DRIVER_SETTINGS_H
