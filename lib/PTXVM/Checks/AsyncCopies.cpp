// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Copies of cp.async: which have arrived, and who reads them before.
#include "Checks.h"

#include <algorithm>

namespace ptxvm {

void BlockChecks::checkAsync(Warp &warp, const Inst &inst, unsigned lane,
                             unsigned bytes, AccessKind kind,
                             uint64_t address) {
  if (!block.launch->checks(Check::Async))
    return;
  if (!usesAsync) {
    if (kind != AccessKind::AsyncWrite)
      return;
    usesAsync = true;
    asyncMarks.assign(block.launch->sharedBytes / 4 + 8, AsyncMark());
  }
  unsigned thread = warp.thread(lane);
  for (uint64_t word = address / 4; word <= (address + bytes - 1) / 4; ++word) {
    AsyncMark &mark = asyncMarks[word];
    if (kind == AccessKind::AsyncWrite) {
      mark = {thread, asyncThreads[thread].open};
      continue;
    }
    if (mark.thread == ~0u)
      continue;
    if (mark.group > asyncThreads[mark.thread].complete)
      block.report(FindingKind::AsyncBeforeWait, inst.line, thread, address,
                   describe(kind, bytes) + " before the cp.async of thread " +
                       std::to_string(mark.thread) + " was waited for");
    mark.thread = ~0u; // arrived, or reported
  }
}

void BlockChecks::commitAsync(Warp &warp, uint32_t mask) {
  for (unsigned lane = 0; lane < warpSize; ++lane)
    if (mask >> lane & 1)
      ++asyncThreads[warp.thread(lane)].open;
}

void BlockChecks::waitAsync(Warp &warp, uint32_t mask, uint32_t pending,
                            bool all) {
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    if (!(mask >> lane & 1))
      continue;
    AsyncThread &thread = asyncThreads[warp.thread(lane)];
    if (all)
      ++thread.open; // copies not yet in a group count too
    uint32_t committed = thread.open - 1;
    uint32_t complete = committed > pending ? committed - pending : 0;
    thread.complete = std::max(thread.complete, complete);
  }
}

} // namespace ptxvm
