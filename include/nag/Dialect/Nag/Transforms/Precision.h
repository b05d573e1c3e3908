// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Passes that choose in which type a target computes; Precision.td says what
// each does.
#ifndef NAG_DIALECT_NAG_TRANSFORMS_PRECISION_H
#define NAG_DIALECT_NAG_TRANSFORMS_PRECISION_H

#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

namespace nag {
/// Begins the name of a parameter's bf16 copy.
inline constexpr llvm::StringLiteral kRoundedPrefix = "bf16:";

#define GEN_PASS_DECL
#include "nag/Dialect/Nag/Transforms/Precision.h.inc"
#define GEN_PASS_REGISTRATION
#include "nag/Dialect/Nag/Transforms/Precision.h.inc"
} // namespace nag

#endif // NAG_DIALECT_NAG_TRANSFORMS_PRECISION_H
