// RUN: nag-opt %s -convert-nag-to-gpu | FileCheck %s
// RUN: nag-opt %s -convert-nag-to-gpu=tf32 | FileCheck %s --check-prefix=TF32

// Fused multiply-adds: operands in shared memory as they lie in global memory.
// CHECK-LABEL: func.func @f32
// CHECK:         gpu.launch_func @device::@f32 blocks in ({{[^)]*}}) threads in (%c64{{[^)]*}}) dynamic_shared_memory_size %c12288_i32
func.func @f32(%x: tensor<4x8x64xf32>, %w: tensor<32x64xf32>, %out: tensor<4x8x32xf32>) -> tensor<4x8x32xf32>
    attributes {nag.kernel} {
  %y = nag.linear %x, %w : (tensor<4x8x64xf32>, tensor<32x64xf32>) -> tensor<4x8x32xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<4x8x32xf32>, tensor<4x8x32xf32>) -> tensor<4x8x32xf32>
  return %0 : tensor<4x8x32xf32>
}

// CHECK-LABEL: func.func @forward
// CHECK-LABEL: func.func @input_gradient
// CHECK-LABEL: func.func @weight_gradient
func.func @forward(%x: tensor<64x256xbf16>, %w: tensor<64x256xbf16>, %out: tensor<64x64xbf16>) -> tensor<64x64xbf16>
    attributes {nag.kernel, nag.schedule = #nag.schedule<gemm, tile = [64, 64, 32], warps = [2, 2], stages = 3>} {
  %y = nag.linear %x, %w : (tensor<64x256xbf16>, tensor<64x256xbf16>) -> tensor<64x64xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<64x64xbf16>, tensor<64x64xbf16>) -> tensor<64x64xbf16>
  return %0 : tensor<64x64xbf16>
}
func.func @input_gradient(%x: tensor<64x64xbf16>, %w: tensor<64x64xbf16>, %out: tensor<64x64xbf16>)
    -> tensor<64x64xbf16> attributes {nag.kernel} {
  %y = nag.linear %x, %w {transpose_weight} : (tensor<64x64xbf16>, tensor<64x64xbf16>) -> tensor<64x64xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<64x64xbf16>, tensor<64x64xbf16>) -> tensor<64x64xbf16>
  return %0 : tensor<64x64xbf16>
}
func.func @weight_gradient(%x: tensor<64x64xbf16>, %w: tensor<64x64xbf16>, %out: tensor<64x64xbf16>)
    -> tensor<64x64xbf16> attributes {nag.kernel} {
  %y = nag.weight_grad %x, %w : (tensor<64x64xbf16>, tensor<64x64xbf16>) -> tensor<64x64xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<64x64xbf16>, tensor<64x64xbf16>) -> tensor<64x64xbf16>
  return %0 : tensor<64x64xbf16>
}

// Rows of 33 elements: copied two bytes at a time, through registers.
// CHECK-LABEL: func.func @odd
func.func @odd(%x: tensor<64x33xbf16>, %w: tensor<64x33xbf16>, %out: tensor<64x64xbf16>) -> tensor<64x64xbf16>
    attributes {nag.kernel} {
  %y = nag.linear %x, %w : (tensor<64x33xbf16>, tensor<64x33xbf16>) -> tensor<64x64xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<64x64xbf16>, tensor<64x64xbf16>) -> tensor<64x64xbf16>
  return %0 : tensor<64x64xbf16>
}

