// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef NAG_CONVERSION_PASSES_TD
#define NAG_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertNagHostToLLVM : Pass<"convert-nag-host-to-llvm", "::mlir::ModuleOp"> {
  let summary = "lowers the planned host program to LLVM functions";
  let description = [{
    Each host function becomes `void nag_<name>(void **arguments, void *workspace)`: the buffers of its arguments, then of
    its results that stand in none of these, and `nag.workspace_bytes` bytes of memory aligned to 64. Launches call the kernels,
    which must be lowered to functions of bare pointers; a nag.repeat is a loop that passes slices of the stacks by pointer.
    The kernels' module is merged into the program.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

#endif // NAG_CONVERSION_PASSES_TD
