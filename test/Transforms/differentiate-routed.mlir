// RUN: nag-opt %s --nag-differentiate="function=f seeded recompute=none" | FileCheck %s
// RUN: nag-opt %s --nag-differentiate="function=f seeded recompute=none explain" 2>&1 | FileCheck %s --check-prefix=WHY --implicit-check-not=remark:

// What is computed of all rows is not computed of those taken again. The product's result lies in memory whole: that is kept, and the backward
// pass takes the rows from there.
// CHECK-LABEL: func.func @f.gradients
// CHECK:         %[[ALL:.*]] = nag.linear %arg0, %arg1 :
// CHECK-NOT:     nag.linear
// CHECK:         %[[ROWS:.*]], %{{.*}} = nag.take %[[ALL]], %arg2, %arg3 {nag.recomputed}
// CHECK:         nag.relu2_vjp %[[ROWS]]
// WHY:           remark: saves 256 bytes of 'tensor<2x8x4xf32>' for the backward pass of '@f'
// WHY:           remark: saves 512 bytes of 'tensor<8x16xf32>' for the backward pass of '@f'
// WHY:           remark: is computed again in the backward pass of '@f'
func.func @f(%x: tensor<2x8x16xf32>, %w: tensor<4x16xf32>, %i: tensor<8xi32>, %o: tensor<3xi32>) -> (tensor<2x8x4xf32>, tensor<8x4xf32>) {
  %d = nag.linear %x, %w : (tensor<2x8x16xf32>, tensor<4x16xf32>) -> tensor<2x8x4xf32>
  %g = nag.relu2 %d : (tensor<2x8x4xf32>) -> tensor<2x8x4xf32>
  %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<8xi32>, tensor<3xi32>) -> (tensor<8x16xf32>, tensor<2x8x16xf32>)
  %e = nag.linear %r, %w : (tensor<8x16xf32>, tensor<4x16xf32>) -> tensor<8x4xf32>
  %y = nag.relu2 %e : (tensor<8x4xf32>) -> tensor<8x4xf32>
  return %g, %y : tensor<2x8x4xf32>, tensor<8x4xf32>
}
