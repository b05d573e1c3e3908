// RUN: nag-opt %s --convert-nag-to-gpu | FileCheck %s

// One launch: the sort of 600 positions for 30000 rows has two digits with two phases each, of 3 blocks; then 3750 blocks with 8 rows of the
// table each, where a warp finds its row's token among the sorted. Blocks count themselves as they start, and wait for those before.
// CHECK-LABEL: func.func @embedding
// CHECK: gpu.launch_func @device::@embedding blocks in (%c3762{{[^)]*}}) threads in (%c256
// CHECK-NEXT: return
func.func @embedding(%t: tensor<2x300xi32>, %dy: tensor<2x300x8xf32>, %d: tensor<30000x8xf32>) attributes {nag.kernel} {
  %r = nag.embedding_vjp %t, %dy {rows = 30000, nag.schedule = #nag.schedule<embedding_vjp, threads = 256, sort = 1>} : (tensor<2x300xi32>, tensor<2x300x8xf32>) -> tensor<30000x8xf32>
  %0 = bufferization.materialize_in_destination %r in %d : (tensor<30000x8xf32>, tensor<30000x8xf32>) -> tensor<30000x8xf32>
  return
}

// Few rows look for their tokens themselves, a warp's lanes at 32 positions at a time.
// CHECK-LABEL: func.func @bytes
// CHECK: gpu.launch_func @device::@bytes blocks in
// CHECK-NEXT: return
// CHECK: gpu.func @embedding
// CHECK: llvm.mlir.addressof @embedding_tickets
// CHECK: llvm.mlir.addressof @embedding_arrivals
// CHECK-COUNT-4: scf.while
// CHECK: nvvm.vote.sync ballot
// CHECK: gpu.func @bytes
// CHECK: nvvm.vote.sync ballot
// CHECK: scf.while
// CHECK: llvm.intr.cttz
func.func @bytes(%t: tensor<2x300xi32>, %dy: tensor<2x300x8xf32>, %d: tensor<256x8xf32>) attributes {nag.kernel} {
  %r = nag.embedding_vjp %t, %dy {rows = 256} : (tensor<2x300xi32>, tensor<2x300x8xf32>) -> tensor<256x8xf32>
  %0 = bufferization.materialize_in_destination %r in %d : (tensor<256x8xf32>, tensor<256x8xf32>) -> tensor<256x8xf32>
  return
}
