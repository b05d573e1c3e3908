// RUN: nag-opt %s --convert-nag-to-gpu --canonicalize --cse --split-input-file | FileCheck %s

// Narrow rows: four threads each, of 16 bytes. bf16 in memory, f32 in registers.
// CHECK-LABEL: func.func @narrow
// CHECK: gpu.launch_func @device::@narrow blocks in (%[[ONE:.*]], %[[ONE]], %[[ONE]]) threads in (%[[THREADS:.*]], %[[ONE]], %[[ONE]])
// CHECK: gpu.func @narrow(%[[X:.*]]: memref<192xbf16>, %[[OUT:.*]]: memref<192xbf16>)
// CHECK-SAME: known_block_size = array<i32: 32, 1, 1>, known_grid_size = array<i32: 1, 1, 1>
// CHECK: %[[ACTIVE:.*]] = arith.cmpi slt, %[[ROW:.*]], %c6
// CHECK: scf.if %[[ACTIVE]]
// CHECK-NEXT: vector.load %[[X]][%[[PLACE:.*]]] : memref<192xbf16>, vector<8xbf16>
// CHECK: arith.extf {{.*}} to vector<8xf32>
// CHECK: arith.truncf {{.*}} to vector<8xbf16>
// CHECK: scf.if %[[ACTIVE]]
// CHECK-NEXT: vector.store %{{.*}}, %[[OUT]][%[[PLACE]]] : memref<192xbf16>, vector<8xbf16>
func.func @narrow(%x: tensor<6x32xbf16>, %out: tensor<6x32xbf16>) -> tensor<6x32xbf16> attributes {nag.kernel} {
  %y = nag.relu2 %x : (tensor<6x32xbf16>) -> tensor<6x32xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<6x32xbf16>, tensor<6x32xbf16>) -> tensor<6x32xbf16>
  return %0 : tensor<6x32xbf16>
}

// -----

// A row of two warps: read once, then five shuffles, one exchange, and the results from registers.
// CHECK-LABEL: gpu.func @wide
// CHECK-SAME: workgroup(%[[SUMS:.*]] : memref<2xf32, 3> {llvm.align = 16 : i64})
// CHECK-COUNT-8: vector.load {{.*}} vector<4xf32>
// CHECK-NOT: vector.load
// CHECK-COUNT-5: gpu.shuffle xor
// CHECK: memref.store %{{.*}}, %[[SUMS]]
// CHECK: gpu.barrier
// CHECK: memref.load %[[SUMS]]
// CHECK-COUNT-1: gpu.shuffle xor
// CHECK-NOT: gpu.barrier
// CHECK-COUNT-8: vector.store {{.*}} vector<4xf32>
// CHECK-NOT: vector.store
func.func @wide(%x: tensor<4x2048xf32>, %out: tensor<4x2048xf32>) -> tensor<4x2048xf32> attributes {nag.kernel} {
  %y = nag.rms_norm %x {nag.schedule = #nag.schedule<rows, threads = 64, rows = 1, width = 4>} : (tensor<4x2048xf32>) -> tensor<4x2048xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<4x2048xf32>, tensor<4x2048xf32>) -> tensor<4x2048xf32>
  return %0 : tensor<4x2048xf32>
}

// -----

// Halves of heads of 64: eight lanes apart. Sums of heads: over sixteen lanes. No shared memory.
// CHECK-LABEL: gpu.func @heads
// CHECK-NOT: workgroup
// CHECK: %[[C8:.*]] = arith.constant 8 : i32
// CHECK: gpu.shuffle xor %{{.*}}, %[[C8]]
// CHECK-NOT: vector.load {{.*}}memref<1024xf32>{{$}}
// CHECK-NOT: gpu.barrier
func.func @heads(%x: tensor<1x8x128xf32>, %c: tensor<8x32xf32>, %s: tensor<8x32xf32>, %out: tensor<1x8x128xf32>) -> tensor<1x8x128xf32> attributes {nag.kernel} {
  %y = nag.rotary %x, %c, %s {heads = 2} : (tensor<1x8x128xf32>, tensor<8x32xf32>, tensor<8x32xf32>) -> tensor<1x8x128xf32>
  %z = nag.rms_norm %y {groups = 2} : (tensor<1x8x128xf32>) -> tensor<1x8x128xf32>
  %0 = bufferization.materialize_in_destination %z in %out : (tensor<1x8x128xf32>, tensor<1x8x128xf32>) -> tensor<1x8x128xf32>
  return %0 : tensor<1x8x128xf32>
}

// -----

// Heads of 24: lanes do not pair up, elements go through shared memory.
// CHECK-LABEL: gpu.func @odd_heads
// CHECK-SAME: memref<{{[0-9]+}}xf32, 3>
// CHECK: nvvm.bar.warp.sync
func.func @odd_heads(%x: tensor<1x8x72xf32>, %c: tensor<8x12xf32>, %s: tensor<8x12xf32>, %out: tensor<1x8x72xf32>) -> tensor<1x8x72xf32> attributes {nag.kernel} {
  %y = nag.rotary %x, %c, %s {heads = 3} : (tensor<1x8x72xf32>, tensor<8x12xf32>, tensor<8x12xf32>) -> tensor<1x8x72xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<1x8x72xf32>, tensor<1x8x72xf32>) -> tensor<1x8x72xf32>
  return %0 : tensor<1x8x72xf32>
}

