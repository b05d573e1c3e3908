// RUN: nag-opt %s -canonicalize | FileCheck %s

// CHECK-LABEL: func.func @stream_of_its_parts
// CHECK-SAME: (%[[X:.*]]: !nag.stream<2x8xf32>)
// CHECK-NEXT: return %[[X]]
func.func @stream_of_its_parts(%x: !nag.stream<2x8xf32>) -> !nag.stream<2x8xf32> {
  %r = nag.direction %x : !nag.stream<2x8xf32>
  %s = nag.log_norm %x : !nag.stream<2x8xf32>
  %y = nag.make_stream %r, %s : !nag.stream<2x8xf32>
  return %y : !nag.stream<2x8xf32>
}

// CHECK-LABEL: func.func @parts_of_a_pair
// CHECK-SAME: (%[[R:.*]]: tensor<2x8xf32>, %[[S:.*]]: tensor<2xf32>)
// CHECK-NEXT: return %[[R]], %[[S]]
func.func @parts_of_a_pair(%r: tensor<2x8xf32>, %s: tensor<2xf32>) -> (tensor<2x8xf32>, tensor<2xf32>) {
  %x = nag.make_stream %r, %s : !nag.stream<2x8xf32>
  %a = nag.direction %x : !nag.stream<2x8xf32>
  %b = nag.log_norm %x : !nag.stream<2x8xf32>
  return %a, %b : tensor<2x8xf32>, tensor<2xf32>
}

// Parts of different streams do not fold.
// CHECK-LABEL: func.func @parts_of_two_streams
// CHECK: nag.make_stream
func.func @parts_of_two_streams(%x: !nag.stream<2x8xf32>, %y: !nag.stream<2x8xf32>) -> !nag.stream<2x8xf32> {
  %r = nag.direction %x : !nag.stream<2x8xf32>
  %s = nag.log_norm %y : !nag.stream<2x8xf32>
  %z = nag.make_stream %r, %s : !nag.stream<2x8xf32>
  return %z : !nag.stream<2x8xf32>
}

// CHECK-LABEL: func.func @no_constraint
// CHECK-SAME: (%[[W:.*]]: tensor<4x8xf32>)
// CHECK-NEXT: return %[[W]]
func.func @no_constraint(%w: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %v = nag.constrain %w none : (tensor<4x8xf32>) -> tensor<4x8xf32>
  return %v : tensor<4x8xf32>
}

