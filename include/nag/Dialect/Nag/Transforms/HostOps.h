// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the host program consists of once kernels are formed: launches, calls,
// constants, and views that cost nothing because the bytes they select lie
// together in memory (row-major).
#ifndef NAG_DIALECT_NAG_TRANSFORMS_HOSTOPS_H
#define NAG_DIALECT_NAG_TRANSFORMS_HOSTOPS_H

#include "mlir/IR/Operation.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/SmallVector.h"
#include <optional>

namespace nag {

/// `part` takes the bytes of `whole` from `offset` on.
struct ViewPart {
  mlir::Value part;
  mlir::Value whole;
  int64_t offset = 0;
};

/// The parts of a view whose bytes lie together: one for a reshape or a
/// contiguous slice (the result is the part), the operands of a contiguous
/// concatenation or insertion (the result is the whole). Nothing when `op` is
/// not a view or its bytes are scattered.
std::optional<llvm::SmallVector<ViewPart>> getViewParts(mlir::Operation *op);

/// True for ops that the host program itself carries out: views, constants,
/// calls, launches and terminators. All other ops that make tensors are
/// kernels.
bool isHostOp(mlir::Operation *op);

} // namespace nag

#endif // NAG_DIALECT_NAG_TRANSFORMS_HOSTOPS_H
