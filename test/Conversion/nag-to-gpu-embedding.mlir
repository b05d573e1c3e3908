// RUN: nag-opt %s --convert-nag-to-gpu | FileCheck %s

// Two passes of the sort for 30000 rows, whose counts the last block adds up, and the sums: a warp finds its row's token among the sorted.
// CHECK-LABEL: func.func @embedding
// CHECK: gpu.launch_func @device::@embedding_count0
// CHECK: gpu.launch_func @device::@embedding_move0
// CHECK: gpu.launch_func @device::@embedding_count1
// CHECK: gpu.launch_func @device::@embedding_move1
// CHECK-NOT: gpu.launch_func
// CHECK: gpu.launch_func @device::@embedding_sum
// CHECK-NEXT: return
func.func @embedding(%t: tensor<2x300xi32>, %dy: tensor<2x300x8xf32>, %d: tensor<30000x8xf32>) attributes {nag.kernel} {
  %r = nag.embedding_vjp %t, %dy {rows = 30000, nag.schedule = #nag.schedule<embedding_vjp, threads = 128, sort = 1>} : (tensor<2x300xi32>, tensor<2x300x8xf32>) -> tensor<30000x8xf32>
  %0 = bufferization.materialize_in_destination %r in %d : (tensor<30000x8xf32>, tensor<30000x8xf32>) -> tensor<30000x8xf32>
  return
}

// Few rows look for their tokens themselves, a warp's lanes at 32 positions at a time.
// CHECK-LABEL: func.func @bytes
// CHECK: gpu.launch_func @device::@bytes blocks in
// CHECK-NEXT: return
// CHECK: gpu.func @bytes
// CHECK: nvvm.vote.sync ballot
// CHECK: scf.while
// CHECK: llvm.intr.cttz
func.func @bytes(%t: tensor<2x300xi32>, %dy: tensor<2x300x8xf32>, %d: tensor<256x8xf32>) attributes {nag.kernel} {
  %r = nag.embedding_vjp %t, %dy {rows = 256} : (tensor<2x300xi32>, tensor<2x300x8xf32>) -> tensor<256x8xf32>
  %0 = bufferization.materialize_in_destination %r in %d : (tensor<256x8xf32>, tensor<256x8xf32>) -> tensor<256x8xf32>
  return
}