// A split sum: parts in scratch memory, added up by the last block of a tile.
// CHECK-LABEL: func.func @split
// CHECK:         %[[PARTS:.*]] = gpu.alloc () : memref<4x32x32xf32>
// CHECK:         gpu.launch_func @device::@split blocks in (%c4{{[_0-9]*}}, %c1{{[^)]*}})
// CHECK-SAME:      args(%{{.*}} : memref<512x32xf32>, %{{.*}} : memref<512x32xf32>, %{{.*}} : memref<32x32xf32>, %[[PARTS]] : memref<4x32x32xf32>)
// CHECK-NEXT:    return
func.func @split(%dy: tensor<512x32xf32>, %x: tensor<512x32xf32>, %out: tensor<32x32xf32>) -> tensor<32x32xf32>
    attributes {nag.kernel, nag.schedule = #nag.schedule<gemm, tile = [32, 32, 16], warps = [2, 1], stages = 3, split_k = 4>} {
  %y = nag.weight_grad %dy, %x : (tensor<512x32xf32>, tensor<512x32xf32>) -> tensor<32x32xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<32x32xf32>, tensor<32x32xf32>) -> tensor<32x32xf32>
  return %0 : tensor<32x32xf32>
}

// Terms that are counted at run time are cut evenly, into fewer parts where these would be shorter than 96 of them.
// CHECK-LABEL: func.func @counted
func.func @counted(%dy: tensor<512x32xf32>, %x: tensor<1x512x32xf32>, %i: tensor<512xi32>, %o: tensor<2xi32> {nag.row_count},
                   %out: tensor<32x32xf32>) -> tensor<32x32xf32>
    attributes {nag.kernel, nag.schedule = #nag.schedule<gemm, tile = [32, 32, 16], warps = [2, 1], stages = 3, split_k = 4>} {
  %r, %rest = nag.take %x, %i, %o : (tensor<1x512x32xf32>, tensor<512xi32>, tensor<2xi32>) -> (tensor<512x32xf32>, tensor<1x512x32xf32>)
  %y = nag.weight_grad %dy, %r : (tensor<512x32xf32>, tensor<512x32xf32>) -> tensor<32x32xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<32x32xf32>, tensor<32x32xf32>) -> tensor<32x32xf32>
  return %0 : tensor<32x32xf32>
}

// The warps of a tile that lie behind the last column only copy tiles for others.
// CHECK-LABEL: func.func @narrow
func.func @narrow(%x: tensor<64x64xf32>, %w: tensor<32x64xf32>, %out: tensor<64x32xf32>) -> tensor<64x32xf32>
    attributes {nag.kernel, nag.schedule = #nag.schedule<gemm, tile = [64, 64, 16], warps = [4, 2], stages = 3>} {
  %y = nag.linear %x, %w : (tensor<64x64xf32>, tensor<32x64xf32>) -> tensor<64x32xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<64x32xf32>, tensor<64x32xf32>) -> tensor<64x32xf32>
  return %0 : tensor<64x32xf32>
}

// Both gradients of a product share a launch. The sum over 512 has the 8 parts of the schedule, that over 64 one: 2 x 8 and 16 blocks.
// CHECK-LABEL: func.func @gradients
// CHECK:         gpu.alloc () : memref<16x32x32xf32>
// CHECK:         gpu.launch_func @device::@gradients blocks in (%c32{{[_0-9]*}}, %c1{{[^)]*}})
// CHECK-NEXT:    return
func.func @gradients(%dy: tensor<64x512xf32>, %w: tensor<512x32xf32>, %x: tensor<64x32xf32>, %dx: tensor<64x32xf32>,
                     %dw: tensor<512x32xf32>) -> (tensor<64x32xf32>, tensor<512x32xf32>)
    attributes {nag.kernel, nag.schedule = #nag.schedule<gemm, tile = [32, 32, 16], warps = [2, 1], stages = 3, split_k = 8>} {
  %a = nag.linear %dy, %w {transpose_weight} : (tensor<64x512xf32>, tensor<512x32xf32>) -> tensor<64x32xf32>
  %b = nag.weight_grad %dy, %x : (tensor<64x512xf32>, tensor<64x32xf32>) -> tensor<512x32xf32>
  %0 = bufferization.materialize_in_destination %a in %dx : (tensor<64x32xf32>, tensor<64x32xf32>) -> tensor<64x32xf32>
  %1 = bufferization.materialize_in_destination %b in %dw : (tensor<512x32xf32>, tensor<512x32xf32>) -> tensor<512x32xf32>
  return %0, %1 : tensor<64x32xf32>, tensor<512x32xf32>
}

