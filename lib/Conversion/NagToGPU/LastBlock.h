// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The end of a sum that several blocks share, without a launch of its own: the
// block that comes last adds up what all have left in memory.
#ifndef NAG_LIB_CONVERSION_NAGTOGPU_LASTBLOCK_H
#define NAG_LIB_CONVERSION_NAGTOGPU_LASTBLOCK_H

#include "ThreadCode.h"

namespace nag {

/// The address of `count` i32 in global memory that belong to the device
/// function at the insertion point, zero when the module is loaded; `suffix`
/// tells those of one function apart.
mlir::Value getArrivalCounters(ThreadCode &code, llvm::StringRef suffix,
                               int64_t count);

/// Builds `body` for the last of `count` blocks (an i32, the same for all) that
/// come here with the same `counter`, an i32 below `counters`. All threads of
/// each block must come here; those of the last see what all wrote before they
/// came. `flag` points to four bytes of shared memory that nobody needs any
/// more. The counters belong to the device function and are zero again at its
/// end, so that launches of it may follow one another.
void emitInLastBlock(ThreadCode &code, mlir::Value flag, mlir::Value counter,
                     int64_t counters, mlir::Value count,
                     llvm::function_ref<void()> body);

} // namespace nag

#endif // NAG_LIB_CONVERSION_NAGTOGPU_LASTBLOCK_H
