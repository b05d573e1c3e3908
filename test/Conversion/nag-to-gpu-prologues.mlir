// RUN: nag-opt %s -convert-nag-to-gpu | FileCheck %s
// RUN: nag-opt %s -convert-nag-to-gpu | FileCheck %s --check-prefix=CODE
// RUN: nag-opt %s -nag-assign-schedules=remarks -o /dev/null 2>&1 | FileCheck %s --check-prefix=KEY

// Multiply-adds: each thread changes in shared memory what it has copied, before all meet. No launch makes the operand.
// CHECK-LABEL: func.func @f32
// CHECK-SAME:    (%[[Z:.*]]: memref<32x64xf32>, %[[W:.*]]: memref<32x64xf32>, %[[Y:.*]]: memref<32x32xf32>)
// CHECK:         gpu.launch_func @device::@f32
// CHECK-SAME:      args(%[[Z]] : memref<32x64xf32>, %[[W]] : memref<32x64xf32>, %[[Y]] : memref<32x32xf32>)
// CHECK-NEXT:    return
// CODE-LABEL:    gpu.func @f32
// CODE:          scf.for
// CODE:          nvvm.cp.async.wait.group
// CODE:          llvm.load %[[UNIT:.*]] {alignment = 16 : i64} : !llvm.ptr<3> -> vector<4xf32>
// CODE-COUNT-4:  arith.mulf
// CODE:          llvm.store %{{.*}}, %[[UNIT]] {alignment = 16 : i64} : vector<4xf32>, !llvm.ptr<3>
// CODE:          gpu.barrier
// CODE:          llvm.intr.fma
// KEY:           remark: 'gemm (relu2 as loaded) linear: 2 32x64xf32 -> 32x32xf32'
func.func @f32(%z: tensor<32x64xf32>, %w: tensor<32x64xf32>, %out: tensor<32x32xf32>) -> tensor<32x32xf32>
    attributes {nag.kernel, nag.schedule = #nag.schedule<gemm, tile = [32, 32, 16], warps = [2, 1], stages = 3>} {
  %h = nag.relu2 %z : (tensor<32x64xf32>) -> tensor<32x64xf32>
  %y = nag.linear %h, %w : (tensor<32x64xf32>, tensor<32x64xf32>) -> tensor<32x32xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<32x32xf32>, tensor<32x32xf32>) -> tensor<32x32xf32>
  return %0 : tensor<32x32xf32>
}

// Tensor cores: on fragments, and two elements at a time where bf16 has what f32 would give, rounded.
// CHECK-LABEL: func.func @bf16
// CODE-LABEL:    gpu.func @bf16
// CODE:          scf.for
// CODE:          nvvm.cp.async.wait.group
// CODE-NOT:      llvm.load
// CODE:          gpu.barrier
// CODE:          nvvm.ldmatrix
// CODE:          %[[PAIR:.*]] = llvm.bitcast %{{.*}} : i32 to vector<2xbf16>
// CODE:          %[[MAX:.*]] = arith.maximumf %[[PAIR]], %{{.*}} : vector<2xbf16>
// CODE-NEXT:     arith.mulf %[[MAX]], %[[MAX]] : vector<2xbf16>
// CODE:          nvvm.mma.sync
func.func @bf16(%z: tensor<64x64xbf16>, %w: tensor<32x64xbf16>, %out: tensor<64x32xbf16>) -> tensor<64x32xbf16>
    attributes {nag.kernel, nag.schedule = #nag.schedule<gemm, tile = [32, 32, 32], warps = [1, 1], stages = 2>} {
  %h = nag.relu2 %z : (tensor<64x64xbf16>) -> tensor<64x64xbf16>
  %y = nag.linear %h, %w : (tensor<64x64xbf16>, tensor<32x64xbf16>) -> tensor<64x32xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<64x32xbf16>, tensor<64x32xbf16>) -> tensor<64x32xbf16>
  return %0 : tensor<64x32xbf16>
}

// Scalars of rows are read where the rows are changed, in shared memory.
// CHECK-LABEL: func.func @scaled
// CODE-LABEL:    gpu.func @scaled
// CODE:          scf.for
// CODE:          nvvm.cp.async.wait.group
// CODE:          llvm.load %{{.*}} {alignment = 4 : i64} : !llvm.ptr<1> -> f32
// CODE:          llvm.load %[[UNIT:.*]] {alignment = 16 : i64} : !llvm.ptr<3> -> vector<8xbf16>
// CODE:          llvm.store %{{.*}}, %[[UNIT]] {alignment = 16 : i64} : vector<8xbf16>, !llvm.ptr<3>
// CODE:          gpu.barrier
func.func @scaled(%x: tensor<64x32xbf16>, %d: tensor<64x32xbf16>, %a: tensor<64xf32>, %out: tensor<32x32xf32>) -> tensor<32x32xf32>
    attributes {nag.kernel, nag.schedule = #nag.schedule<gemm, tile = [32, 32, 32], warps = [1, 1], stages = 2>} {
  %h = nag.row_combine %x by %a : (tensor<64x32xbf16>, tensor<64xf32>) -> tensor<64x32xbf16>
  %y = nag.weight_grad %d, %h : (tensor<64x32xbf16>, tensor<64x32xbf16>) -> tensor<32x32xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<32x32xf32>, tensor<32x32xf32>) -> tensor<32x32xf32>
  return %0 : tensor<32x32xf32>
}

// What others read is made for them, and for them alone.
// CHECK-LABEL: func.func @stored
// CHECK:         gpu.launch_func @device::@stored
// CHECK:         gpu.launch_func @device::@stored
// CHECK-NEXT:    return
func.func @stored(%z: tensor<32x64xf32>, %w: tensor<32x64xf32>, %a: tensor<32x64xf32>, %b: tensor<32x32xf32>)
    -> (tensor<32x64xf32>, tensor<32x32xf32>) attributes {nag.kernel} {
  %h = nag.relu2 %z : (tensor<32x64xf32>) -> tensor<32x64xf32>
  %y = nag.linear %h, %w : (tensor<32x64xf32>, tensor<32x64xf32>) -> tensor<32x32xf32>
  %0 = bufferization.materialize_in_destination %h in %a : (tensor<32x64xf32>, tensor<32x64xf32>) -> tensor<32x64xf32>
  %1 = bufferization.materialize_in_destination %y in %b : (tensor<32x32xf32>, tensor<32x32xf32>) -> tensor<32x32xf32>
  return %0, %1 : tensor<32x64xf32>, tensor<32x32xf32>
}
