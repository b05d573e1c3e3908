// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the external models of DifferentiableOpInterface share.
#ifndef NAG_LIB_TRANSFORMS_MODELS_MODELS_H
#define NAG_LIB_TRANSFORMS_MODELS_MODELS_H

#include "nag/Interfaces/NagInterfaces.h"

#include "mlir/IR/AffineMap.h"
#include "mlir/IR/DialectRegistry.h"

namespace nag {

using Cotangents = llvm::SmallVector<Cotangent>;

inline Cotangent tensorCotangent(mlir::Value value) { return {value, nullptr}; }

/// Sums `full`, which spans all dimensions of `map`, over those that are not in
/// its results. `type` is that of the sum: a tensor, or a scalar where `map`
/// has no results.
mlir::Value sumOver(mlir::ImplicitLocOpBuilder &builder, mlir::Value full,
                    mlir::AffineMap map, mlir::Type type);

void registerElementwiseModels(mlir::DialectRegistry &registry);
void registerLinalgModels(mlir::DialectRegistry &registry);
void registerTensorModels(mlir::DialectRegistry &registry);

} // namespace nag

#endif // NAG_LIB_TRANSFORMS_MODELS_MODELS_H
