// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Passes on the nag dialect; Passes.td says what each does.
#ifndef NAG_DIALECT_NAG_TRANSFORMS_PASSES_H
#define NAG_DIALECT_NAG_TRANSFORMS_PASSES_H

#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

namespace nag {

/// What the backward pass may compute again instead of reading it from memory.
enum class RecomputeMode {
  /// Nothing but changes of form and constants.
  None,
  /// What is neither a contraction nor a reduction nor a repeat.
  Cheap,
  /// All but repeats.
  All,
};

#define GEN_PASS_DECL
#include "nag/Dialect/Nag/Transforms/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "nag/Dialect/Nag/Transforms/Passes.h.inc"
} // namespace nag

#endif // NAG_DIALECT_NAG_TRANSFORMS_PASSES_H