// Row-wise ops on the sums: one launch; the activation's input is stored since
// it leaves the kernel, the activation is not.
// CHECK-LABEL: func.func @fused
// CHECK-SAME:    (%[[X:.*]]: memref<32x64xf32>, %[[W:.*]]: memref<32x64xf32>, %[[R:.*]]: memref<32x32xf32>, %[[Y:.*]]: memref<32x32xf32>, %[[S:.*]]: memref<32x32xf32>)
// CHECK:         gpu.launch_func @device::@fused
// CHECK-SAME:      args(%[[X]] : memref<32x64xf32>, %[[W]] : memref<32x64xf32>, %[[Y]] : memref<32x32xf32>, %[[S]] : memref<32x32xf32>, %[[R]] : memref<32x32xf32>)
// CHECK-NOT:     gpu.launch_func
func.func @fused(%x: tensor<32x64xf32>, %w: tensor<32x64xf32>, %r: tensor<32x32xf32>, %a: tensor<32x32xf32>,
                 %b: tensor<32x32xf32>) -> (tensor<32x32xf32>, tensor<32x32xf32>) attributes {nag.kernel} {
  %y = nag.linear %x, %w : (tensor<32x64xf32>, tensor<32x64xf32>) -> tensor<32x32xf32>
  %z = nag.relu2 %y : (tensor<32x32xf32>) -> tensor<32x32xf32>
  %s = arith.addf %z, %r : tensor<32x32xf32>
  %0 = bufferization.materialize_in_destination %y in %a : (tensor<32x32xf32>, tensor<32x32xf32>) -> tensor<32x32xf32>
  %1 = bufferization.materialize_in_destination %s in %b : (tensor<32x32xf32>, tensor<32x32xf32>) -> tensor<32x32xf32>
  return %0, %1 : tensor<32x32xf32>, tensor<32x32xf32>
}

// Products next to one another share a launch, each with blocks of its own;
// the activation runs on the sums of its product.
// CHECK-LABEL: func.func @joined
// CHECK-SAME:    (%[[X:.*]]: memref<32x64xf32>, %[[W:.*]]: memref<64x64xf32>, %[[V:.*]]: memref<32x64xf32>, %[[A:.*]]: memref<32x64xf32>, %[[B:.*]]: memref<32x32xf32>)
// CHECK:         gpu.launch_func @device::@joined blocks in (%c3{{[_0-9]*}},
// CHECK-SAME:      args(%[[X]] : memref<32x64xf32>, %[[W]] : memref<64x64xf32>, %[[A]] : memref<32x64xf32>, %[[X]] : memref<32x64xf32>, %[[V]] : memref<32x64xf32>, %[[B]] : memref<32x32xf32>)
// CHECK-NOT:     gpu.launch_func
func.func @joined(%x: tensor<32x64xf32>, %w: tensor<64x64xf32>, %v: tensor<32x64xf32>, %a: tensor<32x64xf32>,
                  %b: tensor<32x32xf32>) -> (tensor<32x64xf32>, tensor<32x32xf32>)
    attributes {nag.kernel, nag.schedule = #nag.schedule<gemm, tile = [32, 32, 16], warps = [2, 1], stages = 3>} {
  %y = nag.linear %x, %w : (tensor<32x64xf32>, tensor<64x64xf32>) -> tensor<32x64xf32>
  %z = nag.linear %x, %v : (tensor<32x64xf32>, tensor<32x64xf32>) -> tensor<32x32xf32>
  %r = nag.relu2 %y : (tensor<32x64xf32>) -> tensor<32x64xf32>
  %0 = bufferization.materialize_in_destination %r in %a : (tensor<32x64xf32>, tensor<32x64xf32>) -> tensor<32x64xf32>
  %1 = bufferization.materialize_in_destination %z in %b : (tensor<32x32xf32>, tensor<32x32xf32>) -> tensor<32x32xf32>
  return %0, %1 : tensor<32x64xf32>, tensor<32x32xf32>
}

