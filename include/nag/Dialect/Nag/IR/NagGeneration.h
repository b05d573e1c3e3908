// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The ops of generation token by token (NagGenerationOps.td).
#ifndef NAG_DIALECT_NAG_IR_NAGGENERATION_H
#define NAG_DIALECT_NAG_IR_NAGGENERATION_H

#include "nag/Dialect/Nag/IR/NagDialect.h"

#define GET_OP_CLASSES
#include "nag/Dialect/Nag/IR/NagGenerationOps.h.inc"

#endif // NAG_DIALECT_NAG_IR_NAGGENERATION_H
