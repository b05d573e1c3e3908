// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What is known of the GPUs that code is generated for: the one table that
// schedules, occupancy and roofline bounds are computed from.
#ifndef NAG_CONVERSION_GPUCHIPS_H
#define NAG_CONVERSION_GPUCHIPS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <string>

namespace nag {

/// A multiprocessor of a chip (CUDA C++ Programming Guide, compute
/// capabilities), and what it does per cycle (A100 and H100 whitepapers).
struct GPUChip {
  llvm::StringLiteral name; // sm_80
  /// Dynamic shared memory of one block, shared memory of a multiprocessor, and
  /// what the system takes of it for each block, in bytes.
  int64_t maxSharedBytes, sharedBytes, reservedSharedBytes;
  int64_t registers;
  int64_t maxThreads, maxBlocks; // resident
  /// Of the smallest device with the chip.
  int64_t multiprocessors;
  /// Multiply-adds per cycle: f32, and what mma.sync reaches of the tensor
  /// cores with bf16 and tf32 operands (0.6 of them on sm_90).
  double f32Rate, bf16Rate, tf32Rate;
};

/// A product with its highest rates (datasheets; dense, boost clocks).
struct GPUDevice {
  llvm::StringLiteral name; // A100
  llvm::StringLiteral chip; // its own: sm_80
  int64_t multiprocessors;
  double gigahertz;
  double memoryBytes; // per second
  /// Floating-point operations per second: f32, and on tensor cores.
  double f32Flops, tf32Flops, bf16Flops;
};

llvm::ArrayRef<GPUChip> getGPUChips();
/// The chip of a name; null for others.
const GPUChip *lookupGPUChip(llvm::StringRef name);
/// "sm_80 or sm_90a".
std::string listGPUChips();

llvm::ArrayRef<GPUDevice> getGPUDevices();
/// True when code for `chip` runs on the device: on later chips too, but for a
/// chip with the suffix a.
bool runsOn(llvm::StringRef chip, const GPUDevice &device);

/// What a block asks of a multiprocessor.
struct BlockNeeds {
  int64_t threads;
  int64_t sharedBytes;
  /// Per thread; 0 where they are not known.
  int64_t registers;
};
/// Registers that a thread of a block alone on a multiprocessor may have, if
/// instructions could name as many: they are there for a multiple of four
/// warps.
int64_t countThreadRegisters(const GPUChip &chip, int64_t blockThreads);
/// How many such blocks a multiprocessor holds at once; 0 where it holds none.
/// Registers come in 256 per warp, likewise for a multiple of four warps, and
/// shared memory in 128 bytes (CUDA occupancy calculator).
int64_t countResidentBlocks(const GPUChip &chip, const BlockNeeds &needs);

} // namespace nag

#endif // NAG_CONVERSION_GPUCHIPS_H