// Products that are added up: one sum over both, no term in memory.
// CHECK-LABEL: func.func @summed
// CHECK-SAME:    (%[[X:.*]]: memref<32x64xf32>, %[[W:.*]]: memref<64x32xf32>, %[[U:.*]]: memref<32x16xf32>, %[[V:.*]]: memref<16x32xf32>, %[[A:.*]]: memref<32x32xf32>)
// CHECK:         gpu.launch_func @device::@summed blocks in (%c1{{[_0-9]*}},
// CHECK-SAME:      args(%[[X]] : memref<32x64xf32>, %[[W]] : memref<64x32xf32>, %[[U]] : memref<32x16xf32>, %[[V]] : memref<16x32xf32>, %[[A]] : memref<32x32xf32>)
// CHECK-NOT:     gpu.launch_func
func.func @summed(%x: tensor<32x64xf32>, %w: tensor<64x32xf32>, %u: tensor<32x16xf32>, %v: tensor<16x32xf32>,
                  %a: tensor<32x32xf32>) -> tensor<32x32xf32>
    attributes {nag.kernel, nag.schedule = #nag.schedule<gemm, tile = [32, 32, 16], warps = [2, 1], stages = 3>} {
  %y = nag.linear %x, %w {transpose_weight} : (tensor<32x64xf32>, tensor<64x32xf32>) -> tensor<32x32xf32>
  %z = nag.linear %u, %v {transpose_weight} : (tensor<32x16xf32>, tensor<16x32xf32>) -> tensor<32x32xf32>
  %s = arith.addf %y, %z : tensor<32x32xf32>
  %0 = bufferization.materialize_in_destination %s in %a : (tensor<32x32xf32>, tensor<32x32xf32>) -> tensor<32x32xf32>
  return %0 : tensor<32x32xf32>
}

// The gate is computed from the sums of the modulator's directions, which stay
// in registers.
// CHECK-LABEL: func.func @gated
// CHECK-SAME:    (%[[X:.*]]: memref<40x64xf32>, %[[W:.*]]: memref<32x64xf32>, %[[B:.*]]: memref<32xf32>, %[[P:.*]]: memref<32xf32>, %[[BETA:.*]]: memref<f32>, %[[ALPHA:.*]]: memref<f32>, %[[G:.*]]: memref<40xf32>)
// CHECK:         gpu.launch_func @device::@gated
// CHECK-SAME:      args(%[[X]] : memref<40x64xf32>, %[[W]] : memref<32x64xf32>, %[[G]] : memref<40xf32>, %[[BETA]] : memref<f32>, %[[ALPHA]] : memref<f32>, %[[B]] : memref<32xf32>, %[[P]] : memref<32xf32>)
// CHECK-NOT:     gpu.launch_func
func.func @gated(%x: tensor<40x64xf32>, %w: tensor<32x64xf32>, %b: tensor<32xf32>, %p: tensor<32xf32>, %beta: tensor<f32>,
                 %alpha: tensor<f32>, %out: tensor<40xf32>) -> tensor<40xf32>
    attributes {nag.kernel, nag.schedule = #nag.schedule<gemm, tile = [32, 32, 16], warps = [2, 1], stages = 3>} {
  %z = nag.linear %x, %w : (tensor<40x64xf32>, tensor<32x64xf32>) -> tensor<40x32xf32>
  %g = nag.gate %z, %b, %p, %beta, %alpha : (tensor<40x32xf32>, tensor<32xf32>, tensor<32xf32>, tensor<f32>, tensor<f32>) -> tensor<40xf32>
  %0 = bufferization.materialize_in_destination %g in %out : (tensor<40xf32>, tensor<40xf32>) -> tensor<40xf32>
  return %0 : tensor<40xf32>
}

