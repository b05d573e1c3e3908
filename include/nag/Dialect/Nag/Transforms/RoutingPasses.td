// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Depth routing. Apart from Passes.td, so that few files depend on it.
#ifndef NAG_ROUTING_PASSES_TD
#define NAG_ROUTING_PASSES_TD

include "mlir/Pass/PassBase.td"

def NagSpreadAttention : Pass<"nag-spread-attention"> {
  let summary = "lets routed queries stand among all tokens, for targets whose attention knows no routes";
  let description = [{
    A routed nag.attention whose keys are those of all tokens becomes one without a route: nag.put spreads the queries over all tokens, zero
    where a token skips, and nag.take picks the executed tokens' results. Everything else keeps to the executed tokens' rows. Run it before
    `-nag-differentiate`: the log-sum-exp must not be used yet. Attention with routed keys is an error.

    ```mlir
    %q = nag.put %rows, %zeros, %indices, %offsets
        : (tensor<12x64xf32>, tensor<2x8x64xf32>, tensor<12xi32>, tensor<3xi32>) -> tensor<2x8x64xf32>
    %a, %lse = nag.attention %q, %k, %v {heads = 4, kv_heads = 4}
        : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>) -> (tensor<2x8x64xf32>, tensor<2x4x8xf32>)
    %o, %rest = nag.take %a, %indices, %offsets
        : (tensor<2x8x64xf32>, tensor<12xi32>, tensor<3xi32>) -> (tensor<12x64xf32>, tensor<2x8x64xf32>)
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::nag::NagDialect"];
}

#endif // NAG_ROUTING_PASSES_TD
