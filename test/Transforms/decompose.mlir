// RUN: nag-opt %s --nag-decompose --verify-roundtrip | FileCheck %s

// CHECK-LABEL: func.func @modulate
// CHECK-SAME: (%[[R:.*]]: tensor<2x8x16xbf16>, %[[W:.*]]: tensor<4x16xbf16>
// CHECK: %[[Z:.*]] = nag.linear %[[R]], %[[W]] : (tensor<2x8x16xbf16>, tensor<4x16xbf16>) -> tensor<2x8x4xbf16>
// CHECK: nag.gate %[[Z]], %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} scale %{{.*}} :
// CHECK-SAME: -> tensor<2x8xf32>
func.func @modulate(%r: tensor<2x8x16xbf16>, %w: tensor<4x16xbf16>, %b: tensor<4xbf16>, %p: tensor<4xbf16>,
    %beta: tensor<f32>, %alpha: tensor<f32>, %scale: tensor<f32>) -> tensor<2x8xf32> {
  %g = nag.modulate %r gate(%w, %b, %p, %beta, %alpha) scale %scale : (tensor<2x8x16xbf16>, tensor<4x16xbf16>,
      tensor<4xbf16>, tensor<4xbf16>, tensor<f32>, tensor<f32>, tensor<f32>) -> tensor<2x8xf32>
  return %g : tensor<2x8xf32>
}

// CHECK-LABEL: func.func @decode
// CHECK-SAME: (%[[X:.*]]: !nag.stream<2x8x16xf32>, %[[W:.*]]: tensor<32x16xf32>)
// CHECK-DAG: %[[R:.*]] = nag.direction %[[X]]
// CHECK-DAG: %[[S:.*]] = nag.log_norm %[[X]]
// CHECK: %[[P:.*]] = nag.linear %[[R]], %[[W]]
// CHECK: nag.temper %[[P]], %[[S]] {factor = 6.250000e-02 : f64}
func.func @decode(%x: !nag.stream<2x8x16xf32>, %w: tensor<32x16xf32>) -> tensor<2x8x32xf32> {
  %z = nag.decode %x, %w : (!nag.stream<2x8x16xf32>, tensor<32x16xf32>) -> tensor<2x8x32xf32>
  return %z : tensor<2x8x32xf32>
}

// CHECK-LABEL: func.func @cross_entropy
// CHECK: %[[L:.*]], %{{.*}} = nag.token_loss %{{.*}}, %[[T:.*]] {ignore_index = 7 : i32, vocab = 30 : i64}
// CHECK: nag.masked_mean %[[L]], %[[T]] {ignore_index = 7 : i32}
func.func @cross_entropy(%z: tensor<2x8x32xf32>, %t: tensor<2x8xi32>) -> tensor<f32> {
  %l = nag.cross_entropy %z, %t {vocab = 30, ignore_index = 7 : i32} : (tensor<2x8x32xf32>, tensor<2x8xi32>) -> tensor<f32>
  return %l : tensor<f32>
}

// A norm without gain stays as it is.
// CHECK-LABEL: func.func @rms_norm
// CHECK: %[[N:.*]] = nag.rms_norm %[[X:.*]] {factor = 1.200000e+00 : f64, groups = 4 : i64} : (tensor<2x8x64xf32>) ->
// CHECK: %[[Y:.*]] = nag.gain %[[N]], %{{.*}} : (tensor<2x8x64xf32>, tensor<16xf32>)
// CHECK: nag.rms_norm %[[Y]] : (tensor<2x8x64xf32>) ->
// CHECK-NOT: nag.gain
func.func @rms_norm(%x: tensor<2x8x64xf32>, %g: tensor<16xf32>) -> tensor<2x8x64xf32> {
  %y = nag.rms_norm %x gain %g {groups = 4, factor = 1.2} : (tensor<2x8x64xf32>, tensor<16xf32>) -> tensor<2x8x64xf32>
  %z = nag.rms_norm %y : (tensor<2x8x64xf32>) -> tensor<2x8x64xf32>
  return %z : tensor<2x8x64xf32>
}

// CHECK-LABEL: func.func @global_norm
// CHECK-SAME: (%[[A:.*]]: tensor<64x16xf32>, %[[B:.*]]: tensor<16xbf16>, %[[C:.*]]: tensor<f32>)
// CHECK: %[[SA:.*]] = nag.squared_norm %[[A]]
// CHECK: %[[SB:.*]] = nag.squared_norm %[[B]]
// CHECK: %[[AB:.*]] = arith.addf %[[SA]], %[[SB]] : tensor<f32>
// CHECK: %[[SC:.*]] = nag.squared_norm %[[C]]
// CHECK: %[[ABC:.*]] = arith.addf %[[AB]], %[[SC]] : tensor<f32>
// CHECK: math.sqrt %[[ABC]] : tensor<f32>
func.func @global_norm(%a: tensor<64x16xf32>, %b: tensor<16xbf16>, %c: tensor<f32>) -> tensor<f32> {
  %n = nag.global_norm %a, %b, %c : (tensor<64x16xf32>, tensor<16xbf16>, tensor<f32>) -> tensor<f32>
  return %n : tensor<f32>
}
