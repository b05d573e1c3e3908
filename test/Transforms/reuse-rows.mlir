// RUN: nag-opt %s --nag-reuse-rows --canonicalize | FileCheck %s

// The gate of all tokens selects; that of those executed is the same.
// CHECK-LABEL: func.func @gate
// CHECK-NEXT: %[[Z:.*]] = nag.linear %arg0, %arg1
// CHECK-NEXT: %[[G:.*]] = nag.gate %[[Z]]
// CHECK-NEXT: %[[H:.*]], %{{.*}} = nag.take %[[Z]], %arg6, %arg7
// CHECK-NEXT: %[[E:.*]], %{{.*}} = nag.take %[[G]], %arg6, %arg7
// CHECK-NEXT: return %[[G]], %[[H]], %[[E]]
func.func @gate(%x: tensor<2x8x16xf32>, %w: tensor<4x16xf32>, %b: tensor<4xf32>, %p: tensor<4xf32>, %beta: tensor<f32>,
                %alpha: tensor<f32>, %i: tensor<8xi32>, %o: tensor<3xi32>) -> (tensor<2x8xf32>, tensor<8x4xf32>, tensor<8xf32>) {
  %z = nag.linear %x, %w : (tensor<2x8x16xf32>, tensor<4x16xf32>) -> tensor<2x8x4xf32>
  %g = nag.gate %z, %b, %p, %beta, %alpha : (tensor<2x8x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>) -> tensor<2x8xf32>
  %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<8xi32>, tensor<3xi32>) -> (tensor<8x16xf32>, tensor<2x8x16xf32>)
  %h = nag.linear %r, %w : (tensor<8x16xf32>, tensor<4x16xf32>) -> tensor<8x4xf32>
  %e = nag.gate %h, %b, %p, %beta, %alpha : (tensor<8x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>) -> tensor<8xf32>
  return %g, %h, %e : tensor<2x8xf32>, tensor<8x4xf32>, tensor<8xf32>
}

// Another weight, another attribute, what comes later, and sums over the rows are computed.
// CHECK-LABEL: func.func @others
// CHECK-COUNT-4: nag.linear
// CHECK: nag.weight_grad
// CHECK: nag.linear
func.func @others(%x: tensor<2x8x16xf32>, %w: tensor<16x16xf32>, %v: tensor<16x16xf32>, %i: tensor<8xi32>, %o: tensor<3xi32>)
    -> (tensor<2x8x16xf32>, tensor<8x16xf32>, tensor<8x16xf32>, tensor<8x16xf32>, tensor<16x16xf32>, tensor<2x8x16xf32>) {
  %z = nag.linear %x, %w : (tensor<2x8x16xf32>, tensor<16x16xf32>) -> tensor<2x8x16xf32>
  %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<8xi32>, tensor<3xi32>) -> (tensor<8x16xf32>, tensor<2x8x16xf32>)
  %a = nag.linear %r, %v : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
  %b = nag.linear %r, %w {transpose_weight} : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
  %c = nag.linear %a, %w : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
  %d = nag.weight_grad %a, %r : (tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<16x16xf32>
  %later = nag.linear %x, %v : (tensor<2x8x16xf32>, tensor<16x16xf32>) -> tensor<2x8x16xf32>
  return %z, %a, %b, %c, %d, %later : tensor<2x8x16xf32>, tensor<8x16xf32>, tensor<8x16xf32>, tensor<8x16xf32>, tensor<16x16xf32>, tensor<2x8x16xf32>
}

// Rows that are put over a stream are rounded alone: the others' rounding is there.
// CHECK-LABEL: func.func @rounded
// CHECK-NEXT: %[[X:.*]] = arith.truncf %arg0
// CHECK-NEXT: %{{.*}}, %[[REST:.*]] = nag.take %arg0
// CHECK-NEXT: %[[Y:.*]] = nag.put %arg1, %[[REST]]
// CHECK-NEXT: %{{.*}}, %[[ROUNDED:.*]] = nag.take %[[X]], %arg2, %arg3
// CHECK-NEXT: %[[A:.*]] = arith.truncf %arg1 : tensor<8x16xf32> to tensor<8x16xbf16>
// CHECK-NEXT: %[[Z:.*]] = nag.put %[[A]], %[[ROUNDED]], %arg2, %arg3
// CHECK-NEXT: return %[[X]], %[[Y]], %[[Z]]
func.func @rounded(%x: tensor<2x8x16xf32>, %a: tensor<8x16xf32>, %i: tensor<8xi32>, %o: tensor<3xi32>)
    -> (tensor<2x8x16xbf16>, tensor<2x8x16xf32>, tensor<2x8x16xbf16>) {
  %b = arith.truncf %x : tensor<2x8x16xf32> to tensor<2x8x16xbf16>
  %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<8xi32>, tensor<3xi32>) -> (tensor<8x16xf32>, tensor<2x8x16xf32>)
  %y = nag.put %a, %rest, %i, %o : (tensor<8x16xf32>, tensor<2x8x16xf32>, tensor<8xi32>, tensor<3xi32>) -> tensor<2x8x16xf32>
  %z = arith.truncf %y : tensor<2x8x16xf32> to tensor<2x8x16xbf16>
  return %b, %y, %z : tensor<2x8x16xbf16>, tensor<2x8x16xf32>, tensor<2x8x16xbf16>
}

// Nothing has rounded the others.
// CHECK-LABEL: func.func @all_rounded
// CHECK: %[[Y:.*]] = nag.put
// CHECK-NEXT: arith.truncf %[[Y]]
func.func @all_rounded(%x: tensor<2x8x16xf32>, %a: tensor<8x16xf32>, %i: tensor<8xi32>, %o: tensor<3xi32>) -> tensor<2x8x16xbf16> {
  %y = nag.put %a, %x, %i, %o : (tensor<8x16xf32>, tensor<2x8x16xf32>, tensor<8xi32>, tensor<3xi32>) -> tensor<2x8x16xf32>
  %z = arith.truncf %y : tensor<2x8x16xf32> to tensor<2x8x16xbf16>
  return %z : tensor<2x8x16xbf16>
}
