// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Passes that add functions to look into a model; InspectionPasses.td says what
// each does.
#ifndef NAG_DIALECT_NAG_TRANSFORMS_INSPECTIONPASSES_H
#define NAG_DIALECT_NAG_TRANSFORMS_INSPECTIONPASSES_H

#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

namespace nag {

#define GEN_PASS_DECL
#include "nag/Dialect/Nag/Transforms/InspectionPasses.h.inc"
#define GEN_PASS_REGISTRATION
#include "nag/Dialect/Nag/Transforms/InspectionPasses.h.inc"

/// True when nag-build-norms applies to `logits`: its layers add to a tensor.
bool hasResidualNorms(mlir::func::FuncOp logits);

} // namespace nag

#endif // NAG_DIALECT_NAG_TRANSFORMS_INSPECTIONPASSES_H
