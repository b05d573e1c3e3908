// RUN: nag-opt %s --split-input-file -canonicalize | FileCheck %s

// Sums that nobody reads go, with the rows that only they read; equal sums are
// one, whichever way round.
// CHECK-LABEL: func.func @dead_and_equal_sums
// CHECK-SAME: (%[[R:.*]]: tensor<2x8x16xf32>, %[[F:.*]]: tensor<2x8x16xf32>, %{{.*}}: tensor<2x8x16xf32>)
// CHECK-NEXT: %[[S:.*]]:2 = nag.row_gram %[[R]], %[[F]] [(0, 1), (1)]
// CHECK-NEXT: return %[[S]]#0, %[[S]]#0, %[[S]]#1
func.func @dead_and_equal_sums(%r: tensor<2x8x16xf32>, %f: tensor<2x8x16xf32>, %h: tensor<2x8x16xf32>)
    -> (tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>) {
  %0:5 = nag.row_gram %r, %f, %h [(0, 1), (1, 0), (1), (2, 2), (0, 2)]
      : (tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8x16xf32>)
      -> (tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>)
  return %0#0, %0#1, %0#2 : tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>
}

// -----

// A later gram over some of the same rows joins the first.
// CHECK-LABEL: func.func @shared
// CHECK: %[[S:.*]]:3 = nag.row_gram %arg0, %arg1 [(0, 1), (0, 0), (1)]
// CHECK-NOT: nag.row_gram
// CHECK: return %[[S]]#0, %[[S]]#1, %[[S]]#2
func.func @shared(%r: tensor<2x8x16xf32>, %f: tensor<2x8x16xf32>)
    -> (tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>) {
  %a = nag.row_gram %r, %f [(0, 1)] : (tensor<2x8x16xf32>, tensor<2x8x16xf32>) -> tensor<2x8xf32>
  %b = nag.row_gram %r [(0, 0)] : (tensor<2x8x16xf32>) -> tensor<2x8xf32>
  %c = nag.row_gram %f [(0)] : (tensor<2x8x16xf32>) -> tensor<2x8xf32>
  return %a, %b, %c : tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>
}

// -----

// It does not where that would read a row for longer.
// CHECK-LABEL: func.func @not_shared
// CHECK-COUNT-2: nag.row_gram
func.func @not_shared(%r: tensor<2x8x16xf32>, %f: tensor<2x8x16xf32>) -> (tensor<2x8xf32>, tensor<2x8xf32>) {
  %a = nag.row_gram %r [(0, 0)] : (tensor<2x8x16xf32>) -> tensor<2x8xf32>
  %b = nag.row_gram %r, %f [(0, 1)] : (tensor<2x8x16xf32>, tensor<2x8x16xf32>) -> tensor<2x8xf32>
  return %a, %b : tensor<2x8xf32>, tensor<2x8xf32>
}

// -----

// A combination of combinations is one.
// CHECK-LABEL: func.func @collapse
// CHECK-SAME: (%[[R:.*]]: tensor<2x8x16xf32>, %[[F:.*]]: tensor<2x8x16xf32>, %[[A:.*]]: tensor<2x8xf32>, %[[B:.*]]: tensor<2x8xf32>)
// CHECK: %[[C:.*]]:2 = nag.row_scalars %[[B]], %[[A]]
// CHECK: %[[Y:.*]] = nag.row_combine %[[R]], %[[F]] by %[[C]]#0, %[[C]]#1 :
// CHECK-NEXT: return %[[Y]]
func.func @collapse(%r: tensor<2x8x16xf32>, %f: tensor<2x8x16xf32>, %a: tensor<2x8xf32>, %b: tensor<2x8xf32>)
    -> tensor<2x8x16xf32> {
  %0 = nag.row_combine %r, %f by %a, %b
      : (tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8x16xf32>
  %1 = nag.row_combine %0, %r by %b, %a
      : (tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8x16xf32>
  return %1 : tensor<2x8x16xf32>
}

// -----

// One whose terms may cancel stays, for combinations and for sums.
// CHECK-LABEL: func.func @cancels
// CHECK: %[[U:.*]] = nag.row_combine {{.*}} {cancels}
// CHECK: nag.row_gram %[[U]] [(0, 0)]
// CHECK: nag.row_combine %[[U]] by
func.func @cancels(%r: tensor<2x8x16xf32>, %f: tensor<2x8x16xf32>, %a: tensor<2x8xf32>, %b: tensor<2x8xf32>)
    -> (tensor<2x8xf32>, tensor<2x8x16xf32>) {
  %0 = nag.row_combine %r, %f by %a, %b {cancels}
      : (tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8x16xf32>
  %1 = nag.row_gram %0 [(0, 0)] : (tensor<2x8x16xf32>) -> tensor<2x8xf32>
  %2 = nag.row_combine %0 by %b : (tensor<2x8x16xf32>, tensor<2x8xf32>) -> tensor<2x8x16xf32>
  return %1, %2 : tensor<2x8xf32>, tensor<2x8x16xf32>
}

// -----

// The sums of a combination are sums of its rows; <1, 1> is the width.
// CHECK-LABEL: func.func @gram_of_combine
// CHECK: %[[S:.*]]:2 = nag.row_gram %arg0 [(0, 0), (0)]
// CHECK: %[[T:.*]] = nag.row_scalars %[[S]]#0, %[[S]]#1, %arg1, %arg2
// CHECK: arith.constant 1.600000e+01
// CHECK: return %[[T]]
// CHECK-NOT: nag.row_combine
func.func @gram_of_combine(%r: tensor<2x8x16xf32>, %a: tensor<2x8xf32>, %c: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %0 = nag.row_combine %r by %a plus %c : (tensor<2x8x16xf32>, tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8x16xf32>
  %1 = nag.row_gram %0 [(0, 0)] : (tensor<2x8x16xf32>) -> tensor<2x8xf32>
  return %1 : tensor<2x8xf32>
}

// -----

// Scalars that nobody reads go, with the operands that only they need.
// CHECK-LABEL: func.func @dead_scalars
// CHECK: nag.row_scalars %arg1 : (tensor<8xf32>) -> tensor<8xf32>
// CHECK-NOT: arith.addf
func.func @dead_scalars(%a: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<8xf32> {
  %0:2 = nag.row_scalars %a, %b : (tensor<8xf32>, tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
  ^bb0(%x: f32, %y: f32):
    %s = arith.addf %x, %y : f32
    %p = arith.mulf %y, %y : f32
    nag.yield %s, %p : f32, f32
  }
  return %0#1 : tensor<8xf32>
}
