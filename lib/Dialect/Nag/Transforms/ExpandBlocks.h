// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nag.block as the ops it stands for.
#ifndef NAG_LIB_TRANSFORMS_EXPANDBLOCKS_H
#define NAG_LIB_TRANSFORMS_EXPANDBLOCKS_H

#include "nag/Dialect/Nag/IR/NagDialect.h"

namespace nag {

/// What a nag.block reads. `scale`, `dial` and `routing` may be null.
struct BlockOperands {
  explicit BlockOperands(BlockOp op);

  StreamType getStreamType() const {
    return mlir::cast<StreamType>(stream.getType());
  }

  mlir::Value stream, weight, bias, logits, beta, alpha, scale, dial;
  mlir::FloatAttr eps;
  RoutingAttr routing;
};

/// What a nag.block makes; offsets only with routing.
struct ExpandedBlock {
  mlir::Value stream, gates, offsets;
};

/// Builds the branch from what stands for the arguments of the block's body.
using BlockBody =
    llvm::function_ref<mlir::FailureOr<mlir::Value>(mlir::ValueRange)>;

/// Spells a block out at the builder's place; fails where the body does.
mlir::FailureOr<ExpandedBlock> expandBlock(mlir::OpBuilder &builder,
                                           mlir::Location loc,
                                           const BlockOperands &block,
                                           BlockBody buildBody);

} // namespace nag

#endif // NAG_LIB_TRANSFORMS_EXPANDBLOCKS_H
