// RUN: nag-opt %s --convert-nag-to-gpu | FileCheck %s

// Two passes of the sort for 300 rows, a place for every row's first position, and the sums; no atomics.
// CHECK-LABEL: func.func @embedding
// CHECK: gpu.launch_func @device::@embedding_count0
// CHECK: gpu.launch_func @device::@embedding_place0
// CHECK: gpu.launch_func @device::@embedding_move0
// CHECK: gpu.launch_func @device::@embedding_count1
// CHECK: gpu.launch_func @device::@embedding_place1
// CHECK: gpu.launch_func @device::@embedding_move1
// CHECK: gpu.alloc () : memref<301xi32>
// CHECK: gpu.launch_func @device::@embedding_begin
// CHECK: gpu.launch_func @device::@embedding_sum
// CHECK-NOT: atomic
func.func @embedding(%t: tensor<2x300xi32>, %dy: tensor<2x300x8xf32>, %d: tensor<300x8xf32>) attributes {nag.kernel} {
  %r = nag.embedding_vjp %t, %dy {rows = 300} : (tensor<2x300xi32>, tensor<2x300x8xf32>) -> tensor<300x8xf32>
  %0 = bufferization.materialize_in_destination %r in %d : (tensor<300x8xf32>, tensor<300x8xf32>) -> tensor<300x8xf32>
  return
}