// -----

// Rows of odd length begin anywhere: vectors at aligned addresses, single elements at the edges.
// CHECK-LABEL: gpu.func @odd
// CHECK: %[[BASE:.*]] = arith.muli %{{.*}}, %c257
// CHECK: %[[SHIFT:.*]] = arith.remui %[[BASE]], %c16
// CHECK: vector.load {{.*}} vector<8xbf16>
// CHECK: vector.maskedload {{.*}}alignment = 2
// CHECK: vector.store {{.*}} vector<8xbf16>
// CHECK: vector.maskedstore {{.*}}alignment = 2
func.func @odd(%x: tensor<16x257xbf16>, %out: tensor<16x257xbf16>) -> tensor<16x257xbf16> attributes {nag.kernel} {
  %y = nag.relu2 %x : (tensor<16x257xbf16>) -> tensor<16x257xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<16x257xbf16>, tensor<16x257xbf16>) -> tensor<16x257xbf16>
  return %0 : tensor<16x257xbf16>
}

// -----

// A sum over rows: partial sums in memory, one for each block, which the last block adds up. No sum by atomics.
// CHECK-LABEL: func.func @sum
// CHECK: %[[PARTIALS:.*]] = gpu.alloc () : memref<[[BLOCKS:[0-9]+]]xf32>
// CHECK: gpu.launch_func @device::@sum blocks in (%c[[BLOCKS]],
// CHECK-SAME: args(%{{.*}} : memref<65536xf32>, %[[PARTIALS]] : memref<[[BLOCKS]]xf32>, %{{.*}} : memref<1xf32>)
// CHECK-NEXT: return
// CHECK: llvm.mlir.global internal @sum_arrivals(#llvm.zero) {addr_space = 1 : i32, alignment = 4 : i64} : !llvm.array<1 x i32>
// CHECK: gpu.func @sum
// CHECK: llvm.atomicrmw uinc_wrap
// CHECK-NOT: atomic
// CHECK: gpu.return
func.func @sum(%x: tensor<1024x64xf32>, %out: tensor<f32>) -> tensor<f32> attributes {nag.kernel} {
  %n = nag.squared_norm %x : (tensor<1024x64xf32>) -> tensor<f32>
  %0 = bufferization.materialize_in_destination %n in %out : (tensor<f32>, tensor<f32>) -> tensor<f32>
  return %0 : tensor<f32>
}

