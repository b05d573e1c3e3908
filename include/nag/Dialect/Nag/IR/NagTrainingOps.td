// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The loss, the optimizer and the weight constraints.
#ifndef NAG_TRAINING_OPS_TD
#define NAG_TRAINING_OPS_TD

include "nag/Dialect/Nag/IR/NagBase.td"

def Nag_CrossEntropyOp : Nag_PureOp<"cross_entropy"> {
  let summary = "mean cross-entropy over the counted tokens, in nats";
  let description = [{
    The mean over all positions whose target is not `ignore_index` of `lse(logits[:vocab]) - logits[target]`; 0 when none counts.
    Columns from `vocab` on are padding and never count. `-nag-decompose` splits it into nag.token_loss and nag.masked_mean.

    Constraints: (C1) `targets` has the shape of `logits` without its last dimension; (C2) `vocab` lies in [1, last dimension].

    ```mlir
    %loss = nag.cross_entropy %z, %targets {vocab = 30} : (tensor<2x8x32xf32>, tensor<2x8xi32>) -> tensor<f32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$logits, Nag_TokenTensor:$targets, I64Attr:$vocab,
      DefaultValuedAttr<I32Attr, "-1">:$ignore_index);
  let results = (outs Nag_Scalar:$loss);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_TokenLossOp : Nag_RowOp<"token_loss", [Nag_Differentiable]> {
  let summary = "cross-entropy of each token, in nats";
  let description = [{
    `losses` is 0 where the target is `ignore_index`; `lse` is the log-sum-exp over the true vocabulary, which the backward pass reads.
    Both in f32 (f64 for f64 logits).

    Constraints: as nag.cross_entropy.

    ```mlir
    %losses, %lse = nag.token_loss %z, %targets {vocab = 30}
        : (tensor<2x8x32xf32>, tensor<2x8xi32>) -> (tensor<2x8xf32>, tensor<2x8xf32>)
    ```
  }];
  let arguments = (ins Nag_Tensor:$logits, Nag_TokenTensor:$targets, I64Attr:$vocab,
      DefaultValuedAttr<I32Attr, "-1">:$ignore_index);
  let results = (outs Nag_Tensor:$losses, Nag_Tensor:$lse);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_TokenLossVJPOp : Nag_SharingRowOp<"token_loss_vjp"> {
  let summary = "vector-Jacobian product of nag.token_loss";
  let description = [{
    `dlogits = dlosses * (exp(logits - lse) - onehot(target))`, 0 in padded columns and in ignored rows.

    Constraints: (C1) and (C2) as in nag.cross_entropy; (C3) `lse` and `losses_grad` have one scalar per row.

    ```mlir
    %dz = nag.token_loss_vjp %z, %targets, %lse, %dl {vocab = 30}
        : (tensor<2x8x32xf32>, tensor<2x8xi32>, tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8x32xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$logits, Nag_TokenTensor:$targets, Nag_Tensor:$lse, Nag_Tensor:$losses_grad,
      I64Attr:$vocab, DefaultValuedAttr<I32Attr, "-1">:$ignore_index);
  let results = (outs Nag_Tensor:$logits_grad);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_MaskedMeanOp : Nag_RowOp<"masked_mean", [Nag_Differentiable]> {
  let summary = "mean of the values whose target counts";
  let description = [{
    0 when no target counts; `count` is the number that do.

    Constraints: (C1) `values` and `targets` have the same shape.

    ```mlir
    %mean, %count = nag.masked_mean %losses, %targets : (tensor<2x8xf32>, tensor<2x8xi32>) -> (tensor<f32>, tensor<f32>)
    ```
  }];
  let arguments = (ins Nag_Tensor:$values, Nag_TokenTensor:$targets, DefaultValuedAttr<I32Attr, "-1">:$ignore_index);
  let results = (outs Nag_Scalar:$mean, Nag_Scalar:$count);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_MaskedMeanVJPOp : Nag_RowOp<"masked_mean_vjp"> {
  let summary = "vector-Jacobian product of nag.masked_mean";
  let description = [{
    `dvalues = dmean / max(count, 1)` where the target counts, else 0.

    Constraints: (C1) `mean_grad` has the type of `count`.

    ```mlir
    %dv = nag.masked_mean_vjp %targets, %count, %dmean : (tensor<2x8xi32>, tensor<f32>, tensor<f32>) -> tensor<2x8xf32>
    ```
  }];
  let arguments = (ins Nag_TokenTensor:$targets, Nag_Scalar:$count, Nag_Scalar:$mean_grad,
      DefaultValuedAttr<I32Attr, "-1">:$ignore_index);
  let results = (outs Nag_Tensor:$values_grad);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_TargetCountOp : Nag_RowOp<"target_count"> {
  let summary = "the number of targets that count";
  let description = [{
    The count that nag.masked_mean divides by, without its values: the backward pass needs it before the losses are there. `type` is that
    of the result, f32 or f64.

    ```mlir
    %count = nag.target_count %targets {type = f32} : (tensor<2x8xi32>) -> tensor<f32>
    ```
  }];
  let arguments = (ins Nag_TokenTensor:$targets, TypeAttr:$type, DefaultValuedAttr<I32Attr, "-1">:$ignore_index);
  let results = (outs Nag_Scalar:$count);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_HeadLossOp : Nag_ContractionOp<"head_loss", [Nag_Differentiable]> {
  let summary = "cross-entropy of each token from the rows before the head";
  let description = [{
    nag.linear of `input` and `weight`, nag.temper with `log_scale` and `factor` where `log_scale` is given, nag.token_loss: the loss of each token in
    nats, 0 where the target is `ignore_index`; columns from `vocab` on never count. The N x V logits are no result, so that nobody has to keep
    them: `-nag-lower-head` works on chunks of rows.

    Constraints: (C1) `targets` has the shape of `input` without its last dimension; (C2) `vocab` lies in [1, V]; (C3) `weight` is [V, D] with D the
    width of `input`; (C4) `log_scale` has one scalar per row in the compute type.

    ```mlir
    %losses = nag.head_loss %x, %w, %targets, %s {vocab = 30, factor = 0.0625}
        : (tensor<2x8x16xf32>, tensor<32x16xf32>, tensor<2x8xi32>, tensor<2x8xf32>) -> tensor<2x8xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$input, Nag_Tensor:$weight, Nag_TokenTensor:$targets, Optional<Nag_Tensor>:$log_scale,
      I64Attr:$vocab, DefaultValuedAttr<F64Attr, "1.0">:$factor, DefaultValuedAttr<I32Attr, "-1">:$ignore_index);
  let results = (outs Nag_Tensor:$losses);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_HeadLossVJPOp : Nag_ContractionOp<"head_loss_vjp"> {
  let summary = "vector-Jacobian product of nag.head_loss, and its losses once more";
  let description = [{
    Computes the logits of a chunk of rows, their losses and their cotangents in one go, so that a step which needs both runs the head's
    product once: three products in all. `losses` are those of nag.head_loss.

    Constraints: (C1) to (C4) as in nag.head_loss; (C5) `losses_grad` has one scalar per row in the compute type; (C6) so have `losses` and
    `log_scale_grad`, `input_grad` has the type of `input`; (C7) `weight_grad` has the element type of `weight`, or f32 where that is bf16.

    ```mlir
    %losses, %dx, %dw, %ds = nag.head_loss_vjp %x, %w, %targets, %dl, %s {vocab = 30, factor = 0.0625}
        : (tensor<2x8x16xf32>, tensor<32x16xf32>, tensor<2x8xi32>, tensor<2x8xf32>, tensor<2x8xf32>)
        -> (tensor<2x8xf32>, tensor<2x8x16xf32>, tensor<32x16xf32>, tensor<2x8xf32>)
    ```
  }];
  let arguments = (ins Nag_Tensor:$input, Nag_Tensor:$weight, Nag_TokenTensor:$targets, Nag_Tensor:$losses_grad,
      Optional<Nag_Tensor>:$log_scale, I64Attr:$vocab, DefaultValuedAttr<F64Attr, "1.0">:$factor,
      DefaultValuedAttr<I32Attr, "-1">:$ignore_index);
  let results = (outs Nag_Tensor:$losses, Nag_Tensor:$input_grad, Nag_Tensor:$weight_grad, Optional<Nag_Tensor>:$log_scale_grad);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let extraClassDeclaration = [{
    /// Element types are left to (C6) and (C7).
    static bool isCompatibleReturnTypes(::mlir::TypeRange inferred, ::mlir::TypeRange actual);
  }];
}

def Nag_SquaredNormOp : Nag_RowOp<"squared_norm"> {
  let summary = "sum of squares of a tensor";
  let description = [{
    ```mlir
    %n = nag.squared_norm %g : (tensor<64x16xf32>) -> tensor<f32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$input);
  let results = (outs Nag_Scalar:$result);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_GlobalNormOp : Nag_PureOp<"global_norm"> {
  let summary = "Euclidean norm of several tensors taken as one vector";
  let description = [{
    `-nag-decompose` splits it into one nag.squared_norm per tensor and the root of their sum, in the order of the operands.

    Constraints: (C1) there is at least one operand.

    ```mlir
    %n = nag.global_norm %a, %b : (tensor<64x16xf32>, tensor<16xf32>) -> tensor<f32>
    ```
  }];
  let arguments = (ins Variadic<Nag_Tensor>:$inputs);
  let results = (outs Nag_Scalar:$norm);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_ClipFactorOp : Nag_RowOp<"clip_factor"> {
  let summary = "the factor by which gradients are scaled to clip their global norm";
  let description = [{
    `scale * min(1, limit / (scale * norm))`; just `scale` when `limit` is 0. `scale` averages accumulated micro-batches.
    Also yields `scale * norm`, the norm before clipping.

    Constraints: (C1) `limit` and `scale` have the type of `norm`.

    ```mlir
    %c, %n = nag.clip_factor %norm, %limit, %scale : (tensor<f32>, tensor<f32>, tensor<f32>) -> (tensor<f32>, tensor<f32>)
    ```
  }];
  let arguments = (ins Nag_Scalar:$norm, Nag_Scalar:$limit, Nag_Scalar:$scale);
  let results = (outs Nag_Scalar:$factor, Nag_Scalar:$scaled_norm);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_AdamWOp : Nag_SharingRowOp<"adamw"> {
  let summary = "one AdamW step of one parameter (Loshchilov and Hutter, 2019)";
  let description = [{
    With G = factor * gradient, t = step (from 1) and eta = lr * lr_scale: `m' = beta1 m + (1-beta1) G`, `v' = beta2 v + (1-beta2) G*G`,
    `p' = p - eta (m'/(1-beta1^t) / (sqrt(v'/(1-beta2^t)) + eps) + weight_decay p)`. Results may share the operands' memory.

    Constraints: (C1) `parameter`, `moment1`, `moment2` and `gradient` have the same shape.

    ```mlir
    %p1, %m1, %v1 = nag.adamw %p, %m, %v, %g, %lr, %step, %factor group <lr_scale = 1.0, weight_decay = 0.0,
        beta1 = 0.9, beta2 = 0.95, eps = 1.0e-8>
        : (tensor<64x16xf32>, tensor<64x16xf32>, tensor<64x16xf32>, tensor<64x16xf32>, tensor<f32>, tensor<f32>, tensor<f32>)
        -> (tensor<64x16xf32>, tensor<64x16xf32>, tensor<64x16xf32>)
    ```
  }];
  let arguments = (ins Nag_Tensor:$parameter, Nag_Tensor:$moment1, Nag_Tensor:$moment2, Nag_Tensor:$gradient,
      Nag_Scalar:$lr, Nag_Scalar:$step, Nag_Scalar:$factor, Nag_GroupAttr:$group);
  let results = (outs Nag_Tensor:$new_parameter, Nag_Tensor:$new_moment1, Nag_Tensor:$new_moment2);
  let assemblyFormat = "operands `group` $group attr-dict `:` functional-type(operands, results)";
}

def Nag_ConstrainOp : Nag_SharingRowOp<"constrain"> {
  let summary = "restores what must hold for every row of a weight (section 6)";
  let description = [{
    `zero_mean`: each row minus its mean. `zero_mean_unit_rms`: then divided by its rms (a row of zeros stays zero).

    Constraints: (C1) `input` has rank 1 or more.

    ```mlir
    %w1 = nag.constrain %w zero_mean : (tensor<32x16xf32>) -> tensor<32x16xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$input, Nag_ConstraintAttr:$constraint);
  let results = (outs Nag_Tensor:$result);
  let assemblyFormat = "$input $constraint attr-dict `:` functional-type(operands, results)";
  let hasFolder = 1;
}

def Nag_AccumulateOp : Nag_ElementwiseOp<"accumulate"> {
  let summary = "adds a gradient to an accumulator";
  let description = [{
    The result may share the accumulator's memory.

    ```mlir
    %a1 = nag.accumulate %a, %g : (tensor<64x16xf32>, tensor<64x16xf32>) -> tensor<64x16xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$accumulator, Nag_Tensor:$value);
  let results = (outs Nag_Tensor:$result);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

#endif // NAG_TRAINING_OPS_TD
