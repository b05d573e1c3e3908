// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The parts of a transformer: embedding, linear, attention, rotary embedding, activations, normalisation.
#ifndef NAG_DENSE_OPS_TD
#define NAG_DENSE_OPS_TD

include "nag/Dialect/Nag/IR/NagBase.td"

def Nag_EmbeddingOp : Nag_RowOp<"embedding", [Nag_Differentiable]> {
  let summary = "looks up one table row per token";
  let description = [{
    `y[b,t] = table[tokens[b,t]]`. A token outside [0, V) is undefined behaviour: the runtime checks its data.

    Constraints: (C1) `table` has rank 2.

    ```mlir
    %x = nag.embedding %tokens, %table : (tensor<2x8xi32>, tensor<32x16xf32>) -> tensor<2x8x16xf32>
    ```
  }];
  let arguments = (ins Nag_TokenTensor:$tokens, Nag_Tensor:$table);
  let results = (outs Nag_Tensor:$result);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_EmbeddingVJPOp : Nag_PureOp<"embedding_vjp"> {
  let summary = "vector-Jacobian product of nag.embedding: adds rows up by token";
  let description = [{
    `dtable[v]` is the sum of `dy[b,t]` over the positions with token v, in the order of the positions. `rows` is V.

    Constraints: (C1) `tokens` has the shape of `result_grad` without its last dimension.

    ```mlir
    %dt = nag.embedding_vjp %tokens, %dy {rows = 32} : (tensor<2x8xi32>, tensor<2x8x16xf32>) -> tensor<32x16xf32>
    ```
  }];
  let arguments = (ins Nag_TokenTensor:$tokens, Nag_Tensor:$result_grad, I64Attr:$rows);
  let results = (outs Nag_Tensor:$table_grad);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_LinearOp : Nag_ContractionOp<"linear", [Nag_Differentiable, DeclareOpInterfaceMethods<RowProductOpInterface>]> {
  let summary = "a linear layer without bias";
  let description = [{
    `y = x W^T` over the last dimension, W stored (out, in). With `transpose_weight`, `y = x W`: the weight is read as (in, out), as the
    backward pass needs it. bf16 products are summed in f32.

    Constraints: (C1) `weight` has rank 2; (C2) the last dimension of `input` is the weight's second (first when transposed).

    ```mlir
    %y = nag.linear %x, %w : (tensor<2x8x16xf32>, tensor<64x16xf32>) -> tensor<2x8x64xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$input, Nag_Tensor:$weight, UnitAttr:$transpose_weight);
  let results = (outs Nag_Tensor:$result);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_WeightGradOp : Nag_ContractionOp<"weight_grad", [DeclareOpInterfaceMethods<RowProductOpInterface>]> {
  let summary = "the cotangent of a linear layer's weight";
  let description = [{
    `dW[n,k]` is the sum over all rows of `dy[row,n] * x[row,k]`. The sum of bf16 operands, which is taken in f32, may be returned as such.

    Constraints: (C1) both operands agree in all dimensions but the last; (C2) the result has the operands' element type, or f32 where that is
    bf16.

    ```mlir
    %dw = nag.weight_grad %dy, %x : (tensor<2x8x64xf32>, tensor<2x8x16xf32>) -> tensor<64x16xf32>
    %wide = nag.weight_grad %b, %a : (tensor<2x8x64xbf16>, tensor<2x8x16xbf16>) -> tensor<64x16xf32>
    ```
  }];
  let extraClassDeclaration = [{
    /// Element types are left to (C2).
    static bool isCompatibleReturnTypes(::mlir::TypeRange inferred, ::mlir::TypeRange actual);
  }];
  let arguments = (ins Nag_Tensor:$result_grad, Nag_Tensor:$input);
  let results = (outs Nag_Tensor:$weight_grad);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_AttentionOp : Nag_ContractionOp<"attention", [Nag_Differentiable, Nag_RowSpaces],
    ["getFlops", "isContraction", "getPairCost"]> {
  let summary = "causal attention without a T x T matrix in memory";
  let description = [{
    Per sequence and head: `o = softmax(q k^T / sqrt(head_dim)) v`, where position t sees the positions 0..t, or t-window..t when
    `window` is given (the meaning of the usual window_size = (window, 0)). Heads lie next to one another in the last dimension;
    query head h reads key and value head `h / (heads / kv_heads)`. `lse` is the log-sum-exp of each head's scaled
    scores, [B, heads, T], in f32 (f64 for f64), which the backward pass reads.

    With a `route` (indices and offsets of nag.route), `query` is [M, heads*hd]: the rows of the executed tokens alone, whose positions
    the indices give; `lse` is [heads, M]. Keys and values are those of all tokens, [B, T, kv_heads*hd], or of the executed ones alone,
    [M, kv_heads*hd].

    Constraints: (C1) `query` is [B, T, heads*hd], `key` and `value` are [B, T, kv_heads*hd]; (C2) `heads` is a multiple of `kv_heads`;
    (C3) `window` is not negative; (C6) a `route` is a pair [M] and [B + 1], and shapes are as above.

    ```mlir
    %o, %lse = nag.attention %q, %k, %v {heads = 4, kv_heads = 2}
        : (tensor<2x8x64xf32>, tensor<2x8x32xf32>, tensor<2x8x32xf32>) -> (tensor<2x8x64xf32>, tensor<2x4x8xf32>)
    %r, %rlse = nag.attention %rq, %k, %v, %indices, %offsets {heads = 4, kv_heads = 2}
        : (tensor<12x64xf32>, tensor<2x8x32xf32>, tensor<2x8x32xf32>, tensor<12xi32>, tensor<3xi32>)
        -> (tensor<12x64xf32>, tensor<4x12xf32>)
    ```
  }];
  let arguments = (ins Nag_Tensor:$query, Nag_Tensor:$key, Nag_Tensor:$value, Variadic<Nag_TokenTensor>:$route,
      I64Attr:$heads, I64Attr:$kv_heads, OptionalAttr<I64Attr>:$window);
  let hasCanonicalizer = 1;
  let results = (outs Nag_Tensor:$result, Nag_Tensor:$lse);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let extraClassDeclaration = [{
    /// The length of one head's vectors.
    int64_t getHeadDim() { return getQuery().getType().getShape().back() / getHeads(); }
  }];
}

def Nag_AttentionVJPOp : Nag_ContractionOp<"attention_vjp", [Nag_RowSpaces], ["getFlops", "isContraction", "getPairCost"]> {
  let summary = "vector-Jacobian product of nag.attention";
  let description = [{
    Recomputes the probabilities tile by tile from `lse`; no T x T matrix is stored. Attributes as in nag.attention.

    Constraints: (C1) to (C3) and (C6) as in nag.attention; (C4) `result` and `result_grad` have the type of `query`; (C5) `lse` is
    [B, heads, T], or [heads, M].

    ```mlir
    %dq, %dk, %dv = nag.attention_vjp %q, %k, %v, %o, %lse, %do {heads = 4, kv_heads = 2}
        : (tensor<2x8x64xf32>, tensor<2x8x32xf32>, tensor<2x8x32xf32>, tensor<2x8x64xf32>, tensor<2x4x8xf32>, tensor<2x8x64xf32>)
        -> (tensor<2x8x64xf32>, tensor<2x8x32xf32>, tensor<2x8x32xf32>)
    ```
  }];
  let arguments = (ins Nag_Tensor:$query, Nag_Tensor:$key, Nag_Tensor:$value, Nag_Tensor:$result, Nag_Tensor:$lse,
      Nag_Tensor:$result_grad, Variadic<Nag_TokenTensor>:$route, I64Attr:$heads, I64Attr:$kv_heads,
      OptionalAttr<I64Attr>:$window);
  let results = (outs Nag_Tensor:$query_grad, Nag_Tensor:$key_grad, Nag_Tensor:$value_grad);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let extraClassDeclaration = [{
    /// The length of one head's vectors.
    int64_t getHeadDim() { return getQuery().getType().getShape().back() / getHeads(); }
  }];
}

def Nag_RotaryTableOp : Nag_Op<"rotary_table", [Pure, DeclareOpInterfaceMethods<CostOpInterface, ["getFlops"]>,
    DeclareOpInterfaceMethods<RowwiseOpInterface>]> {
  let summary = "cosines and sines of the rotary embedding";
  let description = [{
    `cos[t,i]` and `sin[t,i]` of `(first + t) * base^(-2i/head_dim)` for i < head_dim/2, angles in f64.

    Constraints: (C1) `base` is positive; (C2) the results have the same type, [T, head_dim/2].

    ```mlir
    %cos, %sin = nag.rotary_table {base = 1.0e5, first = 0} : tensor<8x8xf32>, tensor<8x8xf32>
    ```
  }];
  let arguments = (ins F64Attr:$base, DefaultValuedAttr<I64Attr, "0">:$first);
  let results = (outs Nag_Tensor:$cos, Nag_Tensor:$sin);
  let assemblyFormat = "attr-dict `:` type(results)";
  let hasVerifier = 1;
}

def Nag_RotaryOp : Nag_HeadwiseRowOp<"rotary", [Nag_Differentiable]> {
  let summary = "rotary position embedding, half-split layout (section 7)";
  let description = [{
    In each head x = (x1, x2) becomes (x1 cos + x2 sin, -x1 sin + x2 cos), with the row of the table that belongs to the
    position t. With `inverse`, the opposite rotation, which is also the vector-Jacobian product. With `indices` (of nag.route), `input`
    is [M, heads*hd], and the position of a row is its index modulo the table's length.

    Constraints: (C1) `input` is [B, T, heads*hd] with hd even, or [M, heads*hd] with indices; (C2) `cos` and `sin` are [T, hd/2]; (C3)
    `indices` is [M].

    ```mlir
    %y = nag.rotary %x, %cos, %sin {heads = 4}
        : (tensor<2x8x64xf32>, tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<2x8x64xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$input, Nag_Tensor:$cos, Nag_Tensor:$sin, Optional<Nag_TokenTensor>:$indices,
      I64Attr:$heads, UnitAttr:$inverse);
  let results = (outs Nag_Tensor:$result);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let hasCanonicalizer = 1;
}

def Nag_RmsNormOp : Nag_HeadwiseRowOp<"rms_norm", [Nag_Differentiable, Nag_PartialGramForm]> {
  let summary = "RMS norm over the last dimension or over groups of it";
  let description = [{
    `y = factor * x / sqrt(mean(x*x) + eps)`, then times `gain` where it is given (`-nag-decompose` splits that product off). With
    `groups` = H, each of the H equal parts of a row is normalised by itself: the per-head norm of queries and keys.

    Constraints: (C1) `groups` divides the last dimension; (C2) `gain` is [last dimension / groups]; (C3) `eps` is finite and not negative.

    ```mlir
    %y = nag.rms_norm %x {groups = 4, factor = 1.2} : (tensor<2x8x64xf32>) -> tensor<2x8x64xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$input, Optional<Nag_Tensor>:$gain, DefaultValuedAttr<I64Attr, "1">:$groups,
      DefaultValuedAttr<F64Attr, "1.0">:$factor, DefaultValuedAttr<F64Attr, "1.1920928955078125e-07">:$eps);
  let results = (outs Nag_Tensor:$result);
  let assemblyFormat = "$input (`gain` $gain^)? attr-dict `:` functional-type(operands, results)";
}

def Nag_InverseRmsOp : Nag_HeadwiseRowOp<"inverse_rms"> {
  let summary = "what nag.rms_norm multiplies a row, or each group of it, by";
  let description = [{
    `y[row, h] = 1 / sqrt(mean(x_h * x_h) + eps)` with the last dimension of x read as [groups, c]; f32 where x is bf16.

    Constraints: (C1) `groups` divides the last dimension; (C2) `eps` is finite and not negative.

    ```mlir
    %y = nag.inverse_rms %x {groups = 4} : (tensor<2x8x64xf32>) -> tensor<2x8x4xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$input, DefaultValuedAttr<I64Attr, "1">:$groups,
      DefaultValuedAttr<F64Attr, "1.1920928955078125e-07">:$eps);
  let results = (outs Nag_Tensor:$result);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_RmsNormVJPOp : Nag_HeadwiseRowOp<"rms_norm_vjp", [Nag_PartialGramForm]> {
  let summary = "vector-Jacobian product of nag.rms_norm without gain";
  let description = [{
    With n = x / rms and d the length of a group: `dx = factor * (dy - n <dy, n>/d) / rms`. With `inverse` (of nag.inverse_rms), `input` is
    not x but the norm's result, `factor * n`, so that x need not be kept.

    Constraints: (C1) and (C3) as in nag.rms_norm; (C2) `result_grad` has the type of `input`; (C4) `inverse` is [rows..., groups], and `factor`
    is not zero with it.

    ```mlir
    %dx = nag.rms_norm_vjp %x, %dy {groups = 4, factor = 1.2} : (tensor<2x8x64xf32>, tensor<2x8x64xf32>) -> tensor<2x8x64xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$input, Nag_Tensor:$result_grad, Optional<Nag_Tensor>:$inverse, DefaultValuedAttr<I64Attr, "1">:$groups,
      DefaultValuedAttr<F64Attr, "1.0">:$factor, DefaultValuedAttr<F64Attr, "1.1920928955078125e-07">:$eps);
  let results = (outs Nag_Tensor:$input_grad);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_GainOp : Nag_PureOp<"gain", [Nag_Differentiable,
    DeclareOpInterfaceMethods<RowwiseOpInterface, ["getSharedOperand", "getColumnSpan"]>]> {
  let summary = "multiplies every row, or every group of a row, by a learned vector";
  let description = [{
    `y[row, h, i] = x[row, h, i] * gain[i]` with the last dimension of x read as [groups, c].

    Constraints: (C1) `gain` is [c]; (C2) c divides the last dimension of `input`.

    ```mlir
    %y = nag.gain %x, %w : (tensor<2x8x64xf32>, tensor<16xf32>) -> tensor<2x8x64xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$input, Nag_Tensor:$gain);
  let results = (outs Nag_Tensor:$result);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_GainVJPOp : Nag_RowOp<"gain_vjp"> {
  let summary = "vector-Jacobian product of nag.gain";
  let description = [{
    `dx = dy * gain`; `dgain` is the sum over rows and groups of `dy * x`.

    Constraints: (C1) and (C2) as in nag.gain; (C3) `result_grad` has the type of `input`.

    ```mlir
    %dx, %dw = nag.gain_vjp %x, %w, %dy : (tensor<2x8x64xf32>, tensor<16xf32>, tensor<2x8x64xf32>)
        -> (tensor<2x8x64xf32>, tensor<16xf32>)
    ```
  }];
  let arguments = (ins Nag_Tensor:$input, Nag_Tensor:$gain, Nag_Tensor:$result_grad);
  let results = (outs Nag_Tensor:$input_grad, Nag_Tensor:$gain_grad);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_Relu2Op : Nag_ElementwiseOp<"relu2", [Nag_Differentiable]> {
  let summary = "squared ReLU, max(x, 0)^2";
  let description = [{
    ```mlir
    %y = nag.relu2 %x : (tensor<2x8x64xf32>) -> tensor<2x8x64xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$input);
  let results = (outs Nag_Tensor:$result);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_Relu2VJPOp : Nag_ElementwiseOp<"relu2_vjp"> {
  let summary = "vector-Jacobian product of nag.relu2";
  let description = [{
    `dx = 2 max(x, 0) dy`.

    ```mlir
    %dx = nag.relu2_vjp %x, %dy : (tensor<2x8x64xf32>, tensor<2x8x64xf32>) -> tensor<2x8x64xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$input, Nag_Tensor:$result_grad);
  let results = (outs Nag_Tensor:$input_grad);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_GeluOp : Nag_ElementwiseOp<"gelu", [Nag_Differentiable]> {
  let summary = "GELU, exact (erf) or in its tanh form";
  let description = [{
    `y = x * Phi(x)`; with `approximate_tanh`, `y = x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))`.

    ```mlir
    %y = nag.gelu %x : (tensor<2x8x64xf32>) -> tensor<2x8x64xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$input, UnitAttr:$approximate_tanh);
  let results = (outs Nag_Tensor:$result);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_GeluVJPOp : Nag_ElementwiseOp<"gelu_vjp"> {
  let summary = "vector-Jacobian product of nag.gelu";
  let description = [{
    ```mlir
    %dx = nag.gelu_vjp %x, %dy : (tensor<2x8x64xf32>, tensor<2x8x64xf32>) -> tensor<2x8x64xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$input, Nag_Tensor:$result_grad, UnitAttr:$approximate_tanh);
  let results = (outs Nag_Tensor:$input_grad);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_SwigluOp : Nag_ElementwiseOp<"swiglu", [Nag_Differentiable]> {
  let summary = "SwiGLU, silu(gate) * up";
  let description = [{
    `y = gate * sigmoid(gate) * up`.

    ```mlir
    %y = nag.swiglu %gate, %up : (tensor<2x8x64xf32>, tensor<2x8x64xf32>) -> tensor<2x8x64xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$gate, Nag_Tensor:$up);
  let results = (outs Nag_Tensor:$result);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_SwigluVJPOp : Nag_SharingRowOp<"swiglu_vjp"> {
  let summary = "vector-Jacobian product of nag.swiglu";
  let description = [{
    Constraints: (C1) all operands have the same type.

    ```mlir
    %dg, %du = nag.swiglu_vjp %gate, %up, %dy : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>)
        -> (tensor<2x8x64xf32>, tensor<2x8x64xf32>)
    ```
  }];
  let arguments = (ins Nag_Tensor:$gate, Nag_Tensor:$up, Nag_Tensor:$result_grad);
  let results = (outs Nag_Tensor:$gate_grad, Nag_Tensor:$up_grad);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_ResidualAddOp : Nag_ElementwiseOp<"residual_add", [Nag_Differentiable, Nag_PartialGramForm]> {
  let summary = "adds a branch to the residual of the pre-norm baseline";
  let description = [{
    `y = x + f`, in the compute type and rounded once.

    ```mlir
    %y = nag.residual_add %x, %f : (tensor<2x8x16xf32>, tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$residual, Nag_Tensor:$branch);
  let results = (outs Nag_Tensor:$result);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

#endif // NAG_DENSE_OPS_TD
