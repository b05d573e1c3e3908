// RUN: nag-opt %s --nag-lower-head=bytes=512 | FileCheck %s
// RUN: nag-opt %s --nag-lower-head | FileCheck %s --check-prefix=ONE
// RUN: nag-opt %s --nag-lower-head="bytes=512 remarks" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK
// RUN: not nag-opt %s --nag-lower-head=bytes=0 2>&1 | FileCheck %s --check-prefix=ERROR

// REMARK: remark: 4 chunks of 4 rows, 512 bytes of logits in memory instead of 2048
// ERROR: expected 'bytes' and 'max-chunks' of 1 or more, but got 0 and 32

// Four rows of 32 logits are 512 bytes. The weight's cotangent adds up.
// CHECK-LABEL: func.func @vjp
// CHECK: tensor.extract_slice %{{.*}}[0, 0] [4, 16] [1, 1]
// CHECK: nag.linear {{.*}} : (tensor<4x16xf32>, tensor<32x16xf32>) -> tensor<4x32xf32>
// CHECK: nag.token_loss
// CHECK: nag.token_loss_vjp
// CHECK: nag.linear {{.*}} {transpose_weight}
// CHECK: %[[W0:.*]] = nag.weight_grad
// CHECK: tensor.extract_slice %{{.*}}[4, 0] [4, 16] [1, 1]
// CHECK: %[[W1:.*]] = nag.weight_grad
// CHECK: nag.accumulate %[[W0]], %[[W1]]
// CHECK: tensor.concat dim(0)
// CHECK-NOT: nag.head_loss

// ONE-LABEL: func.func @vjp
// ONE-NOT: tensor.extract_slice
// ONE: nag.linear {{.*}} -> tensor<2x8x32xf32>
// ONE-NOT: tensor.concat
func.func @vjp(%x: tensor<2x8x16xf32>, %w: tensor<32x16xf32>, %t: tensor<2x8xi32>, %d: tensor<2x8xf32>)
    -> (tensor<2x8xf32>, tensor<2x8x16xf32>, tensor<32x16xf32>) {
  %losses, %dx, %dw = nag.head_loss_vjp %x, %w, %t, %d {vocab = 30}
      : (tensor<2x8x16xf32>, tensor<32x16xf32>, tensor<2x8xi32>, tensor<2x8xf32>)
      -> (tensor<2x8xf32>, tensor<2x8x16xf32>, tensor<32x16xf32>)
  return %losses, %dx, %dw : tensor<2x8xf32>, tensor<2x8x16xf32>, tensor<32x16xf32>
}