// No rows: nothing to launch.
// CHECK-LABEL: func.func @empty
// CHECK-NEXT:    return
func.func @empty(%x: tensor<0x16xf32>, %w: tensor<8x16xf32>, %out: tensor<0x8xf32>) -> tensor<0x8xf32> attributes {nag.kernel} {
  %y = nag.linear %x, %w : (tensor<0x16xf32>, tensor<8x16xf32>) -> tensor<0x8xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<0x8xf32>, tensor<0x8xf32>) -> tensor<0x8xf32>
  return %0 : tensor<0x8xf32>
}

// CHECK-LABEL: gpu.func @f32
// CHECK-SAME:    nag.schedule = #nag.schedule<gemm, tile = [32, 32, 16], warps = [2, 1], stages = 3>
// CHECK:         nvvm.cp.async.shared.global %{{.*}}, %{{.*}}, 16, cache =  cg
// CHECK:         llvm.intr.fma
// CHECK-NOT:     nvvm.mma.sync
// CHECK:         gpu.return

// TF32-LABEL: gpu.func @f32
// TF32:         nvvm.ldmatrix
// TF32:         nvvm.convert.float.to.tf32 %{{.*}} {rnd = #nvvm.fp_rnd_mode<rna>}
// TF32:         nvvm.mma.sync
// TF32-SAME:    multiplicandAPtxType = #nvvm.mma_type<tf32>
// TF32-SAME:    shape = #nvvm.shape<m = 16, n = 8, k = 8>

// CHECK-LABEL: gpu.func @forward
// CHECK-SAME:    nag.schedule = #nag.schedule<gemm, tile = [64, 64, 32], warps = [2, 2], stages = 3>
// CHECK:         scf.for
// CHECK:           nvvm.cp.async.wait.group 1
// CHECK:           gpu.barrier
// CHECK:           nvvm.cp.async.shared.global %{{.*}}, %{{.*}}, 16, cache =  cg
// CHECK:           nvvm.cp.async.commit.group
// CHECK:           nvvm.ldmatrix %{{.*}} {{{.*}}layout = #nvvm.mma_layout<row>, num = 4 : i32
// CHECK:           nvvm.mma.sync
// CHECK-SAME:      multiplicandAPtxType = #nvvm.mma_type<bf16>
// CHECK-SAME:      shape = #nvvm.shape<m = 16, n = 8, k = 16>

// The weight is read as (in, out): transposed on its way to registers.
// CHECK-LABEL: gpu.func @input_gradient
// CHECK-DAG:     nvvm.ldmatrix %{{.*}} {{{.*}}layout = #nvvm.mma_layout<row>
// CHECK-DAG:     nvvm.ldmatrix %{{.*}} {{{.*}}layout = #nvvm.mma_layout<col>

// CHECK-LABEL: gpu.func @weight_gradient
// CHECK-NOT:     layout = #nvvm.mma_layout<row>, num
// CHECK:         nvvm.ldmatrix %{{.*}} {{{.*}}layout = #nvvm.mma_layout<col>

// CHECK-LABEL: gpu.func @odd
// CHECK-NOT:     nvvm.cp.async.shared.global
// CHECK:         llvm.load %{{.*}} {alignment = 2 : i64} : !llvm.ptr<1> -> i16
// CHECK:         llvm.store %{{.*}}, %{{.*}} {alignment = 2 : i64} : i16, !llvm.ptr<3>
// CHECK:         gpu.return

