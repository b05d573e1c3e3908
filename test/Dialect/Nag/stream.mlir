// RUN: nag-opt %s --verify-roundtrip | FileCheck %s

// CHECK-LABEL: func.func @rotate
// CHECK: nag.rotate %{{.*}}, %{{.*}}, %{{.*}} : (!nag.stream<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>) -> !nag.stream<2x8x16xf32>
func.func @rotate(%x: !nag.stream<2x8x16xf32>, %f: tensor<2x8x16xf32>, %g: tensor<2x8xf32>) -> !nag.stream<2x8x16xf32> {
  %y = nag.rotate %x, %f, %g : (!nag.stream<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>) -> !nag.stream<2x8x16xf32>
  return %y : !nag.stream<2x8x16xf32>
}

// CHECK-LABEL: func.func @block
// CHECK: nag.block %{{.*}} gate(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} scale %{{.*}}) : !nag.stream
func.func @block(%x: !nag.stream<2x8x16xf32>, %w: tensor<4x16xf32>, %b: tensor<4xf32>, %p: tensor<4xf32>,
    %beta: tensor<f32>, %alpha: tensor<f32>, %scale: tensor<f32>, %proj: tensor<16x16xf32>) -> !nag.stream<2x8x16xf32> {
  %y, %g = nag.block %x gate(%w, %b, %p, %beta, %alpha scale %scale)
      : !nag.stream<2x8x16xf32>, tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>, tensor<f32> {
  ^bb0(%r: tensor<2x8x16xf32>):
    %f = nag.linear %r, %proj : (tensor<2x8x16xf32>, tensor<16x16xf32>) -> tensor<2x8x16xf32>
    nag.yield %f : tensor<2x8x16xf32>
  }
  return %y : !nag.stream<2x8x16xf32>
}
