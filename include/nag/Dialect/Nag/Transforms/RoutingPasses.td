// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Depth routing. Apart from Passes.td, so that few files depend on it.
#ifndef NAG_ROUTING_PASSES_TD
#define NAG_ROUTING_PASSES_TD

include "mlir/Pass/PassBase.td"

def NagReuseRows : Pass<"nag-reuse-rows"> {
  let summary = "takes rows of what is computed of all tokens instead of computing them again";
  let description = [{
    A row-wise op or a product of rows that nag.take picked becomes nag.take of the same op's result over all tokens, where the block computes that
    before: the gate, by which tokens are selected, is not computed a second time for those executed. Each must be the same op with the
    same attributes, whose other operands are the same, and whose results are rows or one scalar per row.

    A rounding to bf16 (arith.truncf) of rows that are put over others becomes nag.put of rounded rows over the others' rounding, where that is
    there.

    Runs after `-nag-differentiate`: the gradient of what was computed of taken rows alone is theirs alone.

    ```mlir
    %a = nag.linear %x, %w : (tensor<2x8x16xf32>, tensor<4x16xf32>) -> tensor<2x8x4xf32>
    %rows, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<8xi32>, tensor<3xi32>) -> (tensor<8x16xf32>, tensor<2x8x16xf32>)
    %b = nag.linear %rows, %w : (tensor<8x16xf32>, tensor<4x16xf32>) -> tensor<8x4xf32>
    // becomes
    %a = nag.linear %x, %w : (tensor<2x8x16xf32>, tensor<4x16xf32>) -> tensor<2x8x4xf32>
    %b, %others = nag.take %a, %i, %o : (tensor<2x8x4xf32>, tensor<8xi32>, tensor<3xi32>) -> (tensor<8x4xf32>, tensor<2x8x4xf32>)
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::nag::NagDialect"];
}

#endif // NAG_ROUTING_PASSES_TD
