// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Generation token by token. Apart from Passes.td, so that few files depend on it.
#ifndef NAG_GENERATION_PASSES_TD
#define NAG_GENERATION_PASSES_TD

include "mlir/Pass/PassBase.td"

def NagBuildGeneration : Pass<"nag-build-generation", "::mlir::ModuleOp"> {
  let summary = "derives @prefill and @decode, which keep keys and values, from @logits";
  let description = [{
    Both are @logits with other shapes. `@prefill` reads `batch` prompts of `prompt` tokens and also returns the keys and values of every layer,
    `prompt:keys` and `prompt:values` [layers, batch, prompt, kv width], and the rotary table of `capacity` positions, `rotary:cos` and `rotary:sin`.
    `@decode` reads one token per sequence, `tokens` [1, batch], and its position, `positions` [1, batch]; it attends to the caches
    `cache:keys` and `cache:values` [layers, batch, C, kv width] with nag.cached_attention and returns the token's own keys and values, `new:keys`
    and `new:values` [layers, 1, batch, kv width], for the caller to put into row position mod C. C is `capacity`, or the
    largest window where every layer has one that is smaller.

    Where keys are those of executed tokens alone (kv = routed), a sequence has R rows for the keys and values of all layers: `cache:keys` and
    `cache:values` are [batch, R, kv width]. `cache:rows` [layers, batch, C] says in which rows a layer finds what its next token sees, and
    `cache:counts` [layers, 1, batch] how many these are; the caller keeps both. `new:keys`, `new:values` [layers, batch, kv width], and
    `prompt:keys`, `prompt:values` [layers, batch * prompt, kv width] are then rows of executed tokens, which `new:tokens` [layers, batch] and
    `prompt:tokens` [layers, batch * prompt] number as nag.route does, with -1 behind the last. `reach` [layers] of `@prefill` tells how many
    positions before its own a token sees. R is the share `budget` of what the keys of all tokens would take; without it, the share that the rate
    of the layers leaves.

    Only what the logits need is taken over. @logits must call nag.repeat on layer functions with one nag.attention each, which together cover all
    layers in order, and hold at most one nag.rotary_table; result types of all other ops must follow from their operands.

    ```mlir
    func.func @decode(%tokens: tensor<1x2xi32>, ..., %keys: tensor<4x2x128x32xf32> {nag.name = "cache:keys"}, ...,
        %positions: tensor<1x2xi32> {nag.name = "positions"}) -> (tensor<1x2x256xf32> {nag.name = "logits"}, ...)
    ```
  }];
  let dependentDialects = ["::nag::NagDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
  let options = [
    Option<"batch", "batch", "int64_t", "1", "Sequences">,
    Option<"prompt", "prompt", "int64_t", "32", "Tokens that @prefill reads">,
    Option<"capacity", "capacity", "int64_t", "128", "Positions of a sequence at most">,
    Option<"budget", "budget", "double", "0", "Rows of keys, as a share of those of all tokens; 0: what the rate of skips leaves">
  ];
}

#endif // NAG_GENERATION_PASSES_TD
