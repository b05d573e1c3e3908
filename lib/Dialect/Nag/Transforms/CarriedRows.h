// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rows that a launch does not execute, where its result does not stand in the
// memory of what it completes.
#ifndef NAG_LIB_TRANSFORMS_CARRIEDROWS_H
#define NAG_LIB_TRANSFORMS_CARRIEDROWS_H

#include "nag/Dialect/Nag/IR/NagDialect.h"

namespace nag {

/// Lets the kernel of `launch` carry the rows of result `index` along that its
/// nag.put does not write, and returns true; false where it cannot: of kernels
/// that are more than row-wise ops, or indices that no nag.route has listed.
bool carryRows(LaunchOp launch, unsigned index,
               mlir::SymbolTableCollection &symbols);

} // namespace nag

#endif // NAG_LIB_TRANSFORMS_CARRIEDROWS_H
