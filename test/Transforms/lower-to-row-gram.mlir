// RUN: nag-opt %s --nag-lower-to-row-gram | FileCheck %s
// RUN: nag-opt %s --nag-lower-to-row-gram=sums --canonicalize | FileCheck %s --check-prefix=SUMS

// Two passes: the sums of u, the branch without its part along r, are taken of
// u itself.
// CHECK-LABEL: func.func @rotate
// CHECK: nag.row_gram %arg0, %arg2 [(0), (0, 0), (1), (1, 0)]
// CHECK: %[[U:.*]] = nag.row_combine %arg2, %arg0 by {{.*}} plus {{.*}} {cancels}
// CHECK: nag.row_gram %[[U]], %arg0 [(0, 0), (0, 1)]
// CHECK: nag.row_combine %arg0, %[[U]] by
// CHECK-NOT: nag.rotate

// Sums only: all are of rows from memory, in one op.
// SUMS-LABEL: func.func @rotate
// SUMS: nag.row_gram %arg0, %arg2
// SUMS-NOT: nag.row_gram
func.func @rotate(%r: tensor<2x8x16xf32>, %s: tensor<2x8xf32>, %f: tensor<2x8x16xf32>, %g: tensor<2x8xf32>)
    -> (tensor<2x8x16xf32>, tensor<2x8xf32>) {
  %x = nag.make_stream %r, %s : !nag.stream<2x8x16xf32>
  %y = nag.rotate %x, %f, %g
      : (!nag.stream<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>) -> !nag.stream<2x8x16xf32>
  %a = nag.direction %y : !nag.stream<2x8x16xf32>
  %b = nag.log_norm %y : !nag.stream<2x8x16xf32>
  return %a, %b : tensor<2x8x16xf32>, tensor<2x8xf32>
}

// The baseline's add and norm is two combinations and one gram.
// CHECK-LABEL: func.func @add_norm
// CHECK: %[[Y:.*]] = nag.row_combine %arg0, %arg1 by {{.*}} {cancels}
// CHECK: nag.row_gram %[[Y]] [(0, 0)]
// CHECK: nag.row_combine %[[Y]] by
// SUMS-LABEL: func.func @add_norm
// SUMS: nag.row_gram %arg0, %arg1
// SUMS: nag.row_combine %arg0, %arg1
// SUMS-NOT: nag.row_combine
// SUMS: return
func.func @add_norm(%x: tensor<2x8x16xf32>, %f: tensor<2x8x16xf32>) -> tensor<2x8x16xf32> {
  %y = nag.residual_add %x, %f : (tensor<2x8x16xf32>, tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
  %z = nag.rms_norm %y : (tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
  return %z : tensor<2x8x16xf32>
}

// Norms over groups have one inner product per group: they stay.
// CHECK-LABEL: func.func @groups
// CHECK: nag.rms_norm
func.func @groups(%x: tensor<2x8x16xf32>) -> tensor<2x8x16xf32> {
  %y = nag.rms_norm %x {groups = 4} : (tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
  return %y : tensor<2x8x16xf32>
}

// The sums that a rotation and its VJP have in common are taken once.
// SUMS-LABEL: func.func @both
// SUMS: nag.row_gram %arg0, %arg2
// SUMS: nag.row_gram %arg4, %arg0, %arg2
// SUMS-NOT: nag.row_gram
// SUMS: return
func.func @both(%r: tensor<2x8x16xf32>, %s: tensor<2x8xf32>, %f: tensor<2x8x16xf32>, %g: tensor<2x8xf32>,
    %d: tensor<2x8x16xf32>) -> (tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8x16xf32>) {
  %dr, %df, %dg = nag.rotate_vjp %r, %f, %g, %d, %s
      : (tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>)
      -> (tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>)
  %x = nag.make_stream %r, %s : !nag.stream<2x8x16xf32>
  %y = nag.rotate %x, %f, %g
      : (!nag.stream<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>) -> !nag.stream<2x8x16xf32>
  %a = nag.direction %y : !nag.stream<2x8x16xf32>
  return %a, %dr, %df : tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8x16xf32>
}
