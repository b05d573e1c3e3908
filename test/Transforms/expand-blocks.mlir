// RUN: nag-opt %s --nag-expand-blocks --verify-roundtrip | FileCheck %s

// CHECK-LABEL: func.func @block
// CHECK-SAME: (%[[X:.*]]: !nag.stream<2x8x16xf32>, %[[W:.*]]: tensor<4x16xf32>, %[[B:.*]]: tensor<4xf32>, %[[P:.*]]: tensor<4xf32>, %[[BETA:.*]]: tensor<f32>, %[[ALPHA:.*]]: tensor<f32>, %[[S:.*]]: tensor<f32>, %[[PROJ:.*]]: tensor<16x16xf32>)
// CHECK-NEXT: %[[R:.*]] = nag.direction %[[X]]
// CHECK-NEXT: %[[G:.*]] = nag.modulate %[[R]] gate(%[[W]], %[[B]], %[[P]], %[[BETA]], %[[ALPHA]]) scale %[[S]]
// CHECK-NEXT: %[[F:.*]] = nag.linear %[[R]], %[[PROJ]]
// CHECK-NEXT: %[[Y:.*]] = nag.rotate %[[X]], %[[F]], %[[G]] :
// CHECK-NEXT: return %[[Y]], %[[G]]
func.func @block(%x: !nag.stream<2x8x16xf32>, %w: tensor<4x16xf32>, %b: tensor<4xf32>, %p: tensor<4xf32>,
    %beta: tensor<f32>, %alpha: tensor<f32>, %scale: tensor<f32>, %proj: tensor<16x16xf32>)
    -> (!nag.stream<2x8x16xf32>, tensor<2x8xf32>) {
  %y, %g = nag.block %x gate(%w, %b, %p, %beta, %alpha scale %scale)
      : !nag.stream<2x8x16xf32>, tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>, tensor<f32> {
  ^bb0(%r: tensor<2x8x16xf32>):
    %f = nag.linear %r, %proj : (tensor<2x8x16xf32>, tensor<16x16xf32>) -> tensor<2x8x16xf32>
    nag.yield %f : tensor<2x8x16xf32>
  }
  return %y, %g : !nag.stream<2x8x16xf32>, tensor<2x8xf32>
}

// The branch may be the direction itself; the block's eps becomes the rotation's.
// CHECK-LABEL: func.func @identity
// CHECK: %[[R:.*]] = nag.direction
// CHECK-NEXT: %[[G:.*]] = nag.modulate %[[R]] gate({{.*}}) :
// CHECK-NEXT: nag.rotate %{{.*}}, %[[R]], %[[G]] {eps = 0.000000e+00 : f64}
func.func @identity(%x: !nag.stream<2x8x16xf64>, %w: tensor<4x16xf64>, %b: tensor<4xf64>, %p: tensor<4xf64>,
    %beta: tensor<f64>, %alpha: tensor<f64>) -> !nag.stream<2x8x16xf64> {
  %y, %g = nag.block %x gate(%w, %b, %p, %beta, %alpha) attributes {eps = 0.0 : f64}
      : !nag.stream<2x8x16xf64>, tensor<4x16xf64>, tensor<4xf64>, tensor<4xf64>, tensor<f64>, tensor<f64> {
  ^bb0(%r: tensor<2x8x16xf64>):
    nag.yield %r : tensor<2x8x16xf64>
  }
  return %y : !nag.stream<2x8x16xf64>
}

// The gates of all tokens choose, those of the executed rows turn; a capacity's offsets are known.
// CHECK-LABEL: func.func @routed
// CHECK-SAME: (%[[X:[^:]*]]: !nag.stream<2x8x16xf32>, %[[W:[^:]*]]: tensor<4x16xf32>
// CHECK-DAG: %[[R:.*]] = nag.direction %[[X]]
// CHECK-DAG: %[[S:.*]] = nag.log_norm %[[X]]
// CHECK: %[[G:.*]] = nag.modulate %[[R]]
// CHECK-NEXT: %[[I:.*]], %{{.*}} = nag.route %[[G]] {routing = #nag.routing<capacity, rate = {{.*}}>}
// CHECK-NEXT: %[[O:.*]] = arith.constant dense<[0, 6, 12]> : tensor<3xi32>
// CHECK-NEXT: %[[ROWS:.*]], %[[REST:.*]] = nag.take %[[R]], %[[I]], %[[O]]
// CHECK-NEXT: %[[LANES:.*]], %[[OTHERS:.*]] = nag.take %[[S]], %[[I]], %[[O]]
// CHECK-NEXT: %[[F:.*]] = nag.relu2 %[[ROWS]]
// CHECK-NEXT: %[[T:.*]] = nag.make_stream %[[ROWS]], %[[LANES]]
// CHECK-NEXT: %[[GT:.*]] = nag.modulate %[[ROWS]]
// CHECK-NEXT: %[[Y:.*]] = nag.rotate %[[T]], %[[F]], %[[GT]]
// CHECK-DAG: %[[YR:.*]] = nag.direction %[[Y]]
// CHECK-DAG: %[[YS:.*]] = nag.log_norm %[[Y]]
// CHECK-DAG: %[[R1:.*]] = nag.put %[[YR]], %[[REST]], %[[I]], %[[O]]
// CHECK-DAG: %[[S1:.*]] = nag.put %[[YS]], %[[OTHERS]], %[[I]], %[[O]]
// CHECK: %[[Z:.*]] = nag.make_stream %[[R1]], %[[S1]]
// CHECK-NEXT: return %[[Z]], %[[G]], %[[O]]
func.func @routed(%x: !nag.stream<2x8x16xf32>, %w: tensor<4x16xf32>, %b: tensor<4xf32>, %beta: tensor<f32>)
    -> (!nag.stream<2x8x16xf32>, tensor<2x8xf32>, tensor<3xi32>) {
  %y, %g, %n = nag.block %x gate(%w, %b, %b, %beta, %beta) attributes {routing = #nag.routing<capacity, rate = 0.25>}
      : !nag.stream<2x8x16xf32>, tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32> {
  ^bb0(%r: tensor<2x8x16xf32>, %rows: tensor<12x16xf32>, %indices: tensor<12xi32>, %offsets: tensor<3xi32>):
    %f = nag.relu2 %rows : (tensor<12x16xf32>) -> tensor<12x16xf32>
    nag.yield %f : tensor<12x16xf32>
  }
  return %y, %g, %n : !nag.stream<2x8x16xf32>, tensor<2x8xf32>, tensor<3xi32>
}
