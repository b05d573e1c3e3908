// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Conversions from the nag dialect to others; Passes.td says what each does.
#ifndef NAG_CONVERSION_PASSES_H
#define NAG_CONVERSION_PASSES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace nag {
#define GEN_PASS_DECL
#include "nag/Conversion/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "nag/Conversion/Passes.h.inc"

/// The symbol of a host function once lowered: "nag_" + its name.
std::string getEntrySymbol(llvm::StringRef function);
} // namespace nag

#endif // NAG_CONVERSION_PASSES_H
