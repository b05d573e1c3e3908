// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Special registers (PTX ISA 9.0, section 10): filled per warp, when it starts.
#include "State.h"

#include <algorithm>

namespace ptxvm {

/// Special registers whose value depends on the lane; none for the others.
static std::optional<uint32_t> laneSpecial(Special special, Dim3 thread,
                                           unsigned lane) {
  switch (special) {
  case Special::TidX:
    return thread.x;
  case Special::TidY:
    return thread.y;
  case Special::TidZ:
    return thread.z;
  case Special::LaneId:
    return lane;
  case Special::LanemaskEq:
    return 1u << lane;
  case Special::LanemaskLe:
    return allLanes >> (31 - lane);
  case Special::LanemaskLt:
    return (1u << lane) - 1;
  case Special::LanemaskGe:
    return allLanes << lane;
  case Special::LanemaskGt:
    return ~(allLanes >> (31 - lane));
  default:
    return std::nullopt;
  }
}

/// Special registers that are the same for a whole warp.
static uint32_t warpSpecial(Special special, const Launch &launch,
                            const Block &block, const Warp &warp) {
  const Dim3 &dim = launch.blockDim, &grid = launch.grid, &id = block.id;
  switch (special) {
  case Special::NtidX:
    return dim.x;
  case Special::NtidY:
    return dim.y;
  case Special::NtidZ:
    return dim.z;
  case Special::CtaidX:
  case Special::ClusterIdX:
    return id.x;
  case Special::CtaidY:
  case Special::ClusterIdY:
    return id.y;
  case Special::CtaidZ:
  case Special::ClusterIdZ:
    return id.z;
  case Special::NctaidX:
  case Special::NclusterIdX:
    return grid.x;
  case Special::NctaidY:
  case Special::NclusterIdY:
    return grid.y;
  case Special::NctaidZ:
  case Special::NclusterIdZ:
    return grid.z;
  case Special::WarpId:
    return warp.index;
  case Special::NwarpId:
    return 64;
  case Special::SmId:
    return static_cast<uint32_t>(block.index % multiprocessors);
  case Special::NsmId:
    return multiprocessors;
  case Special::DynamicSmemSize:
    return static_cast<uint32_t>(launch.dynamicShared);
  case Special::TotalSmemSize:
    return static_cast<uint32_t>(launch.kernel->staticSharedBytes +
                                 launch.dynamicShared);
  case Special::ClusterNctaidX:
  case Special::ClusterNctaidY:
  case Special::ClusterNctaidZ:
  case Special::ClusterNctaRank:
    return 1;
  default:
    return 0;
  }
}

void BlockRunner::fillSpecials(Warp &warp) {
  std::memset(warp.specials.data(), 0, 64);
  for (size_t k = 0; k < program.specials.size(); ++k) {
    uint32_t *lanes = reinterpret_cast<uint32_t *>(warp.specials.data() +
                                                   Program::specialOffset(k));
    Special special = program.specials[k];
    bool differs = laneSpecial(special, {}, 0).has_value();
    if (differs && warp.hasLaneSpecials)
      continue; // the same in every block
    if (special == Special::GridId) {
      uint64_t *wide = reinterpret_cast<uint64_t *>(lanes);
      std::fill(wide, wide + warpSize, launch.id);
      continue;
    }
    std::fill(lanes, lanes + warpSize,
              warpSpecial(special, launch, block, warp));
    for (unsigned lane = 0; differs && lane < warpSize; ++lane)
      lanes[lane] =
          *laneSpecial(special, block.threadId(warp.thread(lane)), lane);
  }
  warp.hasLaneSpecials = true;
}

} // namespace ptxvm