// -----

// What 1024 threads have no registers for waits in the shared memory that the launch asks for.
// CHECK-LABEL: func.func @held
// CHECK: dynamic_shared_memory_size
// CHECK: llvm.mlir.global external @dynamic_shared() {addr_space = 3 : i32, alignment = 128 : i64} : !llvm.array<0 x i8>
// CHECK: gpu.func @held
// CHECK: llvm.store {{.*}} vector<8xbf16>, !llvm.ptr<3>
// CHECK: llvm.load {{.*}} !llvm.ptr<3> -> vector<8xbf16>
func.func @held(%r: tensor<2x16384xbf16>, %f: tensor<2x16384xbf16>, %g: tensor<2xf32>, %dr: tensor<2x16384xbf16>, %ds: tensor<2xf32>, %out: tensor<2x16384xbf16>) -> tensor<2x16384xbf16> attributes {nag.kernel} {
  %a, %b, %c = nag.rotate_vjp %r, %f, %g, %dr, %ds : (tensor<2x16384xbf16>, tensor<2x16384xbf16>, tensor<2xf32>, tensor<2x16384xbf16>, tensor<2xf32>) -> (tensor<2x16384xbf16>, tensor<2x16384xbf16>, tensor<2xf32>)
  %0 = bufferization.materialize_in_destination %a in %out : (tensor<2x16384xbf16>, tensor<2x16384xbf16>) -> tensor<2x16384xbf16>
  return %0 : tensor<2x16384xbf16>
}

// -----

// Ops that have no rows in common share a launch, each with blocks of its own and as many threads.
// CHECK-LABEL: func.func @parts
// CHECK: gpu.launch_func @device::@parts
// CHECK-NOT: gpu.launch_func
// CHECK: gpu.func @parts
// CHECK: %[[BLOCK:.*]] = gpu.block_id
// CHECK: arith.cmpi ult, %[[BLOCK]],
// CHECK: scf.if
// CHECK: scf.if
func.func @parts(%x: tensor<32x512xf32>, %y: tensor<100x24xf32>, %a: tensor<32x512xf32>, %b: tensor<100x24xf32>)
    -> (tensor<32x512xf32>, tensor<100x24xf32>) attributes {nag.kernel} {
  %r = nag.rms_norm %x : (tensor<32x512xf32>) -> tensor<32x512xf32>
  %s = nag.rms_norm %y : (tensor<100x24xf32>) -> tensor<100x24xf32>
  %0 = bufferization.materialize_in_destination %r in %a : (tensor<32x512xf32>, tensor<32x512xf32>) -> tensor<32x512xf32>
  %1 = bufferization.materialize_in_destination %s in %b : (tensor<100x24xf32>, tensor<100x24xf32>) -> tensor<100x24xf32>
  return %0, %1 : tensor<32x512xf32>, tensor<100x24xf32>
}

// -----

