// RUN: nag-opt %s --nag-fuse-head | FileCheck %s
// RUN: nag-opt %s --nag-fuse-head --nag-differentiate=function=loss --nag-fuse-head --canonicalize | FileCheck %s --check-prefix=GRADIENTS

// CHECK-LABEL: func.func @loss
// CHECK-NOT: nag.linear
// CHECK: nag.head_loss %arg0, %arg1, %arg2, %arg3 {factor = 6.250000e-02 : f64, vocab = 30 : i64}
// CHECK: nag.masked_mean

// One op computes losses and cotangents: the count comes from the targets alone.
// GRADIENTS-LABEL: func.func @gradients
// GRADIENTS: %[[C:[0-9a-z]+]] = nag.target_count
// GRADIENTS: %[[D:[0-9a-z]+]] = nag.masked_mean_vjp %{{.*}}, %[[C]]
// GRADIENTS: %[[L:[a-z]+]], {{.*}} = nag.head_loss_vjp {{.*}}, %[[D]]
// GRADIENTS: nag.masked_mean %[[L]]
// GRADIENTS-NOT: nag.head_loss %
// GRADIENTS: return
func.func @loss(%x: tensor<2x8x16xf32>, %w: tensor<32x16xf32> {nag.param = #nag.param<"w", init = <zeros>, group = "g">},
    %t: tensor<2x8xi32>, %s: tensor<2x8xf32>) -> tensor<f32> {
  %0 = nag.linear %x, %w : (tensor<2x8x16xf32>, tensor<32x16xf32>) -> tensor<2x8x32xf32>
  %1 = nag.temper %0, %s {factor = 0.0625} : (tensor<2x8x32xf32>, tensor<2x8xf32>) -> tensor<2x8x32xf32>
  %losses, %lse = nag.token_loss %1, %t {vocab = 30}
      : (tensor<2x8x32xf32>, tensor<2x8xi32>) -> (tensor<2x8xf32>, tensor<2x8xf32>)
  %mean, %count = nag.masked_mean %losses, %t : (tensor<2x8xf32>, tensor<2x8xi32>) -> (tensor<f32>, tensor<f32>)
  return %mean : tensor<f32>
}

// The baseline has no temperature.
// CHECK-LABEL: func.func @plain
// CHECK: nag.head_loss %arg0, %arg1, %arg2 {vocab = 32 : i64}
func.func @plain(%x: tensor<2x8x16xf32>, %w: tensor<32x16xf32>, %t: tensor<2x8xi32>) -> tensor<2x8xf32> {
  %0 = nag.linear %x, %w : (tensor<2x8x16xf32>, tensor<32x16xf32>) -> tensor<2x8x32xf32>
  %losses, %lse = nag.token_loss %0, %t {vocab = 32}
      : (tensor<2x8x32xf32>, tensor<2x8xi32>) -> (tensor<2x8xf32>, tensor<2x8xf32>)
  return %losses : tensor<2x8xf32>
}

// Logits that somebody reads are kept.
// CHECK-LABEL: func.func @read
// CHECK: nag.token_loss
func.func @read(%x: tensor<2x8x16xf32>, %w: tensor<32x16xf32>, %t: tensor<2x8xi32>)
    -> (tensor<2x8xf32>, tensor<2x8x32xf32>) {
  %0 = nag.linear %x, %w : (tensor<2x8x16xf32>, tensor<32x16xf32>) -> tensor<2x8x32xf32>
  %losses, %lse = nag.token_loss %0, %t {vocab = 32}
      : (tensor<2x8x32xf32>, tensor<2x8xi32>) -> (tensor<2x8xf32>, tensor<2x8xf32>)
  return %losses, %0 : tensor<2x8xf32>, tensor<2x8x32xf32>
}
