// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Generation token by token: attention to a cache of keys and values. These ops have a header of their own, NagGeneration.h.
#ifndef NAG_GENERATION_OPS_TD
#define NAG_GENERATION_OPS_TD

include "nag/Dialect/Nag/IR/NagDestinationOps.td"

def Nag_CachedAttentionOp : Nag_ContractionOp<"cached_attention", [AttrSizedOperandSegments, Nag_RowSpaces]> {
  let summary = "attention of one new token per sequence to cached keys and values";
  let description = [{
    What nag.attention computes for position p of sequence b, p = `positions[0,b]`, from the keys and values of the positions before it in
    `key_cache` and `value_cache`, and its own in `key` and `value`. The B sequences' tokens lie side by side where nag.attention has positions. A
    cache of C rows is a ring: position j stands in row j mod C, so a sequence sees its last min(p, C, window) positions and itself. Rows of
    positions not yet written are not read. p must not be negative.

    With a `route` (indices and offsets of nag.route over the B tokens), `query` and the result are [M, heads*hd]: the rows of the executed
    tokens alone. Rows behind the last of them are not read, and their results are unspecified. `key` and `value` may be rows of executed tokens,
    too; then positions count those that the cache holds.

    With `rows`, sequences keep their keys and values in any of R rows, which other layers may use, too: what stands in row j of a ring stands in
    row `rows[b,j]`, which must be in [0, R). Elements of `rows` for positions not yet written mean nothing.

    Constraints: (C1) `query` is [1, B, heads*hd], `key` and `value` are [1, B, kv_heads*hd], or with a route [M, kv_heads*hd]; (C2) `heads` is
    a multiple of `kv_heads`; (C3) `window` is not negative; (C4) the caches are [B, C, kv_heads*hd] with C in [1, 65536]; (C5) `positions` is
    [1, B]; (C6) a `route` is a pair [M] and [2], with M at most B, and `query` is [M, heads*hd]; (C7) `rows` is [B, C] with C in [1, 65536],
    and caches beside it are [B, R, kv_heads*hd].

    ```mlir
    %o = nag.cached_attention %q, %k, %v, %kc, %vc, %p {heads = 4, kv_heads = 2}
        : (tensor<1x2x64xf32>, tensor<1x2x32xf32>, tensor<1x2x32xf32>, tensor<2x8x32xf32>, tensor<2x8x32xf32>, tensor<1x2xi32>)
        -> tensor<1x2x64xf32>
    %s = nag.cached_attention %q, %k, %v, %kp, %vp, %p rows(%rows) {heads = 4, kv_heads = 2}
        : (tensor<1x2x64xf32>, tensor<1x2x32xf32>, tensor<1x2x32xf32>, tensor<2x20x32xf32>, tensor<2x20x32xf32>, tensor<1x2xi32>,
           tensor<2x8xi32>) -> tensor<1x2x64xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$query, Nag_Tensor:$key, Nag_Tensor:$value, Nag_Tensor:$key_cache, Nag_Tensor:$value_cache,
      Nag_TokenTensor:$positions, Variadic<Nag_TokenTensor>:$route, Optional<Nag_TokenTensor>:$rows, I64Attr:$heads, I64Attr:$kv_heads,
      OptionalAttr<I64Attr>:$window);
  let results = (outs Nag_Tensor:$result);
  let assemblyFormat = [{
    $query `,` $key `,` $value `,` $key_cache `,` $value_cache `,` $positions (`route` `(` $route^ `)`)? (`rows` `(` $rows^ `)`)? attr-dict `:`
    functional-type(operands, results)}];
  let extraClassDeclaration = [{
    /// The length of one head's vectors.
    int64_t getHeadDim() { return getQuery().getType().getShape().back() / getHeads(); }
    /// C, the positions of a sequence that the caches hold at most.
    int64_t getCapacity();
  }];
}

def Nag_StreamCachedAttentionOp : Nag_AttentionDestinationOp<"stream_cached_attention", 1, [AttrSizedOperandSegments]> {
  let summary = "nag.cached_attention in destination-passing form";
  let description = [{
    Writes the result of nag.cached_attention into the operand behind `into`.

    Constraints: (C1) shapes as in nag.cached_attention; (C2) tensors with one result per output, or buffers without results.

    ```mlir
    %0 = nag.stream_cached_attention %q, %k, %v, %kc, %vc, %p into %o {heads = 4, kv_heads = 2}
        : (tensor<1x2x64xf32>, tensor<1x2x32xf32>, tensor<1x2x32xf32>, tensor<2x8x32xf32>, tensor<2x8x32xf32>, tensor<1x2xi32>,
           tensor<1x2x64xf32>) -> tensor<1x2x64xf32>
    ```
  }];
  let arguments = (ins Nag_Buffer:$query, Nag_Buffer:$key, Nag_Buffer:$value, Nag_Buffer:$key_cache, Nag_Buffer:$value_cache,
      Nag_IndexBuffer:$positions, Variadic<Nag_IndexBuffer>:$route, Optional<Nag_IndexBuffer>:$rows, Nag_Buffer:$output, I64Attr:$heads, I64Attr:$kv_heads,
      OptionalAttr<I64Attr>:$window);
  let results = (outs Variadic<Nag_Tensor>:$results);
  let assemblyFormat = [{
    $query `,` $key `,` $value `,` $key_cache `,` $value_cache `,` $positions (`route` `(` $route^ `)`)? (`rows` `(` $rows^ `)`)?
    `into` $output attr-dict `:` functional-type(operands, results)}];
}

#endif // NAG_GENERATION_OPS_TD