// A block goes through as many rows as there are, 100 apart, and no thread asks whether it has one. A thread has 8 elements at a time of the
// long rows, one of the short rows beside them.
// CHECK-LABEL: gpu.func @passes
// CHECK-SAME: (%[[R:[a-z0-9]*]]: memref<409600xbf16>
// CHECK: %[[BLOCK:.*]] = gpu.block_id x
// CHECK: scf.for %{{.*}} = %[[BLOCK]] to %c400 step %c100 iter_args
// CHECK-NOT: arith.cmpi
// CHECK: vector.load %[[R]][{{.*}}] : memref<409600xbf16>, vector<8xbf16>
// CHECK: memref.load %{{.*}} : memref<12800xbf16>
// CHECK: arith.truncf {{.*}} : vector<1xf32> to vector<1xbf16>
// CHECK: memref.store %{{.*}} : memref<12800xbf16>
func.func @passes(%r: tensor<400x1024xbf16>, %f: tensor<400x1024xbf16>, %g: tensor<400xf32>, %dr: tensor<400x1024xbf16>, %ds: tensor<400xf32>,
    %z: tensor<400x32xbf16>, %b: tensor<32xf32>, %p: tensor<32xf32>, %beta: tensor<f32>, %alpha: tensor<f32>,
    %a: tensor<400x1024xbf16>, %c: tensor<400x32xbf16>, %d: tensor<32xf32>) -> (tensor<400x1024xbf16>, tensor<400x32xbf16>, tensor<32xf32>)
    attributes {nag.kernel} {
  %0, %1, %dg = nag.rotate_vjp %r, %f, %g, %dr, %ds {nag.schedule = #nag.schedule<rows, threads = 128, rows = 1, width = 8, passes = 4>}
      : (tensor<400x1024xbf16>, tensor<400x1024xbf16>, tensor<400xf32>, tensor<400x1024xbf16>, tensor<400xf32>)
      -> (tensor<400x1024xbf16>, tensor<400x1024xbf16>, tensor<400xf32>)
  %2, %3, %4, %5, %6 = nag.gate_vjp %z, %b, %p, %beta, %alpha, %dg
      : (tensor<400x32xbf16>, tensor<32xf32>, tensor<32xf32>, tensor<f32>, tensor<f32>, tensor<400xf32>)
      -> (tensor<400x32xbf16>, tensor<32xf32>, tensor<32xf32>, tensor<f32>, tensor<f32>)
  %7 = bufferization.materialize_in_destination %0 in %a : (tensor<400x1024xbf16>, tensor<400x1024xbf16>) -> tensor<400x1024xbf16>
  %8 = bufferization.materialize_in_destination %2 in %c : (tensor<400x32xbf16>, tensor<400x32xbf16>) -> tensor<400x32xbf16>
  %9 = bufferization.materialize_in_destination %3 in %d : (tensor<32xf32>, tensor<32xf32>) -> tensor<32xf32>
  return %7, %8, %9 : tensor<400x1024xbf16>, tensor<400x32xbf16>, tensor<32xf32>
}

// -----

// A result of nag.put that may stand elsewhere than what it completes: blocks of their own copy the rows that no index names, unless the
// result stands in that memory.
// CHECK-LABEL: func.func @carried
// CHECK: gpu.launch_func @device::@carried blocks in (%c{{[0-9]+}},
// CHECK-LABEL: gpu.func @carried
// CHECK: %[[FROM:.*]] = llvm.inttoptr
// CHECK: %[[TO:.*]] = llvm.inttoptr
// CHECK: llvm.icmp "ne" %[[FROM]], %[[TO]] : !llvm.ptr<1>
// CHECK: scf.for
// CHECK: arith.shrui
// CHECK-COUNT-8: nvvm.shfl.sync idx
// CHECK: scf.for
// CHECK-COUNT-8: llvm.load {{.*}} : !llvm.ptr<1> -> vector<4xi32>
// CHECK-COUNT-8: llvm.store {{.*}} : vector<4xi32>, !llvm.ptr<1>
func.func @carried(%x: tensor<2x8x16xf32>, %i: tensor<8xi32>, %out: tensor<2x8x16xf32> {nag.carries, nag.updates = 0})
    -> tensor<2x8x16xf32> attributes {nag.kernel} {
  %o = arith.constant dense<[0, 4, 8]> : tensor<3xi32>
  %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<8xi32>, tensor<3xi32>) -> (tensor<8x16xf32>, tensor<2x8x16xf32>)
  %s = arith.addf %r, %r : tensor<8x16xf32>
  %y = nag.put %s, %x, %i, %o : (tensor<8x16xf32>, tensor<2x8x16xf32>, tensor<8xi32>, tensor<3xi32>) -> tensor<2x8x16xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<2x8x16xf32>, tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
  return %0 : tensor<2x8x16xf32>
}
