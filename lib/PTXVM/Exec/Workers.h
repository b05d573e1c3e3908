// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Host threads that stay between launches.
#ifndef PTXVM_EXEC_WORKERS_H
#define PTXVM_EXEC_WORKERS_H

#include <functional>

namespace ptxvm {

/// Calls `work` on `count` threads at once, the calling one among them, and
/// returns when all have. Threads are started when first needed. One call
/// after the other: a second caller waits.
void runOnWorkers(unsigned count, const std::function<void()> &work);

} // namespace ptxvm

#endif // PTXVM_EXEC_WORKERS_H
