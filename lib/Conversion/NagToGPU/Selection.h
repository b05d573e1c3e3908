// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The thread code of nag.route, for a launch of its own and for the end of the
// one that makes its scores.
#ifndef NAG_LIB_CONVERSION_NAGTOGPU_SELECTION_H
#define NAG_LIB_CONVERSION_NAGTOGPU_SELECTION_H

#include "nag/Conversion/NagToGPU.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"

namespace nag {

/// The buffers of scores, indices, offsets and, where there is one, the dial or
/// what it is computed of.
llvm::SmallVector<mlir::Value> getRouteBuffers(KernelLowering &kernel,
                                               RouteOp op);
size_t countRouteBuffers(RouteOp op);
/// Lets the warp, whose lanes must all come here, select the tokens of one
/// sequence. `arguments` stand for the buffers.
void buildRoute(mlir::ImplicitLocOpBuilder &builder, RouteOp op,
                llvm::ArrayRef<mlir::Value> arguments, mlir::Value sequence);

} // namespace nag

#endif // NAG_LIB_CONVERSION_NAGTOGPU_SELECTION_H
