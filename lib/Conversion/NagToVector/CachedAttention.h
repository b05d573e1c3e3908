// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef NAG_LIB_CONVERSION_NAGTOVECTOR_CACHEDATTENTION_H
#define NAG_LIB_CONVERSION_NAGTOVECTOR_CACHEDATTENTION_H

#include "nag/Dialect/Nag/IR/NagGeneration.h"

namespace nag {

/// Emits the op as loops over heads and positions; the op stays in place.
void emitCachedAttention(mlir::OpBuilder &builder, StreamCachedAttentionOp op);

} // namespace nag

#endif // NAG_LIB_CONVERSION_NAGTOVECTOR_CACHEDATTENTION_H
