// RUN: nag-opt %s --convert-nag-to-linalg --split-input-file | FileCheck %s

// A kernel: one loop over the rows, computing right in the destination.
// CHECK-LABEL: func.func @rotate
// CHECK-SAME: %[[R:.*]]: tensor<2x8x16xf32>, %[[S:.*]]: tensor<2x8xf32>, %{{.*}}: tensor<2x8x16xf32>, %{{.*}}: tensor<2x8xf32>, %[[OUT:.*]]: tensor<2x8x16xf32>
// CHECK: %[[FLAT:.*]] = tensor.collapse_shape %[[OUT]] {{.*}} into tensor<16x16xf32>
// CHECK: scf.forall (%[[ROW:.*]]) in (16) shared_outs(%[[TO:.*]] = %[[FLAT]])
// CHECK: %[[SLICE:.*]] = tensor.extract_slice %[[TO]][%[[ROW]], 0] [1, 16] [1, 1]
// CHECK: linalg.generic {{.*}}iterator_types = ["reduction"]
// CHECK: linalg.generic {{.*}}iterator_types = ["reduction"]
// CHECK: %[[NEXT:.*]] = linalg.generic {{.*}}iterator_types = ["parallel"]{{.*}} outs(%[[SLICE]] : tensor<16xf32>)
// CHECK: tensor.parallel_insert_slice %[[NEXT]] into %[[TO]][%[[ROW]], 0] [1, 16] [1, 1]
// CHECK-NOT: nag.
func.func @rotate(%r: tensor<2x8x16xf32>, %s: tensor<2x8xf32>, %f: tensor<2x8x16xf32>, %g: tensor<2x8xf32>,
    %out: tensor<2x8x16xf32>) -> tensor<2x8x16xf32> attributes {nag.kernel} {
  %x = nag.make_stream %r, %s : !nag.stream<2x8x16xf32>
  %y = nag.rotate %x, %f, %g : (!nag.stream<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>) -> !nag.stream<2x8x16xf32>
  %d = nag.direction %y : !nag.stream<2x8x16xf32>
  %0 = bufferization.materialize_in_destination %d in %out : (tensor<2x8x16xf32>, tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
  return %0 : tensor<2x8x16xf32>
}

// -----

// In a kernel, rows pass from op to op without going through memory.
// CHECK-LABEL: func.func @joined
// CHECK-COUNT-1: scf.forall
// CHECK: arith.addf
// CHECK: math.sqrt
// CHECK-COUNT-2: tensor.parallel_insert_slice
// CHECK-NOT: scf.forall
func.func @joined(%x: tensor<8x16xf32>, %y: tensor<8x16xf32>) -> (tensor<8x16xf32>, tensor<8x16xf32>) attributes {nag.kernel} {
  %a = nag.residual_add %x, %y : (tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
  %b = nag.rms_norm %a : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %a, %b : tensor<8x16xf32>, tensor<8x16xf32>
}

// -----

// Elsewhere each op has a loop of its own.
// CHECK-LABEL: func.func @alone
// CHECK-COUNT-2: scf.forall (%{{.*}}) in (8)
func.func @alone(%x: tensor<8x16xf32>, %y: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %a = nag.residual_add %x, %y : (tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
  %b = nag.relu2 %a : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %b : tensor<8x16xf32>
}

// -----

// A sum over the rows: a fixed number of chunks, added up in order.
// CHECK-LABEL: func.func @sum
// CHECK: scf.forall (%{{.*}}) in (64) shared_outs(%{{.*}} = %{{.*}}) -> (tensor<64xf32>)
// CHECK: scf.for {{.*}} iter_args(%{{.*}} = %{{.*}}) -> (f32)
// CHECK: linalg.generic {{.*}} ins(%{{.*}} : tensor<64xf32>)
func.func @sum(%x: tensor<100x16xf32>) -> tensor<f32> {
  %n = nag.squared_norm %x : (tensor<100x16xf32>) -> tensor<f32>
  return %n : tensor<f32>
}

// -----

// What stands elsewhere has no ops to convert.
// CHECK: func.func private @elsewhere(!nag.stream<2x8x16xf32>)
func.func private @elsewhere(!nag.stream<2x8x16xf32>)

// -----

// bf16 rows are computed in f32 and rounded once.
// CHECK-LABEL: func.func @half
// CHECK: arith.extf %{{.*}} : bf16 to f32
// CHECK: arith.addf %{{.*}} : f32
// CHECK: arith.truncf %{{.*}} : f32 to bf16
func.func @half(%x: tensor<8x16xbf16>, %y: tensor<8x16xbf16>) -> tensor<8x16xbf16> {
  %a = nag.residual_add %x, %y : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x16xbf16>
  return %a : tensor<8x16xbf16>
}

// -----

// arith and math ops on tensors are row-wise too; one row needs no loop.
// CHECK-LABEL: func.func @scalars
// CHECK-NOT: scf.
// CHECK: %[[SUM:.*]] = arith.addf %{{.*}}, %{{.*}} : f32
// CHECK: math.sqrt %[[SUM]] : f32
func.func @scalars(%x: tensor<f32>, %y: tensor<f32>) -> tensor<f32> attributes {nag.kernel} {
  %a = arith.addf %x, %y : tensor<f32>
  %b = math.sqrt %a : tensor<f32>
  return %b : tensor<f32>
}

// -----

// A result of nag.put that may stand elsewhere than what it completes gets the rows that no index names from there; 2x8 rows of 64 bytes,
// two sequences.
// CHECK-LABEL: func.func @carried
// CHECK-SAME: %[[X:.*]]: tensor<2x8x16xf32>, %[[I:.*]]: tensor<8xi32>, %[[O:.*]]: tensor<3xi32>,
// CHECK: %[[REST:.*]] = nag.runtime_call @nag_carry_rows [16, 64, 2](%[[X]], %[[I]], %[[O]]) into(%{{.*}}) :
// CHECK: scf.forall {{.*}} shared_outs(%{{.*}} = %[[REST]])
// Else it holds them already.
// CHECK-LABEL: func.func @updated
// CHECK-NOT: nag.runtime_call
func.func @carried(%x: tensor<2x8x16xf32>, %i: tensor<8xi32>, %o: tensor<3xi32>, %s: tensor<8x16xf32>, %out: tensor<2x8x16xf32> {nag.carries})
    -> tensor<2x8x16xf32> attributes {nag.kernel} {
  %y = nag.put %s, %x, %i, %o : (tensor<8x16xf32>, tensor<2x8x16xf32>, tensor<8xi32>, tensor<3xi32>) -> tensor<2x8x16xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<2x8x16xf32>, tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
  return %0 : tensor<2x8x16xf32>
}
func.func @updated(%x: tensor<2x8x16xf32>, %i: tensor<8xi32>, %o: tensor<3xi32>, %s: tensor<8x16xf32>, %out: tensor<2x8x16xf32>)
    -> tensor<2x8x16xf32> attributes {nag.kernel} {
  %y = nag.put %s, %x, %i, %o : (tensor<8x16xf32>, tensor<2x8x16xf32>, tensor<8xi32>, tensor<3xi32>) -> tensor<2x8x16xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<2x8x16xf32>, tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
  return %0 : tensor<2x8x16xf32>
}
