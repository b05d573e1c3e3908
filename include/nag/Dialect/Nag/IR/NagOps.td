// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// All ops of the dialect, one file per concern.
#ifndef NAG_OPS_TD
#define NAG_OPS_TD

include "nag/Dialect/Nag/IR/NagDenseOps.td"
include "nag/Dialect/Nag/IR/NagDestinationOps.td"
include "nag/Dialect/Nag/IR/NagGenerationOps.td"
include "nag/Dialect/Nag/IR/NagProgramOps.td"
include "nag/Dialect/Nag/IR/NagRoutingOps.td"
include "nag/Dialect/Nag/IR/NagRowGramOps.td"
include "nag/Dialect/Nag/IR/NagStreamOps.td"
include "nag/Dialect/Nag/IR/NagTrainingOps.td"

#endif // NAG_OPS_TD
