// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The reverse of a call.
#ifndef NAG_LIB_TRANSFORMS_DIFFERENTIATE_CALLVJP_H
#define NAG_LIB_TRANSFORMS_DIFFERENTIATE_CALLVJP_H

#include "Activity.h"
#include "JointFunction.h"

namespace nag {

/// Calls the forward function in the place of `site`, whose results it
/// replaces, and the backward function where `builder` stands. Returns the
/// operands' cotangents.
llvm::SmallVector<Cotangent>
buildCallVJP(const CallSite &site, const CallActivity &activity,
             const Derivative &derivative, mlir::OpBuilder &builder,
             llvm::ArrayRef<Cotangent> resultCotangents);

/// Appends the tensors of a cotangent of a value of type `type`, zeros where it
/// is null.
void appendTensors(mlir::ImplicitLocOpBuilder &builder, Cotangent cotangent,
                   mlir::Type type,
                   llvm::SmallVectorImpl<mlir::Value> &tensors);

/// The sum of two cotangents of a stack of which calls have visited slices that
/// do not meet: those slices side by side. Null when they are not such.
mlir::Value joinStacks(mlir::OpBuilder &builder, mlir::Location loc,
                       mlir::Value sum, mlir::Value term);

/// Takes the cotangent of a value of type `type` from the front of `tensors`.
Cotangent takeCotangent(mlir::Type type, mlir::ValueRange &tensors);

} // namespace nag

#endif // NAG_LIB_TRANSFORMS_DIFFERENTIATE_CALLVJP_H
