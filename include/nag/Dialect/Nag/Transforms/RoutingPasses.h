// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Passes for depth routing; RoutingPasses.td says what each does.
#ifndef NAG_DIALECT_NAG_TRANSFORMS_ROUTINGPASSES_H
#define NAG_DIALECT_NAG_TRANSFORMS_ROUTINGPASSES_H

#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Pass/Pass.h"

namespace nag {

#define GEN_PASS_DECL
#include "nag/Dialect/Nag/Transforms/RoutingPasses.h.inc"
#define GEN_PASS_REGISTRATION
#include "nag/Dialect/Nag/Transforms/RoutingPasses.h.inc"

/// What -nag-reuse-rows does to the ops of one block.
void reuseRows(mlir::Block &block);
/// The same of products of rows alone.
void takeComputedProducts(mlir::Block &block);

} // namespace nag

#endif // NAG_DIALECT_NAG_TRANSFORMS_ROUTINGPASSES_H
