// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Lowering of nag ops to linalg on tensors: the row loop and, one function per
// family, the patterns of the other ops.
#ifndef NAG_CONVERSION_NAGTOLINALG_H
#define NAG_CONVERSION_NAGTOLINALG_H

#include "mlir/IR/PatternMatch.h"
#include "nag/Interfaces/NagInterfaces.h"

namespace nag {

class RowGroup;

/// Replaces the ops of `group` by one loop over their rows. Fails with an error
/// at the op that does not fit.
mlir::LogicalResult lowerRowwiseOps(mlir::RewriterBase &rewriter,
                                    const RowGroup &group);

/// All patterns of -convert-nag-to-linalg besides the row loop.
void populateNagToLinalgPatterns(mlir::RewritePatternSet &patterns);

/// The patterns of linear layers and weight gradients.
void populateProductPatterns(mlir::RewritePatternSet &patterns);

/// The patterns of attention, routing and quantiles, which another op computes
/// as a whole.
void populateDestinationPatterns(mlir::RewritePatternSet &patterns);

/// The pattern of the embedding's gradient.
void populateEmbeddingPatterns(mlir::RewritePatternSet &patterns);

/// Lowers the products of `function` whose results are only added up: each adds
/// to the sum as it is computed.
void lowerProductSums(mlir::RewriterBase &rewriter, mlir::Operation *function);

/// The tensor into which `result` is to be computed: the destination that
/// bufferization.materialize_in_destination names for it or for what overwrites
/// it (findOverwriter), else an empty tensor. `type`, a reshape of the result's
/// type, is the type wanted.
mlir::Value getDestination(mlir::OpBuilder &builder, mlir::Value result,
                           mlir::RankedTensorType type);

/// Replaces `result` by `computed`, which was computed into its destination:
/// bufferization.materialize_in_destination has nothing left to do.
void replaceComputed(mlir::RewriterBase &rewriter, mlir::Value result,
                     mlir::Value computed);

/// `tensor` with its elements, in row-major order, in another static shape.
mlir::Value reshapeTo(mlir::OpBuilder &builder, mlir::Location loc,
                      mlir::Value tensor, llvm::ArrayRef<int64_t> shape);

/// How many rows of the kernel around `op` count, as an index, where an
/// argument marked nag.row_count says so; else null.
mlir::Value countLiveRows(mlir::OpBuilder &builder, mlir::Operation *op);

} // namespace nag

#endif // NAG_CONVERSION_NAGTOLINALG_H
