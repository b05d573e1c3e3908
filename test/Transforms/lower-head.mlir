// RUN: nag-opt %s --nag-lower-head=bytes=512 | FileCheck %s
// RUN: nag-opt %s --nag-lower-head | FileCheck %s --check-prefix=ONE
// RUN: nag-opt %s --nag-lower-head="bytes=512 remarks" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK
// RUN: nag-opt %s --nag-lower-head="bytes=768 remarks" 2>&1 | FileCheck %s --check-prefix=SHORTER
// RUN: not nag-opt %s --nag-lower-head=bytes=0 2>&1 | FileCheck %s --check-prefix=ERROR

// REMARK: remark: 4 chunks of 4 rows, 512 bytes of logits in memory instead of 2048
// ERROR: expected 'bytes' and 'max-chunks' of 1 or more, but got 0 and 32

// No divisor of 16 is near 6: the last chunk is shorter.
// SHORTER: remark: 3 chunks of 6 rows, 768 bytes of logits in memory instead of 2048
// SHORTER-LABEL: func.func @vjp
// SHORTER: tensor.extract_slice %{{.*}}[6, 0] [6, 16] [1, 1]
// SHORTER: tensor.extract_slice %{{.*}}[12, 0] [4, 16] [1, 1]
// SHORTER: tensor.concat dim(0) {{.*}} : (tensor<6x16xf32>, tensor<6x16xf32>, tensor<4x16xf32>) -> tensor<16x16xf32>

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

// Each chunk rounds its rows, and widens its results.
// CHECK-LABEL: func.func @rounded
// CHECK: %[[ROWS:.*]] = tensor.extract_slice %{{.*}}[0, 0] [8, 16] [1, 1] : tensor<16x16xf32>
// CHECK: %[[ROUNDED:.*]] = arith.truncf %[[ROWS]] : tensor<8x16xf32> to tensor<8x16xbf16>
// CHECK: nag.linear %[[ROUNDED]], %{{.*}} -> tensor<8x32xbf16>
// CHECK: %[[DX:.*]] = nag.linear {{.*}} {transpose_weight}
// CHECK-NEXT: %[[WIDE:.*]] = arith.extf %[[DX]] : tensor<8x16xbf16> to tensor<8x16xf32>
// CHECK: tensor.concat dim(0) %[[WIDE]], %{{.*}} : (tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<16x16xf32>
func.func @rounded(%x: tensor<2x8x16xf32>, %w: tensor<32x16xbf16>, %t: tensor<2x8xi32>, %d: tensor<2x8xf32>)
    -> (tensor<2x8xf32>, tensor<2x8x16xf32>, tensor<32x16xf32>) {
  %r = arith.truncf %x : tensor<2x8x16xf32> to tensor<2x8x16xbf16>
  %losses, %dx, %dw = nag.head_loss_vjp %r, %w, %t, %d {vocab = 30}
      : (tensor<2x8x16xbf16>, tensor<32x16xbf16>, tensor<2x8xi32>, tensor<2x8xf32>)
      -> (tensor<2x8xf32>, tensor<2x8x16xbf16>, tensor<32x16xf32>)
  %wide = arith.extf %dx : tensor<2x8x16xbf16> to tensor<2x8x16xf32>
  return %losses, %wide, %dw : tensor<2x8xf32>, tensor<2x8x16xf32>, tensor<32x16xf32>
}

// A token's weight in the loss is a number: each chunk makes those of its rows.
// CHECK-LABEL: func.func @weighted
// CHECK: %[[D:.*]] = nag.masked_mean_vjp %{{.*}} : (tensor<4xi32>, tensor<f32>, tensor<f32>) -> tensor<4xf32>
// CHECK: nag.token_loss_vjp {{.*}}, %[[D]]
// ONE-LABEL: func.func @weighted
// ONE: nag.masked_mean_vjp {{.*}} -> tensor<2x8xf32>
// ONE-NOT: nag.masked_mean_vjp
func.func @weighted(%x: tensor<2x8x16xf32>, %w: tensor<32x16xf32>, %t: tensor<2x8xi32>, %n: tensor<f32>, %s: tensor<f32>)
    -> (tensor<2x8xf32>, tensor<2x8x16xf32>, tensor<32x16xf32>) {
  %d = nag.masked_mean_vjp %t, %n, %s : (tensor<2x8xi32>, tensor<f32>, tensor<f32>) -> tensor<2x8xf32>
  %losses, %dx, %dw = nag.head_loss_vjp %x, %w, %t, %d {vocab = 30}
      : (tensor<2x8x16xf32>, tensor<32x16xf32>, tensor<2x8xi32>, tensor<2x8xf32>)
      -> (tensor<2x8xf32>, tensor<2x8x16xf32>, tensor<32x16xf32>)
  return %losses, %dx, %dw : tensor<2x8xf32>, tensor<2x8x16xf32>, tensor<32x16xf32>
}
