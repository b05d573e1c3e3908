// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Passes that choose in which type a target computes.
#ifndef NAG_TRANSFORMS_PRECISION_TD
#define NAG_TRANSFORMS_PRECISION_TD

include "mlir/Pass/PassBase.td"

def NagWidenSums : Pass<"nag-widen-sums", "::mlir::func::FuncOp"> {
  let summary = "runs bf16 ops that sum over more than a row in f32";
  let description = [{
    For targets without bf16 products: an op that is not row-wise (linear layers, weight gradients, attention, the embedding's
    gradient) and has bf16 operands or results reads its operands widened to f32, sums in f32, and has its results rounded to bf16
    once. Row-wise ops compute in f32 already and take the conversions into their loops when fused. Runs after `-nag-decompose`.

    ```mlir
    %y = nag.linear %x, %w : (tensor<8x16xbf16>, tensor<4x16xbf16>) -> tensor<8x4xbf16>
    // becomes
    %wide_x = arith.extf %x : tensor<8x16xbf16> to tensor<8x16xf32>
    %wide_w = arith.extf %w : tensor<4x16xbf16> to tensor<4x16xf32>
    %wide_y = nag.linear %wide_x, %wide_w : (tensor<8x16xf32>, tensor<4x16xf32>) -> tensor<8x4xf32>
    %y = arith.truncf %wide_y : tensor<8x4xf32> to tensor<8x4xbf16>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

def NagHoistRoundings : Pass<"nag-hoist-roundings", "::mlir::ModuleOp"> {
  let summary = "rounds weights to bf16 once, outside of the layers' functions";
  let description = [{
    An argument of a private function that is only read to be rounded to bf16 becomes bf16, and callers round what they pass, whole
    stacks of layers' parameters at a time, though they pass a slice. The forward and the backward pass then read the same rounded weights, which one kernel
    makes per step. A carried operand of nag.repeat that layers round is carried in both types: the kernel that makes the next one
    rounds it too, of routed rows those that are executed (`-nag-reuse-rows`). Runs after `-nag-contract-in-bf16`, `-nag-differentiate` and `-nag-split-streams`.

    ```mlir
    %y = nag.repeat @layer 12 carry(%x) stacked(%w) shared()
        : (tensor<8x16xf32>), (tensor<12x16x16xf32>), () -> (tensor<8x16xf32>), ()
    // becomes, where @layer only rounds its second argument
    %b = arith.truncf %w : tensor<12x16x16xf32> to tensor<12x16x16xbf16>
    %y = nag.repeat @layer 12 carry(%x) stacked(%b) shared()
        : (tensor<8x16xf32>), (tensor<12x16x16xbf16>), () -> (tensor<8x16xf32>), ()
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

def NagKeepRoundings : Pass<"nag-keep-roundings", "::mlir::ModuleOp"> {
  let summary = "keeps a bf16 copy of each weight that functions round";
  let description = [{
    A public function that rounds a parameter to bf16 takes the copy as an argument instead, named `bf16:` and the
    parameter's name; `@apply`, where there is one, returns the copies of what it has updated, in place of arguments of these names, so that its
    kernel writes 2 bytes more per element where each pass over the model read 4 and wrote 2. `@round`(parameters) returns all copies:
    whoever sets parameters otherwise calls it then. Copies are no parameters, and no checkpoint holds them. `@train_step` is
    removed: its parts are called one by one. Runs after `-nag-hoist-roundings`.

    ```mlir
    func.func @gradients(%w: tensor<4x4xf32> {nag.param = #nag.param<"w", init = <zeros>, group = "g">}) {
      %b = arith.truncf %w : tensor<4x4xf32> to tensor<4x4xbf16>
      // becomes
    func.func @gradients(%w: tensor<4x4xf32> {nag.param = #nag.param<"w", init = <zeros>, group = "g">},
                         %b: tensor<4x4xbf16> {nag.name = "bf16:w"}) {
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

#endif // NAG_TRANSFORMS_PRECISION_TD