// All blocks of a tile but the last that comes store their parts, for which
// that one waits; its own stays in registers.
// CHECK-LABEL: gpu.func @split
// CHECK:         %[[BEFORE:.*]] = llvm.atomicrmw uinc_wrap %{{.*}}, %c3_i32{{.*}} syncscope("device") monotonic
// CHECK:         llvm.store %[[BEFORE]]
// CHECK:         gpu.barrier
// CHECK:         %[[IS_OTHER:.*]] = arith.cmpi ult, %{{.*}}, %c3_i32
// CHECK:         scf.if %[[IS_OTHER]]
// CHECK-COUNT-4:   llvm.store %{{.*}}, %{{.*}} {alignment = 16 : i64} : vector<4xf32>, !llvm.ptr<1>
// CHECK:           gpu.barrier
// CHECK:           llvm.fence syncscope("device") acq_rel
// CHECK:           llvm.atomicrmw add
// CHECK:         } else {
// CHECK:           scf.while
// CHECK:             arith.cmpi ult, %{{.*}}, %c3_i32
// CHECK:           llvm.fence syncscope("device") acq_rel
// CHECK:           llvm.atomicrmw xchg
// CHECK:           gpu.barrier
// CHECK:           scf.for %{{.*}} = %c1_i32{{.*}} to %c4_i32
// CHECK:             %[[IS_OWN:.*]] = arith.cmpi ult, %{{.*}}, %c1_i32
// CHECK-NEXT:        scf.if %[[IS_OWN]] -> (vector<4xf32>
// CHECK-NEXT:          scf.yield
// CHECK-NEXT:        } else {
// CHECK-COUNT-4:       llvm.load %{{.*}} {alignment = 16 : i64} : !llvm.ptr<1> -> vector<4xf32>
// CHECK-COUNT-4:     arith.addf

// CHECK-LABEL: gpu.func @counted
// CHECK-DAG:     %[[TILES:.*]] = arith.ceildivui %[[COUNT:.*]], %c16_i32
// CHECK-DAG:     %[[LONG:.*]] = arith.divui %[[COUNT]], %c96_i32
// CHECK:         %[[SOME:.*]] = arith.maxui %[[LONG]], %c1_i32
// CHECK:         %[[PARTS:.*]] = arith.minui %[[SOME]], %c4_i32
// CHECK:         arith.ceildivui %[[TILES]], %[[PARTS]]
// CHECK:         arith.cmpi ult, %{{.*}}, %[[PARTS]]
// CHECK:         scf.for
// CHECK:         %[[OTHERS:.*]] = arith.addi %[[PARTS]], %c-1_i32
// CHECK:         llvm.atomicrmw uinc_wrap %{{.*}}, %[[OTHERS]]
// CHECK:         scf.for %{{.*}} = %c1_i32{{.*}} to %[[PARTS]]

// CHECK-LABEL: gpu.func @narrow
// CHECK:         %[[COLUMNS:.*]] = arith.cmpi ult, %{{.*}}, %c32_i32
// CHECK:         scf.for
// CHECK:           nvvm.cp.async.wait.group
// CHECK:           scf.if %[[COLUMNS]] -> (f32,
// CHECK:             llvm.intr.fma
// CHECK:           } else {
// CHECK-NEXT:        scf.yield

// CHECK-LABEL: gpu.func @fused
// CHECK:         arith.mulf
// CHECK:         gpu.return

// CHECK-LABEL: gpu.func @joined
// CHECK:         %[[BLOCK:.*]] = arith.index_cast %{{.*}} : index to i32
// CHECK:         arith.cmpi ult, %[[BLOCK]], %c2_i32
// CHECK:         scf.if
// CHECK:         arith.addi %[[BLOCK]], %c-2_i32
// CHECK:         scf.if

// The tiles of the first product are read before those of the second arrive.
// CHECK-LABEL: gpu.func @summed
// CHECK:         %[[SUMS:.*]]:{{[0-9]+}} = scf.for
// CHECK:         gpu.barrier
// CHECK:         scf.for {{.*}} = %[[SUMS]]#
// CHECK:         gpu.return

// Eight lanes hold a row; the one with the first column stores the gate.
// CHECK-LABEL: gpu.func @gated
// CHECK:         gpu.shuffle xor
// CHECK:         math.exp
// CHECK:         gpu.return
