// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Passes for generation token by token; GenerationPasses.td says what each
// does.
#ifndef NAG_DIALECT_NAG_TRANSFORMS_GENERATIONPASSES_H
#define NAG_DIALECT_NAG_TRANSFORMS_GENERATIONPASSES_H

#include "nag/Dialect/Nag/IR/NagGeneration.h"

#include "mlir/Pass/Pass.h"

namespace nag {

#define GEN_PASS_DECL
#include "nag/Dialect/Nag/Transforms/GenerationPasses.h.inc"
#define GEN_PASS_REGISTRATION
#include "nag/Dialect/Nag/Transforms/GenerationPasses.h.inc"

} // namespace nag

#endif // NAG_DIALECT_NAG_TRANSFORMS_GENERATIONPASSES_H
