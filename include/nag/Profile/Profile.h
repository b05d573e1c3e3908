// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the kernels of a program do, counted by the PTX machine and ptxas, and
// what that bounds on a GPU.
#ifndef NAG_PROFILE_PROFILE_H
#define NAG_PROFILE_PROFILE_H

#include "nag/Conversion/GPUChips.h"
#include "nag/Target/CUDA/Compiler.h"

#include "llvm/ADT/StringMap.h"

#include <functional>

namespace nag::profile {

/// The PTX machine's counters of one launch, by name (nagPtxvmCounterName).
class Counters {
public:
  uint64_t get(llvm::StringRef name) const { return values.lookup(name); }
  void set(llvm::StringRef name, uint64_t value) { values[name] = value; }

  /// Bytes of global memory, as threads ask for them and each counted once.
  uint64_t getRequestedBytes() const {
    return get("global_bytes_read") + get("global_bytes_written");
  }
  uint64_t getUniqueBytes() const {
    return get("unique_bytes_read") + get("unique_bytes_written");
  }
  uint64_t getFlops() const { return get("tensor_flops") + get("other_flops"); }
  void add(const Counters &other, uint64_t times);
  /// The mean of so many launches, which `add` or the machine has summed.
  void divide(uint64_t times) {
    for (auto &entry : values)
      entry.second /= times;
  }

private:
  llvm::StringMap<uint64_t> values;
};

/// A time that nothing on a device can be faster than, and what takes it.
struct Bound {
  double seconds = 0;
  llvm::StringRef resource; // memory, tensor, f32, shared
};

/// A device function: all its launches are alike.
struct DeviceKernel {
  cuda::KernelInfo info;
  /// Where ptxas is installed.
  std::optional<cuda::KernelResources> resources;
  int64_t launches = 0;
  /// Launches that happened.
  int64_t runs = 0;
  Counters counters;
  /// Of one launch, where a GPU ran it.
  std::optional<double> seconds;

  cuda::KernelResources getResources() const {
    return resources ? *resources : cuda::KernelResources();
  }
  /// Blocks of a multiprocessor, and the share of its threads that they are.
  int64_t countResident(const GPUChip &chip) const;
  double getOccupancy(const GPUChip &chip) const;
  /// The roofline bound of one launch.
  Bound getBound(const GPUDevice &device) const;
};

/// A kernel function: ops of the dialect, and the device functions that they
/// became.
struct Kernel {
  std::string name;
  /// "nag.linear, nag.relu2".
  std::string ops;
  /// By CostOpInterface: operations, and the bytes of what goes in and comes
  /// out, each tensor moved once. Of one execution.
  int64_t flops = 0, compulsoryBytes = 0;
  std::vector<DeviceKernel> parts;

  /// Executions in the step.
  int64_t getLaunches() const;
  /// Of one execution.
  Counters getCounters() const;
  Bound getBound(const GPUDevice &device) const;
  /// Seconds of one execution on the GPU that timed it.
  double getSeconds() const;
};

/// Copies from one place of the device's memory to another, which no kernel
/// makes.
struct Copies {
  int64_t count = 0;
  int64_t bytes = 0;

  /// Each byte is read and written.
  int64_t getTraffic() const { return 2 * bytes; }
};

struct Profile {
  std::string chip, precision;
  /// The GPU whose times these are; empty: the PTX machine's counters.
  std::string timedDevice;
  /// Seconds of a call of all functions on that GPU, without events between
  /// the launches.
  double stepSeconds = 0;
  /// The functions that were run, each once.
  std::vector<std::string> functions;
  std::vector<Kernel> kernels;
  Copies copies;
  /// Launches that were counted; the others are taken to be like the first.
  int64_t runs = 0;
  bool hasResources = false;
  /// Of each sub-layer the share of the tokens that reached its threshold,
  /// where thresholds were found for a rate: equal scores skip together.
  std::vector<double> executedShares;

  bool isTimed() const { return !timedDevice.empty(); }
  const GPUChip &getChip() const { return *lookupGPUChip(chip); }
  /// The devices that run the code.
  std::vector<GPUDevice> getDevices() const;
};

/// What is done with a program's launches.
struct Options {
  std::string chip = "sm_80";
  std::string precision = "f32"; // f32, tf32, bf16
  /// JSON file of schedules; empty: none.
  std::string schedule;
  /// A @loss is differentiated and gets an optimizer.
  bool differentiate = true;
  /// Functions to run; empty: @gradients and @apply of a program that trains,
  /// else all.
  std::vector<std::string> functions;
  /// Thresholds are such that this share of each sub-layer's tokens skips,
  /// found by running the functions that take them once per sub-layer before.
  std::optional<double> skipRate;
  /// False: launches of kernels for which this is false are left out.
  std::function<bool(llvm::StringRef kernel)> counts;
  /// "vm": counters; else the number of a GPU, whose launches are timed.
  std::string device = "vm";
  /// On a GPU: true times every launch where it stands, over some steps; false
  /// the first launch of each kernel, many times in a row.
  bool timesInPlace = false;
  /// Called when one more of so many kernels has run.
  std::function<void(int64_t done, int64_t total)> progress;

  void configure(cuda::CompileOptions &compile) const;
};

/// Compiles the program, which it changes, runs its functions once on buffers
/// of zeros (and tokens at random) and counts. A kernel that is launched again
/// is not run again: the counts of our kernels depend on their shapes alone. On
/// a GPU launches are timed instead. Diagnostics go to the context's handler.
llvm::Expected<Profile> measure(mlir::ModuleOp program, const Options &options);

/// A table for people: a line per kernel and one of totals, of counters, with
/// one of copies, or of times.
void print(const Profile &profile, llvm::raw_ostream &os);
/// {"chip", "functions", "devices": [...], "kernels": [...], "copies",
/// "totals"}; "executed_shares" where thresholds were found; with times for
/// counters and bounds where a GPU took them.
llvm::json::Value toJSON(const Profile &profile);

} // namespace nag::profile

#endif // NAG_PROFILE_PROFILE_H
