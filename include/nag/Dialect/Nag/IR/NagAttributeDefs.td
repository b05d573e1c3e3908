// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// All attributes of the dialect: their definitions, and the dialect's parser
// and printer of them, are generated from here.
include "nag/Dialect/Nag/IR/NagAttributes.td"
include "nag/Dialect/Nag/IR/NagSchedule.td"
