// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Conversion/GPUChips.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace llvm;
using namespace nag;

static constexpr int64_t kKiB = 1024;
static constexpr int64_t kWarpSize = 32;
/// Warps that get registers together.
static constexpr int64_t kWarpGroup = 4;

static constexpr GPUChip kChips[] = {{"sm_80", 163 * kKiB, 164 * kKiB, kKiB,
                                      65536, 2048, 32, 108, 64, 1024, 512},
                                     {"sm_90a", 227 * kKiB, 228 * kKiB, kKiB,
                                      65536, 2048, 32, 132, 128, 1200, 600}};

/// A100 SXM 80 GB, H100 SXM 80 GB, H200 SXM.
static constexpr GPUDevice kDevices[] = {
    {"A100", "sm_80", 108, 1.410, 2.039e12, 19.5e12, 156e12, 312e12},
    {"H100", "sm_90a", 132, 1.830, 3.35e12, 66.9e12, 494.7e12, 989.4e12},
    {"H200", "sm_90a", 132, 1.830, 4.8e12, 66.9e12, 494.7e12, 989.4e12}};

ArrayRef<GPUChip> nag::getGPUChips() { return kChips; }
ArrayRef<GPUDevice> nag::getGPUDevices() { return kDevices; }

const GPUChip *nag::lookupGPUChip(StringRef name) {
  const auto *found =
      find_if(kChips, [&](const GPUChip &chip) { return chip.name == name; });
  return found == std::end(kChips) ? nullptr : found;
}

std::string nag::listGPUChips() {
  return join(
      map_range(kChips, [](const GPUChip &chip) { return chip.name.str(); }),
      " or ");
}

bool nag::runsOn(StringRef chip, const GPUDevice &device) {
  if (chip.ends_with("a") || device.chip == chip)
    return device.chip == chip;
  auto number = [](StringRef name) {
    int value = 0;
    name.ltrim("sm_").rtrim("a").getAsInteger(10, value);
    return value;
  };
  return number(chip) <= number(device.chip);
}

int64_t nag::countThreadRegisters(const GPUChip &chip, int64_t blockThreads) {
  return chip.registers /
         int64_t(alignTo(blockThreads, kWarpGroup * kWarpSize));
}

int64_t nag::countResidentBlocks(const GPUChip &chip, const BlockNeeds &needs) {
  int64_t warps = divideCeil(needs.threads, kWarpSize);
  int64_t blocks =
      std::min(chip.maxBlocks, chip.maxThreads / (warps * kWarpSize));
  if (needs.registers > 0) {
    int64_t perWarp = alignTo(needs.registers * kWarpSize, 256);
    blocks = std::min(blocks, chip.registers / perWarp / kWarpGroup *
                                  kWarpGroup / warps);
  }
  int64_t shared = alignTo(needs.sharedBytes + chip.reservedSharedBytes, 128);
  return std::min(blocks, chip.sharedBytes / shared);
}
