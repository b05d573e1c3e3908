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
