// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Occupancy and roofline bounds (Williams, Waterman and Patterson, 2009).
#include "nag/Profile/Profile.h"

using namespace llvm;
using namespace nag;
using namespace nag::profile;

void Counters::add(const Counters &other, uint64_t times) {
  for (const auto &entry : other.values)
    values[entry.first()] += times * entry.second;
}

int64_t DeviceKernel::countResident(const GPUChip &chip) const {
  cuda::KernelResources used = getResources();
  return countResidentBlocks(
      chip, {info.block[0] * info.block[1] * info.block[2],
             info.sharedBytes + used.sharedBytes, used.registers});
}

double DeviceKernel::getOccupancy(const GPUChip &chip) const {
  int64_t threads = info.block[0] * info.block[1] * info.block[2];
  return double(countResident(chip) * alignTo(threads, 32)) / chip.maxThreads;
}

/// Multiply-adds of one mma.sync tell its operands' type: 16 x 8 x 16 of bf16,
/// 16 x 8 x 8 of tf32.
static double getTensorFlops(const Counters &counters,
                             const GPUDevice &device) {
  uint64_t mma = counters.get("mma_instructions");
  bool isBF16 = mma > 0 && counters.get("tensor_flops") / mma >= 4096;
  return isBF16 ? device.bf16Flops : device.tf32Flops;
}

Bound DeviceKernel::getBound(const GPUDevice &device) const {
  // 128 bytes of shared memory per cycle and multiprocessor are one pass over
  // its banks.
  double sharedPasses = device.multiprocessors * device.gigahertz * 1e9;
  const Bound bounds[] = {
      {double(counters.getUniqueBytes()) / device.memoryBytes, "memory"},
      {double(counters.get("tensor_flops")) / getTensorFlops(counters, device),
       "tensor"},
      {double(counters.get("other_flops")) / device.f32Flops, "f32"},
      {double(counters.get("shared_wavefronts")) / sharedPasses, "shared"}};
  return *max_element(bounds, [](const Bound &a, const Bound &b) {
    return a.seconds < b.seconds;
  });
}

int64_t Kernel::getLaunches() const {
  return parts.empty() ? 0 : parts.front().launches;
}

Counters Kernel::getCounters() const {
  Counters sum;
  for (const DeviceKernel &part : parts)
    sum.add(part.counters, 1);
  return sum;
}

double Kernel::getSeconds() const {
  double sum = 0;
  for (const DeviceKernel &part : parts)
    sum += part.seconds.value_or(0);
  return sum;
}

/// One launch after the other: the sum of their bounds, named for the longest.
Bound Kernel::getBound(const GPUDevice &device) const {
  Bound sum, longest;
  for (const DeviceKernel &part : parts) {
    Bound bound = part.getBound(device);
    sum.seconds += bound.seconds;
    if (bound.seconds >= longest.seconds)
      longest = bound;
  }
  sum.resource = longest.resource;
  return sum;
}

std::vector<GPUDevice> Profile::getDevices() const {
  std::vector<GPUDevice> devices;
  for (const GPUDevice &device : getGPUDevices())
    if (runsOn(chip, device))
      devices.push_back(device);
  return devices;
}
