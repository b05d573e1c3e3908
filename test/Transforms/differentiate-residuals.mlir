// RUN: nag-opt %s --nag-differentiate="function=f seeded recompute=none" | FileCheck %s --check-prefix=NONE
// RUN: nag-opt %s --nag-differentiate="function=f seeded recompute=cheap" | FileCheck %s --check-prefix=CHEAP
// RUN: nag-opt %s --nag-differentiate="function=f seeded recompute=all" | FileCheck %s --check-prefix=ALL
// RUN: nag-opt %s --nag-differentiate="function=f seeded recompute=none explain" 2>&1 | FileCheck %s --check-prefix=WHY-NONE --implicit-check-not=remark:
// RUN: nag-opt %s --nag-differentiate="function=f seeded recompute=cheap explain" 2>&1 | FileCheck %s --check-prefix=WHY-CHEAP --implicit-check-not=remark:
// RUN: nag-opt %s --nag-differentiate="function=f seeded recompute=all explain" 2>&1 | FileCheck %s --check-prefix=WHY-ALL --implicit-check-not=remark:

// The backward pass needs z and r. Everything is saved: 2 x 2 KiB.
// NONE-LABEL: func.func @f.gradients
// NONE-NOT:     nag.recomputed
// NONE:         %[[Z:.*]] = nag.linear %{{.*}}, %{{.*}} :
// NONE:         %[[R:.*]] = nag.relu2 %[[Z]] :
// NONE:         nag.weight_grad %{{.*}}, %[[R]]
// NONE:         nag.relu2_vjp %[[Z]]
// WHY-NONE:     remark: saves 2048 bytes of 'tensor<8x64xf32>' for the backward pass of '@f'
// WHY-NONE:     remark: saves 2048 bytes of 'tensor<8x64xf32>' for the backward pass of '@f'

// A row-wise op is cheap: r is computed again from z.
// CHEAP-LABEL: func.func @f.gradients
// CHEAP:        %[[Z:.*]] = nag.linear %{{.*}}, %{{.*}} :
// CHEAP-NOT:    nag.linear {{.*}} {nag.recomputed}
// CHEAP:        %[[R:.*]] = nag.relu2 %[[Z]] {nag.recomputed}
// CHEAP:        nag.weight_grad %{{.*}}, %[[R]]
// WHY-CHEAP:    remark: saves 2048 bytes of 'tensor<8x64xf32>' for the backward pass of '@f'
// WHY-CHEAP:    remark: is computed again in the backward pass of '@f'

// The contraction too: nothing is saved but the arguments, which live anyway.
// ALL-LABEL:  func.func @f.gradients
// ALL:          %[[Z:.*]] = nag.linear %{{.*}}, %{{.*}} {nag.recomputed}
// ALL:          nag.relu2 %[[Z]] {nag.recomputed}
// WHY-ALL:      remark: is computed again in the backward pass of '@f'
// WHY-ALL:      remark: is computed again in the backward pass of '@f'
func.func @f(%x: tensor<8x64xf32>, %w: tensor<64x64xf32>, %v: tensor<64x64xf32>) -> tensor<8x64xf32> {
  %z = nag.linear %x, %w : (tensor<8x64xf32>, tensor<64x64xf32>) -> tensor<8x64xf32>
  %r = nag.relu2 %z : (tensor<8x64xf32>) -> tensor<8x64xf32>
  %y = nag.linear %r, %v : (tensor<8x64xf32>, tensor<64x64xf32>) -> tensor<8x64xf32>
  return %y : tensor<8x64xf32>
}
