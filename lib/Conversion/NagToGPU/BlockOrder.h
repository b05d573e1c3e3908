// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Blocks of one launch that wait for what others store. A block only waits for
// blocks of lower tickets, which run already: none waits for one that has no
// room to start.
#ifndef NAG_LIB_CONVERSION_NAGTOGPU_BLOCKORDER_H
#define NAG_LIB_CONVERSION_NAGTOGPU_BLOCKORDER_H

#include "ThreadCode.h"

#include "llvm/ADT/ArrayRef.h"

namespace nag {

/// How many of the launch's `count` blocks have started before this one. All
/// threads come here, before shared memory holds anything.
mlir::Value takeTicket(ThreadCode &code, int64_t count);

/// Tells waiting blocks that this one has stored. All threads come here.
void countStored(ThreadCode &code);

/// Waits until `writers` blocks have stored; `readers` blocks of the launch do.
/// All threads come here.
void awaitStored(ThreadCode &code, int64_t writers, int64_t readers);

/// Ends a sum of which `count` blocks (an i32, the same for all) have a part.
/// `store` is built for those that leave theirs in memory, `addUp` for the last
/// to come here, which keeps its own and waits until the others have stored.
/// All threads of each block come here with the same `counter`, an i32 below
/// `counters`, and `flag`, four bytes of shared memory that nobody needs any
/// more; `addUp` may use them again.
void endSharedSum(ThreadCode &code, mlir::Value flag, mlir::Value counter,
                  int64_t counters, mlir::Value count,
                  llvm::function_ref<void()> store,
                  llvm::function_ref<void()> addUp);

/// Blocks of one launch in phases: those of a phase wait until all of the phase
/// before have ended, as if each phase were a launch.
class BlockPhases {
public:
  /// The launch has `phaseBlocks` blocks of each phase, in this order, and some
  /// dynamic shared memory, which holds nothing yet. All threads come here.
  BlockPhases(ThreadCode &code, llvm::ArrayRef<int64_t> phaseBlocks);

  /// Builds what the blocks of the next phase do. `body` is given the block's
  /// number in its phase; all its threads begin and end it.
  void build(llvm::function_ref<void(mlir::Value)> body);

private:
  mlir::Value getCounters(size_t wait);

  ThreadCode &code;
  llvm::SmallVector<int64_t> blocks;
  /// The block's number, counted from the next phase's first.
  mlir::Value number;
  size_t phase = 0;
};

} // namespace nag

#endif // NAG_LIB_CONVERSION_NAGTOGPU_BLOCKORDER_H
