// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "BufferPlan.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace nag;

/// A cache line, and the widest vector.
static constexpr int64_t kAlignment = 64;
/// Addresses that far apart fall into one set of a first-level cache.
static constexpr int64_t kPage = 4096;

static bool liveTogether(const Buffer &a, const Buffer &b) {
  return a.begin <= b.end && b.begin <= a.end;
}

/// Where a buffer ends, and what stays free behind it.
static int64_t findEnd(const Buffer &buffer, int64_t skew) {
  return buffer.offset + buffer.bytes + (buffer.bytes >= kPage ? skew : 0);
}

/// The tightest gap between `neighbours` (sorted by offset) that holds `bytes`.
static int64_t findOffset(llvm::ArrayRef<const Buffer *> neighbours,
                          int64_t bytes, int64_t skew) {
  int64_t best = -1, bestGap = std::numeric_limits<int64_t>::max(), end = 0;
  for (const Buffer *other : neighbours) {
    int64_t gap = other->offset - end;
    if (gap >= bytes && gap < bestGap) {
      best = end;
      bestGap = gap;
    }
    end = std::max<int64_t>(end,
                            llvm::alignTo(findEnd(*other, skew), kAlignment));
  }
  return best >= 0 ? best : end;
}

int64_t nag::packBuffers(llvm::MutableArrayRef<Buffer> buffers, int64_t skew) {
  llvm::SmallVector<Buffer *> order, placed;
  for (Buffer &buffer : buffers)
    if (buffer.inWorkspace() && buffer.isUsed() && buffer.bytes > 0)
      order.push_back(&buffer);
  // Largest first; equal ones in their order.
  llvm::sort(order, [](const Buffer *a, const Buffer *b) {
    return a->bytes != b->bytes ? a->bytes > b->bytes : a < b;
  });
  int64_t total = 0;
  for (Buffer *buffer : order) {
    llvm::SmallVector<const Buffer *> neighbours;
    for (const Buffer *other : placed)
      if (liveTogether(*buffer, *other))
        neighbours.push_back(other);
    llvm::sort(neighbours, [](const Buffer *a, const Buffer *b) {
      return a->offset < b->offset;
    });
    buffer->offset = findOffset(neighbours, buffer->bytes, skew);
    placed.push_back(buffer);
    total = std::max(total, buffer->offset + buffer->bytes);
  }
  return llvm::alignTo(total, kAlignment);
}

PlanReport nag::getReport(llvm::ArrayRef<Buffer> buffers,
                          int64_t workspaceBytes) {
  PlanReport report;
  report.workspaceBytes = workspaceBytes;
  llvm::SmallVector<std::pair<int64_t, int64_t>> changes;
  for (const Buffer &buffer : buffers) {
    if (!buffer.inWorkspace() || !buffer.isUsed())
      continue;
    int64_t bytes = llvm::alignTo(buffer.bytes, kAlignment);
    report.totalBytes += bytes;
    changes.push_back({buffer.begin, bytes});
    changes.push_back({buffer.end + 1, -bytes});
  }
  llvm::sort(changes);
  int64_t live = 0;
  for (auto [position, bytes] : changes) {
    live += bytes;
    report.liveBytes = std::max(report.liveBytes, live);
  }
  return report;
}