// CHECK-LABEL: func.func @opposite_rotations
// CHECK-SAME: (%[[X:[a-z0-9]*]]: tensor<2x8x16xf32>
// CHECK-NEXT: return %[[X]]
func.func @opposite_rotations(%x: tensor<2x8x16xf32>, %c: tensor<8x4xf32>, %s: tensor<8x4xf32>) -> tensor<2x8x16xf32> {
  %y = nag.rotary %x, %c, %s {heads = 2} : (tensor<2x8x16xf32>, tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<2x8x16xf32>
  %z = nag.rotary %y, %c, %s {heads = 2, inverse} : (tensor<2x8x16xf32>, tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<2x8x16xf32>
  return %z : tensor<2x8x16xf32>
}

// Two rotations by the same angle stay.
// CHECK-LABEL: func.func @equal_rotations
// CHECK-COUNT-2: nag.rotary
func.func @equal_rotations(%x: tensor<2x8x16xf32>, %c: tensor<8x4xf32>, %s: tensor<8x4xf32>) -> tensor<2x8x16xf32> {
  %y = nag.rotary %x, %c, %s {heads = 2} : (tensor<2x8x16xf32>, tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<2x8x16xf32>
  %z = nag.rotary %y, %c, %s {heads = 2} : (tensor<2x8x16xf32>, tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<2x8x16xf32>
  return %z : tensor<2x8x16xf32>
}

// Rows that were taken and are put back unchanged are what they were.
// CHECK-LABEL: func.func @take_and_put
// CHECK-SAME: (%[[X:[^:]*]]: tensor<2x8xf32>
// CHECK-NEXT: return %[[X]]
func.func @take_and_put(%x: tensor<2x8xf32>, %i: tensor<12xi32>, %o: tensor<3xi32>) -> tensor<2x8xf32> {
  %r, %rest = nag.take %x, %i, %o : (tensor<2x8xf32>, tensor<12xi32>, tensor<3xi32>) -> (tensor<12xf32>, tensor<2x8xf32>)
  %y = nag.put %r, %rest, %i, %o : (tensor<12xf32>, tensor<2x8xf32>, tensor<12xi32>, tensor<3xi32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// CHECK-LABEL: func.func @put_over
// CHECK-SAME: (%[[A:[^:]*]]: tensor<4xf32>, %[[B:[^:]*]]: tensor<4xf32>, %[[X:[^:]*]]: tensor<2x8xf32>
// CHECK-NEXT: %[[Y:.*]] = nag.put %[[A]], %[[X]]
// CHECK-NEXT: return %[[Y]]
func.func @put_over(%a: tensor<4xf32>, %b: tensor<4xf32>, %x: tensor<2x8xf32>, %i: tensor<4xi32>, %o: tensor<3xi32>)
    -> tensor<2x8xf32> {
  %y = nag.put %b, %x, %i, %o : (tensor<4xf32>, tensor<2x8xf32>, tensor<4xi32>, tensor<3xi32>) -> tensor<2x8xf32>
  %z = nag.put %a, %y, %i, %o : (tensor<4xf32>, tensor<2x8xf32>, tensor<4xi32>, tensor<3xi32>) -> tensor<2x8xf32>
  return %z : tensor<2x8xf32>
}

// A rate of 0 executes every token: the block is a dense one, and so are the ops of its body.
// CHECK-LABEL: func.func @rate_zero
// CHECK-SAME: %[[PROJ:[^:]*]]: tensor<16x16xf32>
// CHECK: %[[N:.*]] = arith.constant dense<[0, 4, 8]> : tensor<3xi32>
// CHECK: nag.block %{{.*}} gate({{[^)]*}}) : !nag.stream
// CHECK-NEXT: ^bb0(%[[R:.*]]: tensor<2x4x16xf32>):
// CHECK-NEXT: %[[Q:.*]] = nag.linear %[[R]], %[[PROJ]] : (tensor<2x4x16xf32>, tensor<16x16xf32>) -> tensor<2x4x16xf32>
// CHECK-NEXT: nag.rotary %[[Q]], %{{.*}} {heads = 2 : i64} : (tensor<2x4x16xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<2x4x16xf32>
// CHECK-NEXT: nag.attention %{{.*}} {heads = 2 : i64, kv_heads = 2 : i64} : (tensor<2x4x16xf32>, tensor<2x4x16xf32>, tensor<2x4x16xf32>)
// CHECK: return %{{.*}}, %[[N]]
func.func @rate_zero(%x: !nag.stream<2x4x16xf32>, %w: tensor<4x16xf32>, %b: tensor<4xf32>, %beta: tensor<f32>,
    %proj: tensor<16x16xf32>, %cos: tensor<4x4xf32>) -> (!nag.stream<2x4x16xf32>, tensor<3xi32>) {
  %y, %g, %n = nag.block %x gate(%w, %b, %b, %beta, %beta) attributes {routing = #nag.routing<capacity, rate = 0.0>}
      : !nag.stream<2x4x16xf32>, tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32> {
  ^bb0(%all: tensor<2x4x16xf32>, %rows: tensor<8x16xf32>, %indices: tensor<8xi32>, %offsets: tensor<3xi32>):
    %q = nag.linear %rows, %proj : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
    %p = nag.rotary %q, %cos, %cos, %indices {heads = 2}
        : (tensor<8x16xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<8xi32>) -> tensor<8x16xf32>
    %o, %lse = nag.attention %p, %all, %all, %indices, %offsets {heads = 2, kv_heads = 2}
        : (tensor<8x16xf32>, tensor<2x4x16xf32>, tensor<2x4x16xf32>, tensor<8xi32>, tensor<3xi32>)
        -> (tensor<8x16xf32>, tensor<2x8xf32>)
    nag.yield %o : tensor<8x16xf32>
  }
  return %y, %n : !nag.stream<2x4x16xf32>, tensor<3xi32>
}
