// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// mma.sync shapes this machine executes (PTX ISA 9.0, section 9.7.14.5).
#ifndef PTXVM_EXEC_MMA_H
#define PTXVM_EXEC_MMA_H

#include <cstdint>

namespace ptxvm {

enum class MmaKind : uint8_t {
  F16_16x8x16, // f16 inputs
  F16_16x8x8,
  BF16_16x8x16,
  BF16_16x8x8,
  TF32_16x8x8,
  TF32_16x8x4,
  F64_8x8x4,
  I8_16x8x32,
  I8_16x8x16,
  I8_8x8x16
};

/// Bits of Inst::flags of an mma.
namespace mma {
inline constexpr uint8_t signedA = 1;
inline constexpr uint8_t signedB = 2;
inline constexpr uint8_t halfAccumulators = 4; // c and d are f16
inline constexpr uint8_t saturate = 8;         // .satfinite of integers
} // namespace mma

/// Registers of one fragment set and the shape, per kind.
struct MmaShape {
  uint8_t m, n, k;
  uint8_t aRegs, bRegs, accRegs; // accRegs for 32-bit (or f64) accumulators
};
constexpr MmaShape shapeOf(MmaKind kind) {
  switch (kind) {
  case MmaKind::F16_16x8x16:
  case MmaKind::BF16_16x8x16:
    return {16, 8, 16, 4, 2, 4};
  case MmaKind::F16_16x8x8:
  case MmaKind::BF16_16x8x8:
    return {16, 8, 8, 2, 1, 4};
  case MmaKind::TF32_16x8x8:
    return {16, 8, 8, 4, 2, 4};
  case MmaKind::TF32_16x8x4:
    return {16, 8, 4, 2, 1, 4};
  case MmaKind::F64_8x8x4:
    return {8, 8, 4, 1, 1, 2};
  case MmaKind::I8_16x8x32:
    return {16, 8, 32, 4, 2, 4};
  case MmaKind::I8_16x8x16:
    return {16, 8, 16, 2, 1, 4};
  case MmaKind::I8_8x8x16:
    return {8, 8, 16, 1, 1, 2};
  }
  return {};
}

/// Register operands of one mma, resolved: in Program::mmaOperands.
struct MmaOperands {
  uint32_t d[4], a[4], b[2], c[4];
};

} // namespace ptxvm

#endif // PTXVM_EXEC_MMA_H
