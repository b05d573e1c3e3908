// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Blocks: their memory and warps, from the first instruction to the last.
#include "../Checks/Checks.h"

#include <algorithm>

namespace ptxvm {

BlockRunner::BlockRunner(Launch &owner)
    : launch(owner), program(*owner.program),
      counts(owner.kernelCode->codeEnd - owner.kernelCode->codeBegin) {
  block.launch = &launch;
  block.counters = &counters;
  block.threadCount = static_cast<unsigned>(launch.blockDim.count());
  block.shared.resize(launch.sharedBytes + 64);
  block.local.resize(launch.localBytes * block.threadCount + 64);
  block.warps.resize((block.threadCount + warpSize - 1) / warpSize);
  for (unsigned k = 0; k < block.warps.size(); ++k) {
    Warp &warp = block.warps[k];
    warp.block = &block;
    warp.index = k;
    warp.specials.resize(Program::specialOffset(program.specials.size()));
    warp.files[1] = const_cast<uint8_t *>(program.constants.data());
    warp.files[2] = warp.specials.data();
  }
  checksRegisters = launch.checks(Check::Registers);
  if (launch.options.checks || launch.options.profile)
    block.checks = std::make_unique<BlockChecks>(block);
}
BlockRunner::~BlockRunner() = default;

void BlockRunner::startWarp(Warp &warp, unsigned index) {
  unsigned left = block.threadCount - index * warpSize;
  warp.live = left >= warpSize ? allLanes : (1u << left) - 1;
  warp.branches = 0;
  warp.force = false;
  const FunctionCode &entry = program.functions[launch.kernelCode->function];
  if (warp.registers.size() < entry.frameBytes)
    warp.registers.resize(entry.frameBytes);
  std::fill_n(warp.registers.begin(), entry.frameBytes, uint8_t(0));
  if (checksRegisters)
    warp.writtenRegisters.assign(warp.registers.size() / 4 + 1, 0);
  Fragment fragment;
  fragment.pc = entry.entry;
  fragment.mask = warp.live;
  fragment.function = launch.kernelCode->function;
  warp.fragments.assign(1, fragment);
  fillSpecials(warp);
}

void BlockRunner::start(uint64_t index) {
  const Dim3 &grid = launch.grid;
  block.index = index;
  block.id = {static_cast<uint32_t>(index % grid.x),
              static_cast<uint32_t>(index / grid.x % grid.y),
              static_cast<uint32_t>(index / grid.x / grid.y)};
  block.liveThreads = block.threadCount;
  block.barriers.fill(BarrierState());
  block.output.clear();
  for (unsigned k = 0; k < block.warps.size(); ++k)
    startWarp(block.warps[k], k);
  if (block.checks)
    block.checks->startBlock();
}

void BlockRunner::runAll() {
  uint64_t total = launch.grid.count();
  for (;;) {
    uint64_t index = launch.nextBlock.fetch_add(1);
    if (index >= total || launch.stop)
      return;
    start(index);
    run();
    ++counters.blocks;
    counters.threads += block.threadCount;
    if (!block.output.empty()) {
      std::lock_guard<std::mutex> lock(launch.guard);
      launch.output[index] = std::move(block.output);
    }
  }
}

void BlockRunner::run() {
  while (!launch.stop) {
    bool progress = false, alive = false;
    for (Warp &warp : block.warps) {
      progress |= runWarp(warp);
      alive |= !warp.fragments.empty();
      if (launch.stop)
        return;
    }
    if (!alive || (!progress && !resolveStall()))
      return;
  }
}

} // namespace ptxvm
