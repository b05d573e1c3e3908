// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The residual stream: encode, gate, rotate, decode.
#ifndef NAG_STREAM_OPS_TD
#define NAG_STREAM_OPS_TD

include "mlir/Interfaces/ControlFlowInterfaces.td"
include "nag/Dialect/Nag/IR/NagBase.td"

def Nag_EncodeOp : Nag_RowOp<"encode", [Nag_Differentiable]> {
  let summary = "turns embedding rows into a residual stream (eq. 3-5)";
  let description = [{
    For each row x: `rho = rms(x)`, `r = x / rho`, `s = log(rho) + g`. A zero row gives a non-finite log-norm.

    Constraints: (C1) `gain` has the log-norm's element type; (C2) `input` has rank 2 or more.

    ```mlir
    %s = nag.encode %x, %g : (tensor<2x8x16xf32>, tensor<f32>) -> !nag.stream<2x8x16xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$input, Nag_Scalar:$gain);
  let results = (outs Nag_StreamType:$stream);
  let assemblyFormat = "$input `,` $gain attr-dict `:` functional-type(operands, results)";
}

def Nag_EncodeVJPOp : Nag_RowOp<"encode_vjp"> {
  let summary = "vector-Jacobian product of nag.encode";
  let description = [{
    With G the cotangent of r and S that of s: `dx = (G - r <G,r>/d + S r/d) / rho`. The gain's cotangent is the sum of S.

    Constraints: (C1) `direction_grad` has the type of `input`; (C2) `log_norm_grad` has one scalar per row in the compute type.

    ```mlir
    %dx, %dg = nag.encode_vjp %x, %G, %S
        : (tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>) -> (tensor<2x8x16xf32>, tensor<f32>)
    ```
  }];
  let arguments = (ins Nag_Tensor:$input, Nag_Tensor:$direction_grad, Nag_Tensor:$log_norm_grad);
  let results = (outs Nag_Tensor:$input_grad, Nag_Scalar:$gain_grad);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_MakeStreamOp : Nag_Op<"make_stream", [Pure, Nag_Differentiable,
    TypesMatchWith<"the direction of the stream", "stream", "direction",
                   "::llvm::cast<::nag::StreamType>($_self).getDirectionType()">,
    TypesMatchWith<"the log-norm lane of the stream", "stream", "log_norm",
                   "::llvm::cast<::nag::StreamType>($_self).getLogNormType()">]> {
  let summary = "pairs a direction with its log-norm lane";
  let description = [{
    The inverse of nag.direction and nag.log_norm. That the rows of `direction` have rms 1 is the caller's promise.

    ```mlir
    %x = nag.make_stream %r, %s : !nag.stream<2x8x16xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$direction, Nag_Tensor:$log_norm);
  let results = (outs Nag_StreamType:$stream);
  let assemblyFormat = "$direction `,` $log_norm attr-dict `:` type($stream)";
  let hasFolder = 1;
  let builders = [OpBuilder<(ins "::mlir::Value":$direction, "::mlir::Value":$logNorm)>];
}

def Nag_DirectionOp : Nag_Op<"direction", [Pure, Nag_Differentiable,
    TypesMatchWith<"the direction of the stream", "stream", "direction",
                   "::llvm::cast<::nag::StreamType>($_self).getDirectionType()">]> {
  let summary = "the direction r of a residual stream";
  let description = [{
    ```mlir
    %r = nag.direction %x : !nag.stream<2x8x16xf32>
    ```
  }];
  let arguments = (ins Nag_StreamType:$stream);
  let results = (outs Nag_Tensor:$direction);
  let assemblyFormat = "$stream attr-dict `:` type($stream)";
  let hasFolder = 1;
}

def Nag_LogNormOp : Nag_Op<"log_norm", [Pure, Nag_Differentiable,
    TypesMatchWith<"the log-norm lane of the stream", "stream", "log_norm",
                   "::llvm::cast<::nag::StreamType>($_self).getLogNormType()">]> {
  let summary = "the log-norm s of a residual stream, one scalar per row";
  let description = [{
    ```mlir
    %s = nag.log_norm %x : !nag.stream<2x8x16xf32>
    ```
  }];
  let arguments = (ins Nag_StreamType:$stream);
  let results = (outs Nag_Tensor:$log_norm);
  let assemblyFormat = "$stream attr-dict `:` type($stream)";
  let hasFolder = 1;
}

def Nag_BlockOp : Nag_Op<"block", [RecursiveMemoryEffects, AttrSizedOperandSegments,
    SingleBlockImplicitTerminator<"::nag::YieldOp">]> {
  let summary = "one gated sub-layer of a NAG transformer";
  let description = [{
    The body computes the branch f = F(r) from the direction r of `stream`. The result is the stream rotated towards f by
    the gate's angle (nag.rotate), where the gate is nag.modulate of r. `gates` holds g for every token. `-nag-expand-blocks`
    spells this out. Pure when its body is.

    With `routing`, only some tokens execute the sub-layer; the others leave it as they came, bit for bit. The body then takes the
    direction of all tokens, the M x D rows of the executed ones, their `indices` and `offsets` (nag.route), and yields one branch row
    for each of these rows. `route(%dial)` gives the threshold of the policies `threshold` and `rate`; with `capacity` it is a rate
    decided at run time. A third result holds the offsets: how many tokens were executed.

    Constraints: (C1) the body takes one argument, the direction; a routed one takes the direction, the rows, their indices and their
    offsets; (C2) it yields one tensor of the direction's type, or of the rows' type; (C3) `gates` has the log-norm's type; (C4)
    `weight` is [C, D] with D the stream's width; (C5) `bias` and `logits` are [C]; (C6) `beta` and `alpha` are rank 0; (C7) `eps`
    is finite and not negative; (C8) thresholds need a `dial` in the log-norm's element type, a block without routing has none; (C9)
    with `kv = routed` the body leaves the direction of all tokens alone; (C10) a routed stream is [B, T, D].

    ```mlir
    %y, %g = nag.block %x gate(%w, %b, %p, %beta, %alpha)
        : !nag.stream<2x8x16xf32>, tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32> {
    ^bb0(%r: tensor<2x8x16xf32>):
      %f = nag.linear %r, %proj : (tensor<2x8x16xf32>, tensor<16x16xf32>) -> tensor<2x8x16xf32>
      nag.yield %f : tensor<2x8x16xf32>
    }
    %y, %g, %n = nag.block %x gate(%w, %b, %p, %beta, %alpha) attributes {routing = #nag.routing<capacity, rate = 0.25>}
        : !nag.stream<2x8x16xf32>, tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32> {
    ^bb0(%r: tensor<2x8x16xf32>, %rows: tensor<12x16xf32>, %indices: tensor<12xi32>, %offsets: tensor<3xi32>):
      %f = nag.linear %rows, %proj : (tensor<12x16xf32>, tensor<16x16xf32>) -> tensor<12x16xf32>
      nag.yield %f : tensor<12x16xf32>
    }
    ```
  }];
  let arguments = (ins Nag_StreamType:$stream, Nag_Tensor:$weight, Nag_Tensor:$bias, Nag_Tensor:$logits,
      Nag_Tensor:$beta, Nag_Tensor:$alpha, Optional<Nag_Scalar>:$scale, Optional<Nag_Scalar>:$dial,
      DefaultValuedAttr<F64Attr, "1.1920928955078125e-07">:$eps, OptionalAttr<Nag_RoutingAttr>:$routing);
  let results = (outs Nag_StreamType:$result, Nag_Tensor:$gates, Variadic<Nag_TokenTensor>:$offsets);
  let regions = (region SizedRegion<1>:$body);
  let extraClassDeclaration = [{
    /// Executed rows of a routed block at most: those of its body's rows.
    int64_t getMaxRows();
  }];
  let hasCanonicalizer = 1;
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

def Nag_YieldOp : Nag_Op<"yield", [Pure, ReturnLike, Terminator, ParentOneOf<["BlockOp", "KernelOp", "RowScalarsOp"]>]> {
  let summary = "ends the body of nag.block, nag.kernel or nag.row_scalars";
  let description = [{
    ```mlir
    nag.yield %f : tensor<2x8x16xf32>
    ```
  }];
  let arguments = (ins Variadic<AnyTypeOf<[Nag_StreamOrTensor, Nag_Float]>>:$values);
  let builders = [OpBuilder<(ins), "build($_builder, $_state, ::mlir::ValueRange());">];
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

def Nag_ModulateOp : Nag_PureOp<"modulate"> {
  let summary = "the modulator: a gate per token from the direction (eq. 13)";
  let description = [{
    `a_i = sigmoid(<w_i, r> + b_i)`, `pi = softmax(p)`, `q = max(sum_i pi_i a_i, 1e-6)`, `m = q^softplus(beta)`,
    `g = scale * alpha * m`. `scale` is the warm-up factor of alpha in training, 1 when absent. The gate g is the tangent of the
    angle by which nag.rotate turns the stream. `-nag-decompose` splits it into nag.linear and nag.gate.

    Constraints: (C1) `weight` is [C, D] with D the width of `direction`; (C2) `bias` and `logits` are [C];
    (C3) `beta` and `alpha` are rank 0.

    ```mlir
    %g = nag.modulate %r gate(%w, %b, %p, %beta, %alpha) : (tensor<2x8x16xf32>, tensor<4x16xf32>, tensor<4xf32>,
        tensor<4xf32>, tensor<f32>, tensor<f32>) -> tensor<2x8xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$direction, Nag_Tensor:$weight, Nag_Tensor:$bias, Nag_Tensor:$logits,
      Nag_Tensor:$beta, Nag_Tensor:$alpha, Optional<Nag_Scalar>:$scale);
  let results = (outs Nag_Tensor:$gates);
  let assemblyFormat = [{$direction `gate` `(` $weight `,` $bias `,` $logits `,` $beta `,` $alpha `)` (`scale` $scale^)?
    attr-dict `:` functional-type(operands, results)}];
}

def Nag_GateOp : Nag_HeadwiseRowOp<"gate", [Nag_Differentiable]> {
  let summary = "the nonlinear half of the modulator (eq. 13)";
  let description = [{
    As nag.modulate, from the products `z_i = <w_i, r>`: `a_i = sigmoid(z_i + b_i)`, `q = max(sum_i softmax(p)_i a_i, 1e-6)`,
    `g = scale * alpha * q^softplus(beta)`.

    Constraints: (C1) `bias` and `logits` are [C] with C the last dimension of `activations`; (C2) `beta`, `alpha` and
    `scale` are rank 0.

    ```mlir
    %g = nag.gate %z, %b, %p, %beta, %alpha
        : (tensor<2x8x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>) -> tensor<2x8xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$activations, Nag_Tensor:$bias, Nag_Tensor:$logits, Nag_Tensor:$beta,
      Nag_Tensor:$alpha, Optional<Nag_Scalar>:$scale);
  let results = (outs Nag_Tensor:$gates);
  let assemblyFormat = [{$activations `,` $bias `,` $logits `,` $beta `,` $alpha (`scale` $scale^)?
    attr-dict `:` functional-type(operands, results)}];
}

def Nag_GateVJPOp : Nag_RowOp<"gate_vjp"> {
  let summary = "vector-Jacobian product of nag.gate";
  let description = [{
    `gates_grad` is dL/dg. Below its floor of 1e-6, q passes no gradient to the activations. With u the cotangent of q, that of the logits p
    is the sum of `pi_i (a_i - q) u` over the rows. All but the first result are sums over the rows.

    Constraints: (C1) and (C2) as in nag.gate; (C3) `gates_grad` has one scalar per row in the compute type.

    ```mlir
    %dz, %db, %dp, %dbeta, %dalpha = nag.gate_vjp %z, %b, %p, %beta, %alpha, %dg
        : (tensor<2x8x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>, tensor<2x8xf32>)
        -> (tensor<2x8x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>)
    ```
  }];
  let arguments = (ins Nag_Tensor:$activations, Nag_Tensor:$bias, Nag_Tensor:$logits, Nag_Tensor:$beta,
      Nag_Tensor:$alpha, Nag_Tensor:$gates_grad, Optional<Nag_Scalar>:$scale);
  let results = (outs Nag_Tensor:$activations_grad, Nag_Tensor:$bias_grad, Nag_Tensor:$logits_grad,
      Nag_Tensor:$beta_grad, Nag_Tensor:$alpha_grad);
  let assemblyFormat = [{$activations `,` $bias `,` $logits `,` $beta `,` $alpha `,` $gates_grad (`scale` $scale^)?
    attr-dict `:` functional-type(operands, results)}];
}

def Nag_SoftmaxVJPOp : Nag_RowOp<"softmax_vjp"> {
  let summary = "vector-Jacobian product of a softmax over the last dimension";
  let description = [{
    With `y = softmax(logits)` and its cotangent u: `dlogits = y * (u - <y, u>)`.

    Constraints: (C1) both operands have the same type.

    ```mlir
    %dp = nag.softmax_vjp %p, %dpi : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$logits, Nag_Tensor:$result_grad);
  let results = (outs Nag_Tensor:$logits_grad);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_RotateOp : Nag_RowOp<"rotate", [Nag_Differentiable, Nag_GramForm]> {
  let summary = "turns a residual stream towards a branch by the gate's angle (eq. 10-17)";
  let description = [{
    For each row, with branch f, gate g and `rms_e(x) = sqrt(mean(x*x) + eps)`:
    `c = f - mean(f)`, `u = c - (<c,r>/<r,r>) r`, `v = u / rms_e(u)`, `y = r + g v`, `r' = y / rms_e(y)`,
    `s' = s + log1p(g*g)/2`. A branch that is zero, or parallel to r, gives v = 0.

    Constraints: (C1) `branch` has the direction's type; (C2) `gates` has the log-norm's type; (C3) `eps` is finite and not negative.

    ```mlir
    %y = nag.rotate %x, %f, %g : (!nag.stream<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>) -> !nag.stream<2x8x16xf32>
    ```
  }];
  let arguments = (ins Nag_StreamType:$stream, Nag_Tensor:$branch, Nag_Tensor:$gates,
      DefaultValuedAttr<F64Attr, "1.1920928955078125e-07">:$eps);
  let results = (outs Nag_StreamType:$result);
  let assemblyFormat = "$stream `,` $branch `,` $gates attr-dict `:` functional-type(operands, results)";
}

def Nag_RotateVJPOp : Nag_RowOp<"rotate_vjp", [Nag_GramForm]> {
  let summary = "vector-Jacobian product of nag.rotate (section 3.2)";
  let description = [{
    With G = dL/dr' (`direction_grad`) and S = dL/ds' (`log_norm_grad`), yields dr (the path through the branch excluded), df
    and dg. The cotangent of s is S itself.

    Constraints: (C1) `branch` and `direction_grad` have the direction's type; (C2) `gates` and `log_norm_grad` have one scalar per row
    in the compute type; (C3) `eps` is finite and not negative.

    ```mlir
    %dr, %df, %dg = nag.rotate_vjp %r, %f, %g, %G, %S
        : (tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>)
        -> (tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>)
    ```
  }];
  let arguments = (ins Nag_Tensor:$direction, Nag_Tensor:$branch, Nag_Tensor:$gates, Nag_Tensor:$direction_grad,
      Nag_Tensor:$log_norm_grad, DefaultValuedAttr<F64Attr, "1.1920928955078125e-07">:$eps);
  let results = (outs Nag_Tensor:$input_grad, Nag_Tensor:$branch_grad, Nag_Tensor:$gates_grad);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_DecodeOp : Nag_PureOp<"decode"> {
  let summary = "logits from a residual stream (eq. 18)";
  let description = [{
    `logits = (r W^T) / D * exp(s)`: cosines with the unembedding rows, times a learned inverse temperature per token.
    `-nag-decompose` splits it into nag.linear and nag.temper.

    Constraints: (C1) `weight` is [V, D].

    ```mlir
    %z = nag.decode %x, %w : (!nag.stream<2x8x16xf32>, tensor<32x16xf32>) -> tensor<2x8x32xf32>
    ```
  }];
  let arguments = (ins Nag_StreamType:$stream, Nag_Tensor:$weight);
  let results = (outs Nag_Tensor:$logits);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_TemperOp : Nag_SharingRowOp<"temper", [Nag_Differentiable]> {
  let summary = "multiplies each row by an inverse temperature exp(s) (eq. 18)";
  let description = [{
    `y = factor * exp(s) * x`, s one scalar per row.

    Constraints: (C1) `log_scale` has the shape of `input` without its last dimension.

    ```mlir
    %y = nag.temper %x, %s {factor = 0.0625} : (tensor<2x8x32xf32>, tensor<2x8xf32>) -> tensor<2x8x32xf32>
    ```
  }];
  let arguments = (ins Nag_Tensor:$input, Nag_Tensor:$log_scale, DefaultValuedAttr<F64Attr, "1.0">:$factor);
  let results = (outs Nag_Tensor:$result);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Nag_TemperVJPOp : Nag_PureOp<"temper_vjp",
    [DeclareOpInterfaceMethods<RowwiseOpInterface, ["getSharedOperand", "readsInPlace"]>]> {
  let summary = "vector-Jacobian product of nag.temper";
  let description = [{
    `dx = factor * exp(s) * dy`, `ds = factor * exp(s) * <dy, x>`.

    Constraints: (C1) as in nag.temper; (C2) `result_grad` has the type of `input`.

    ```mlir
    %dx, %ds = nag.temper_vjp %x, %s, %dy {factor = 0.0625}
        : (tensor<2x8x32xf32>, tensor<2x8xf32>, tensor<2x8x32xf32>) -> (tensor<2x8x32xf32>, tensor<2x8xf32>)
    ```
  }];
  let arguments = (ins Nag_Tensor:$input, Nag_Tensor:$log_scale, Nag_Tensor:$result_grad,
      DefaultValuedAttr<F64Attr, "1.0">:$factor);
  let results = (outs Nag_Tensor:$input_grad, Nag_Tensor:$log_scale_grad);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

#endif // NAG_STREAM_OPS_TD
