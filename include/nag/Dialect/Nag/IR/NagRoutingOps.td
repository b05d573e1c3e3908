// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Depth routing (section 4): which tokens a sub-layer executes, and the rows of these alone.
#ifndef NAG_ROUTING_OPS_TD
#define NAG_ROUTING_OPS_TD

include "nag/Dialect/Nag/IR/NagBase.td"

def Nag_RouteOp : Nag_PureOp<"route", [Nag_RowSpaces]> {
  let summary = "selects the tokens that a sub-layer executes";
  let description = [{
    From the scores |g| of B sequences of T tokens: `indices` lists the executed tokens as b*T + t, in ascending order; those of sequence
    b stand from `offsets[b]` up to `offsets[b+1]`. What follows the last one is -1. A score that is NaN is executed, so that it shows.

    - `threshold` and `rate`: tokens with |g| >= `dial`. None or all of a sequence may be executed.
    - `capacity`: of every sequence the T - floor(rate * T) tokens with the largest |g|, of equals the earlier. With a `dial`, it is the
      rate, and the attribute's rate counts for nothing.

    M, the length of `indices`, is B * (T - floor(rate * T)) for a capacity without dial, else B * T. Nothing is differentiated.

    Constraints: (C1) `scores` is [B, T]; (C2) `dial` has the scores' element type, and policies other than `capacity` have one;
    (C3) `indices` is [M], `offsets` is [B + 1].

    ```mlir
    %i, %o = nag.route %g {routing = #nag.routing<capacity, rate = 0.25>} : (tensor<2x8xf32>) -> (tensor<12xi32>, tensor<3xi32>)
    %j, %p = nag.route %g dial %tau {routing = #nag.routing<threshold>}
        : (tensor<2x8xf32>, tensor<f32>) -> (tensor<16xi32>, tensor<3xi32>)
    ```
  }];
  let arguments = (ins Nag_Tensor:$scores, Optional<Nag_Scalar>:$dial, Nag_RoutingAttr:$routing);
  let results = (outs Nag_TokenTensor:$indices, Nag_TokenTensor:$offsets);
  let assemblyFormat = "$scores (`dial` $dial^)? attr-dict `:` functional-type(operands, results)";
}

class Nag_RoutedRowOp<string mnemonic, list<Trait> traits = []> : Nag_PureOp<mnemonic, !listconcat(traits,
    [DeclareOpInterfaceMethods<RowwiseOpInterface, 
        ["getSharedOperand", "getIndexOperand", "getBaseOperand", "getOffsetsOperand"]>])>;

def Nag_TakeOp : Nag_RoutedRowOp<"take", [Nag_Differentiable]> {
  let summary = "the rows of the executed tokens, and the rest";
  let description = [{
    `rows[m] = source[indices[m]]` for the `offsets[B]` executed tokens; rows behind them are unspecified. `rest` is the source with the
    rows taken set to zero: what nag.put completes. It costs nothing where only nag.put reads it.

    Constraints: (C1) `source` is [B, T, D] or [B, T], `offsets` is [B + 1]; (C2) `indices` has at most B*T elements.

    ```mlir
    %r, %rest = nag.take %x, %indices, %offsets
        : (tensor<2x8x16xf32>, tensor<12xi32>, tensor<3xi32>) -> (tensor<12x16xf32>, tensor<2x8x16xf32>)
    ```
  }];
  let arguments = (ins Nag_Tensor:$source, Nag_TokenTensor:$indices, Nag_TokenTensor:$offsets);
  let results = (outs Nag_Tensor:$rows, Nag_Tensor:$rest);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let hasCanonicalizer = 1;
}

def Nag_PutOp : Nag_RoutedRowOp<"put", [Nag_Differentiable]> {
  let summary = "puts the rows of the executed tokens into the rest";
  let description = [{
    `result[indices[m]] = rows[m]` for the `offsets[B]` executed tokens; all other rows are those of `rest`, bit for bit. The inverse of
    nag.take. The result takes over the memory of `rest` where that is free: then no other row is read or written.

    Constraints: (C1) `rest` is [B, T, D] or [B, T], `offsets` is [B + 1]; (C2) `rows` is [M, D] or [M]; (C3) `indices` is [M] with
    M at most B*T.

    ```mlir
    %y = nag.put %r, %rest, %indices, %offsets
        : (tensor<12x16xf32>, tensor<2x8x16xf32>, tensor<12xi32>, tensor<3xi32>) -> tensor<2x8x16xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$rows, Nag_Tensor:$rest, Nag_TokenTensor:$indices, Nag_TokenTensor:$offsets);
  let results = (outs Nag_Tensor:$result);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

def Nag_SoftSkipOp : Nag_RowOp<"soft_skip", [Nag_Differentiable]> {
  let summary = "the share of tokens that skip, made smooth";
  let description = [{
    The mean over all tokens of `sigmoid((threshold - |g|) / temperature)`: what the auxiliary loss of section 4 compares with the rate.
    The threshold is not differentiated.

    Constraints: (C1) `threshold` has the element type of `gates`; (C2) `temperature` is positive.

    ```mlir
    %s = nag.soft_skip %g, %tau {temperature = 0.05} : (tensor<2x8xf32>, tensor<f32>) -> tensor<f32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$gates, Nag_Scalar:$threshold, F64Attr:$temperature);
  let results = (outs Nag_Scalar:$share);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_SoftSkipVJPOp : Nag_RowOp<"soft_skip_vjp"> {
  let summary = "vector-Jacobian product of nag.soft_skip";
  let description = [{
    With `p = sigmoid((threshold - |g|) / temperature)` and N tokens: `dg = -dshare * p * (1 - p) * sign(g) / (temperature * N)`.

    Constraints: (C1) `threshold` and `share_grad` have the element type of `gates`; (C2) `temperature` is positive.

    ```mlir
    %dg = nag.soft_skip_vjp %g, %tau, %ds {temperature = 0.05} : (tensor<2x8xf32>, tensor<f32>, tensor<f32>) -> tensor<2x8xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$gates, Nag_Scalar:$threshold, Nag_Scalar:$share_grad, F64Attr:$temperature);
  let results = (outs Nag_Tensor:$gates_grad);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_QuantileOp : Nag_PureOp<"quantile"> {
  let summary = "per sub-layer, the threshold that a share of the scores stays below";
  let description = [{
    For each slice of the first dimension, of n values: the element at place `floor(rate * n)` of the ascending |values|, so that this
    many are below it unless some are equal. `rate` outside [0, 1) gives the nearest place there is. NaN counts as the largest.

    Constraints: (C1) `values` has rank 2 or more; (C2) `rate` has the element type of `values`.

    ```mlir
    %t = nag.quantile %g, %rate : (tensor<4x2x8xf32>, tensor<f32>) -> tensor<4xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$values, Nag_Scalar:$rate);
  let results = (outs Nag_Tensor:$thresholds);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

#endif // NAG_ROUTING_OPS_TD
