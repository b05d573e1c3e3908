// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which groups of a kernel graph run as one kernel.
#ifndef NAG_LIB_TRANSFORMS_FUSIONPLAN_H
#define NAG_LIB_TRANSFORMS_FUSIONPLAN_H

#include "KernelGraph.h"

namespace nag {

/// The options of -nag-fuse.
struct FusionOptions {
  bool joinProducts;
  bool joinSums;
  bool keepProducts;
  bool gatherRows;
  bool epilogues;
  bool multiTensor;
  bool remarks;
  int64_t tileColumns;
  int64_t laneColumns;
  int64_t launchBytes;
  int64_t chipBytes;
  int64_t sharedBytes;
};

/// Merges groups of `graph` as the cost model finds it cheaper.
void fuseKernels(KernelGraph &graph, const FusionOptions &options);

} // namespace nag

#endif // NAG_LIB_TRANSFORMS_FUSIONPLAN_H
