// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Where the tensors of one host function live.
#ifndef NAG_LIB_TRANSFORMS_BUFFERPLAN_H
#define NAG_LIB_TRANSFORMS_BUFFERPLAN_H

#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace nag {

/// A piece of memory: one of the function's buffers, or a part of its
/// workspace that holds values which share bytes.
struct Buffer {
  /// The number of the buffer among the compiled function's arguments, -1 for
  /// workspace.
  int64_t argument = -1;
  int64_t bytes = 0;
  /// Byte offset in the workspace, once planned.
  int64_t offset = 0;
  /// First and last op, by position in the function, that touches it.
  int64_t begin = std::numeric_limits<int64_t>::max();
  int64_t end = -1;

  bool inWorkspace() const { return argument < 0; }
  bool isUsed() const { return end >= 0; }
  void extend(int64_t position) {
    begin = std::min(begin, position);
    end = std::max(end, position);
  }
};

/// A tensor's place.
struct Place {
  unsigned buffer = 0;
  int64_t offset = 0;
};

/// Gives every used workspace buffer an offset so that buffers which live at
/// the same time do not overlap; returns the bytes that takes. Largest first,
/// each into the tightest gap. Behind a buffer of a page or more, `skew` bytes
/// stay free.
int64_t packBuffers(llvm::MutableArrayRef<Buffer> buffers, int64_t skew);

/// What a plan costs against what it could cost.
struct PlanReport {
  int64_t workspaceBytes = 0;
  /// Sum over all workspace buffers: the cost without reuse.
  int64_t totalBytes = 0;
  /// The largest sum of buffers that live at one time: no plan costs less.
  int64_t liveBytes = 0;
};
PlanReport getReport(llvm::ArrayRef<Buffer> buffers, int64_t workspaceBytes);

} // namespace nag

#endif // NAG_LIB_TRANSFORMS_BUFFERPLAN_H
