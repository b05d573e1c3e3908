// RUN: nag-opt %s --nag-fuse --nag-outline-kernels | FileCheck %s

// Two layers of one shape share a kernel; a third of another shape does not.
// CHECK-LABEL: func.func @layers
// CHECK: %[[A:.*]] = nag.launch @kernels::@linear_kernel(
// CHECK: %[[B:.*]] = nag.launch @kernels::@linear_kernel(%[[A]]
// CHECK: nag.launch @kernels::@linear_kernel_0(%[[B]]
// CHECK: module @kernels attributes {nag.kernels}
// CHECK: func.func @linear_kernel(%[[X:.*]]: tensor<8x16xf32> {bufferization.writable = false},
// CHECK-SAME: %[[W:.*]]: tensor<16x16xf32> {bufferization.writable = false}, %[[OUT:.*]]: tensor<8x16xf32>)
// CHECK-SAME: -> tensor<8x16xf32> attributes {nag.kernel}
// CHECK-NEXT: %[[Y:.*]] = nag.linear %[[X]], %[[W]]
// CHECK-NEXT: %[[R:.*]] = bufferization.materialize_in_destination %[[Y]] in %[[OUT]]
// CHECK-NEXT: return %[[R]]
// CHECK: func.func @linear_kernel_0(
// CHECK-NOT: func.func
func.func @layers(%x: tensor<8x16xf32>, %u: tensor<16x16xf32>, %v: tensor<16x16xf32>,
    %w: tensor<4x16xf32>) -> tensor<8x4xf32> {
  %a = nag.linear %x, %u : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
  %b = nag.linear %a, %v : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
  %c = nag.linear %b, %w : (tensor<8x16xf32>, tensor<4x16xf32>) -> tensor<8x4xf32>
  return %c : tensor<8x4xf32>
}

// The loss and its gradient in one kernel: the gradient may stand where the logits' products do, which others have read by then.
// CHECK: func.func @temper_token_loss_token_loss_vjp_temper_vjp_kernel(%{{.*}}: tensor<8x64xf32> {bufferization.writable = false},
// CHECK-SAME: %{{.*}}: tensor<8x64xf32> {nag.shares = 0 : i64}
func.func @loss(%z: tensor<8x64xf32>, %s: tensor<8xf32>, %t: tensor<8xi32>, %d: tensor<8xf32>) -> (tensor<8xf32>, tensor<8x64xf32>, tensor<8xf32>) {
  %x = nag.temper %z, %s : (tensor<8x64xf32>, tensor<8xf32>) -> tensor<8x64xf32>
  %losses, %lse = nag.token_loss %x, %t {vocab = 64} : (tensor<8x64xf32>, tensor<8xi32>) -> (tensor<8xf32>, tensor<8xf32>)
  %dx = nag.token_loss_vjp %x, %t, %lse, %d {vocab = 64} : (tensor<8x64xf32>, tensor<8xi32>, tensor<8xf32>, tensor<8xf32>) -> tensor<8x64xf32>
  %dz, %ds = nag.temper_vjp %z, %s, %dx : (tensor<8x64xf32>, tensor<8xf32>, tensor<8x64xf32>) -> (tensor<8x64xf32>, tensor<8xf32>)
  return %losses, %dz, %ds : tensor<8xf32>, tensor<8x64xf32>, tensor<8xf32>
}

// Not where another op makes rows of it, perhaps later.
// CHECK: func.func @relu2_temper_token_loss_vjp_kernel(
// CHECK-NOT: nag.shares = 0
// CHECK: return
func.func @otherwise(%z: tensor<8x48xf32>, %s: tensor<8xf32>, %t: tensor<8xi32>, %l: tensor<8xf32>, %d: tensor<8xf32>) -> (tensor<8x48xf32>, tensor<8x48xf32>) {
  %y = nag.relu2 %z : (tensor<8x48xf32>) -> tensor<8x48xf32>
  %x = nag.temper %z, %s : (tensor<8x48xf32>, tensor<8xf32>) -> tensor<8x48xf32>
  %dx = nag.token_loss_vjp %x, %t, %l, %d {vocab = 48} : (tensor<8x48xf32>, tensor<8xi32>, tensor<8xf32>, tensor<8xf32>) -> tensor<8x48xf32>
  return %y, %dx : tensor<8x48xf32>, tensor<8x48xf32>
}
