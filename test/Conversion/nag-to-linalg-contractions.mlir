// RUN: nag-opt %s --convert-nag-to-linalg --split-input-file | FileCheck %s

// CHECK-DAG: #[[X:.*]] = affine_map<(d0, d1, d2) -> (d0, d2)>
// CHECK-DAG: #[[W:.*]] = affine_map<(d0, d1, d2) -> (d1, d2)>
// CHECK-DAG: #[[Y:.*]] = affine_map<(d0, d1, d2) -> (d0, d1)>
// CHECK-LABEL: func.func @linear(
// CHECK: %[[ROWS:.*]] = tensor.collapse_shape {{.*}} : tensor<2x8x16xf32> into tensor<16x16xf32>
// CHECK: %[[ZERO:.*]] = linalg.fill {{.*}} -> tensor<16x64xf32>
// CHECK: linalg.generic {indexing_maps = [#[[X]], #[[W]], #[[Y]]]
// CHECK-SAME: ins(%[[ROWS]], %{{.*}}) outs(%[[ZERO]] : tensor<16x64xf32>)
// CHECK: tensor.expand_shape
func.func @linear(%x: tensor<2x8x16xf32>, %w: tensor<64x16xf32>) -> tensor<2x8x64xf32> {
  %y = nag.linear %x, %w : (tensor<2x8x16xf32>, tensor<64x16xf32>) -> tensor<2x8x64xf32>
  return %y : tensor<2x8x64xf32>
}

// -----

// CHECK: #[[W:.*]] = affine_map<(d0, d1, d2) -> (d2, d1)>
// CHECK-LABEL: func.func @transposed(
// CHECK: linalg.generic {indexing_maps = [#{{.*}}, #[[W]], #{{.*}}]
func.func @transposed(%dy: tensor<2x8x64xf32>, %w: tensor<64x16xf32>) -> tensor<2x8x16xf32> {
  %dx = nag.linear %dy, %w {transpose_weight} : (tensor<2x8x64xf32>, tensor<64x16xf32>) -> tensor<2x8x16xf32>
  return %dx : tensor<2x8x16xf32>
}

// -----

// CHECK-DAG: #[[DY:.*]] = affine_map<(d0, d1, d2) -> (d2, d0)>
// CHECK-DAG: #[[X:.*]] = affine_map<(d0, d1, d2) -> (d2, d1)>
// CHECK-LABEL: func.func @weight_grad(
// CHECK-SAME: %[[OUT:[a-z0-9]*]]: tensor<64x16xf32>)
// CHECK: %[[ZERO:.*]] = linalg.fill ins(%{{.*}} : f32) outs(%[[OUT]] : tensor<64x16xf32>)
// CHECK: linalg.generic {indexing_maps = [#[[DY]], #[[X]], #{{.*}}]
func.func @weight_grad(%dy: tensor<2x8x64xf32>, %x: tensor<2x8x16xf32>, %out: tensor<64x16xf32>) -> tensor<64x16xf32> {
  %dw = nag.weight_grad %dy, %x : (tensor<2x8x64xf32>, tensor<2x8x16xf32>) -> tensor<64x16xf32>
  %r = bufferization.materialize_in_destination %dw in %out : (tensor<64x16xf32>, tensor<64x16xf32>) -> tensor<64x16xf32>
  return %r : tensor<64x16xf32>
}

// -----

// A block of 64 columns per iteration: each clears its columns and adds rows in the order of the tokens.
// CHECK-LABEL: func.func @embedding_vjp(
// CHECK: scf.forall (%[[COLUMN:.*]]) = (0) to (128) step (64) shared_outs(%[[TABLE:.*]] = %{{.*}})
// CHECK: %[[BLOCK:.*]] = tensor.extract_slice %[[TABLE]][0, %[[COLUMN]]] [32, 64]
// CHECK: %[[ZERO:.*]] = linalg.fill {{.*}} outs(%[[BLOCK]]
// CHECK: %[[SUMS:.*]] = scf.for {{.*}} iter_args(%[[SUM:.*]] = %[[ZERO]])
// CHECK: tensor.extract_slice %[[SUM]][%{{.*}}, %c0{{.*}}] [1, 64]
// CHECK: tensor.extract_slice %{{.*}}[%{{.*}}, %[[COLUMN]]] [1, 64]
// CHECK: tensor.insert_slice %{{.*}} into %[[SUM]][%{{.*}}, %c0{{.*}}] [1, 64]
// CHECK: tensor.parallel_insert_slice %[[SUMS]] into %[[TABLE]][0, %[[COLUMN]]] [32, 64]
func.func @embedding_vjp(%tokens: tensor<2x8xi32>, %dy: tensor<2x8x128xf32>) -> tensor<32x128xf32> {
  %dt = nag.embedding_vjp %tokens, %dy {rows = 32} : (tensor<2x8xi32>, tensor<2x8x128xf32>) -> tensor<32x128xf32>
  return %dt : tensor<32x128xf32>
}

// -----

// CHECK-LABEL: func.func @attention(
// CHECK: nag.stream_attention %{{.*}} into %{{.*}} {heads = 4 : i64, kv_heads = 2 : i64, window = 3 : i64}
func.func @attention(%q: tensor<2x8x64xf32>, %k: tensor<2x8x32xf32>) -> (tensor<2x8x64xf32>, tensor<2x4x8xf32>) {
  %o, %lse = nag.attention %q, %k, %k {heads = 4, kv_heads = 2, window = 3}
      : (tensor<2x8x64xf32>, tensor<2x8x32xf32>, tensor<2x8x32xf32>) -> (tensor<2x8x64xf32>, tensor<2x4x8xf32>)
  return %o, %lse : tensor<2x8x64xf32>, tensor<2x4x8xf32>
}
