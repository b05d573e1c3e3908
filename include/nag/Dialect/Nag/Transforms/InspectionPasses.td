// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Functions that look into a model. Apart from Passes.td, so that few files depend on it.
#ifndef NAG_INSPECTION_PASSES_TD
#define NAG_INSPECTION_PASSES_TD

include "mlir/Pass/PassBase.td"

def NagBuildNorms : Pass<"nag-build-norms", "::mlir::ModuleOp"> {
  let summary = "derives @norms, the residual's log-norm after each sub-layer, from @logits";
  let description = [{
    For models whose layers add to a residual, `x + F(norm(x))`: the norm that a stream (`!nag.stream`) carries in a lane of its own must be taken
    from the rows here. `@norms` has the arguments of @logits and returns `norms` [1 + sub-layers, batch, seq]: log rms(x) of the embedding's rows,
    then of each nag.residual_add of each layer, in order. Layer functions are copied as `<name>.norms`, so that other functions stay as they are.

    @logits must call nag.repeat on layer functions that carry one tensor and hold nag.residual_add ops of its type.

    ```mlir
    func.func @norms(%tokens: tensor<16x128xi32>, ...) -> (tensor<9x16x128xf32> {nag.name = "norms"})
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::nag::NagDialect", "::mlir::tensor::TensorDialect"];
}

#endif // NAG_INSPECTION_PASSES_TD
