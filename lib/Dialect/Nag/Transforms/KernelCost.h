// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a kernel costs, from the interfaces of its ops.
#ifndef NAG_LIB_TRANSFORMS_KERNELCOST_H
#define NAG_LIB_TRANSFORMS_KERNELCOST_H

#include "KernelGraph.h"

namespace nag {

struct KernelCost {
  /// Bytes that it must read from and write to memory: each tensor once.
  int64_t bytes = 0;
  /// Floating-point operations (CostOpInterface).
  int64_t flops = 0;
  /// Bytes of one row that stand on chip, in the compute type: rows from
  /// memory, and rows that one op makes for another.
  int64_t readBytes = 0, madeBytes = 0;
  /// The rows from memory as they stand there.
  int64_t storedBytes = 0;
  int64_t launches = 0;
};

/// The cost of the groups `ids` run as one kernel.
KernelCost getCost(const KernelGraph &graph, llvm::ArrayRef<unsigned> ids);

/// What running two kernels as one saves, in bytes of traffic; a launch counts
/// as `launchBytes`.
struct Savings {
  int64_t bytes = 0;
  int64_t launches = 0;
  int64_t getTotal(int64_t launchBytes) const {
    return bytes + launches * launchBytes;
  }
};
Savings getSavings(const KernelGraph &graph, unsigned a, unsigned b);

} // namespace nag

#endif // NAG_LIB_TRANSFORMS_KERNELCOST_H
