// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef NAG_TRANSFORMS_PASSES_TD
#define NAG_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def NagFuse : Pass<"nag-fuse", "::mlir::func::FuncOp"> {
  let summary = "forms kernels: joins row-wise ops that share rows, leaves the others alone";
  let description = [{
    Wraps every op that computes tensors in a `nag.kernel`. Row-wise ops (RowwiseOpInterface) over the same number of rows are joined
    greedily, the pair that saves most memory traffic first, when one reads rows that the other writes or both read
    the same rows. A sum over rows ends a kernel: who reads it runs in another. Contractions and all other ops are kernels of
    their own. Reshapes, contiguous slices and constants stay outside: they cost nothing.

    `nag.make_stream`, `nag.direction` and `nag.log_norm` go inside, so no stream crosses a kernel's border; functions
    must have lost theirs (`-nag-split-streams`).

    ```mlir
    %a = nag.relu2 %x : tensor<8x16xf32>
    %b = nag.residual_add %a, %y : (tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
    // becomes
    %b = nag.kernel "relu2_residual_add"(%x, %y) : (tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32> { ... }
    ```
  }];
  let dependentDialects = ["::nag::NagDialect"];
  let statistics = [
    Statistic<"kernels", "kernels", "Number of kernels formed">,
    Statistic<"fusedOps", "fused-ops", "Number of row-wise ops that joined another's kernel">
  ];
}

#endif // NAG_TRANSFORMS_PASSES_TD
