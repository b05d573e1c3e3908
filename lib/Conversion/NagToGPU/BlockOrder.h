// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Blocks of one launch that wait for what others store. A block only waits for
// blocks of lower tickets, which run already: none waits for one that has no
// room to start.
#ifndef NAG_LIB_CONVERSION_NAGTOGPU_BLOCKORDER_H
#define NAG_LIB_CONVERSION_NAGTOGPU_BLOCKORDER_H

#include "ThreadCode.h"

namespace nag {

/// How many of the launch's `count` blocks have started before this one. All
/// threads come here, before shared memory holds anything.
mlir::Value takeTicket(ThreadCode &code, int64_t count);

/// Tells waiting blocks that this one has stored. All threads come here.
void countStored(ThreadCode &code);

/// Waits until `writers` blocks have stored; `readers` blocks of the launch do.
/// All threads come here.
void awaitStored(ThreadCode &code, int64_t writers, int64_t readers);

} // namespace nag

#endif // NAG_LIB_CONVERSION_NAGTOGPU_BLOCKORDER_H
