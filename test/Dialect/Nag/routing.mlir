// RUN: nag-opt %s --verify-roundtrip | FileCheck %s

// CHECK-LABEL: func.func @block
// CHECK: %{{.*}}, %{{.*}}, %{{.*}} = nag.block %{{.*}} gate(%{{.*}}) route(%{{.*}}) attributes {routing = #nag.routing<rate, rate = {{.*}}, kv = routed>}
func.func @block(%x: !nag.stream<2x8x16xf32>, %w: tensor<4x16xf32>, %b: tensor<4xf32>, %beta: tensor<f32>,
    %tau: tensor<f32>) -> (!nag.stream<2x8x16xf32>, tensor<3xi32>) {
  %y, %g, %n = nag.block %x gate(%w, %b, %b, %beta, %beta scale %beta) route(%tau)
      attributes {routing = #nag.routing<rate, rate = 0.25, kv = routed>}
      : !nag.stream<2x8x16xf32>, tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>, tensor<f32>,
        tensor<f32> {
  ^bb0(%r: tensor<2x8x16xf32>, %rows: tensor<16x16xf32>, %indices: tensor<16xi32>, %offsets: tensor<3xi32>):
    nag.yield %rows : tensor<16x16xf32>
  }
  return %y, %n : !nag.stream<2x8x16xf32>, tensor<3xi32>
}

// A rate of 0.7 of 10 tokens leaves 3, though 0.7 is no binary fraction.
// CHECK-LABEL: func.func @route
// CHECK: nag.route %{{.*}} {routing = #nag.routing<capacity, rate = 0.6999{{.*}}>} : (tensor<2x10xf32>) -> (tensor<6xi32>, tensor<3xi32>)
// CHECK: nag.route %{{.*}} dial %{{.*}} {routing = #nag.routing<capacity>} : (tensor<2x10xf32>, tensor<f32>) -> (tensor<20xi32>, tensor<3xi32>)
func.func @route(%g: tensor<2x10xf32>, %rate: tensor<f32>) -> (tensor<6xi32>, tensor<20xi32>) {
  %i, %o = nag.route %g {routing = #nag.routing<capacity, rate = 0.7>} : (tensor<2x10xf32>) -> (tensor<6xi32>, tensor<3xi32>)
  %j, %p = nag.route %g dial %rate {routing = #nag.routing<capacity>}
      : (tensor<2x10xf32>, tensor<f32>) -> (tensor<20xi32>, tensor<3xi32>)
  return %i, %j : tensor<6xi32>, tensor<20xi32>
}
