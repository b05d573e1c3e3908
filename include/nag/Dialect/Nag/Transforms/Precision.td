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

#endif // NAG_TRANSFORMS_PRECISION_TD
