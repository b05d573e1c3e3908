// RUN: nag-opt %s --convert-nag-to-gpu | FileCheck %s
// RUN: nag-opt %s --convert-nag-to-gpu | FileCheck %s --check-prefix=REGISTERS
// RUN: nag-opt %s --convert-nag-to-gpu | FileCheck %s --check-prefix=ROUTED
// RUN: nag-opt %s --nag-gpu-kernels | FileCheck %s --check-prefix=DEVICE

// One block per tile of queries, head and sequence: 2 tiles of 64, 4 heads, 2 sequences.
// CHECK-LABEL: func.func @forward
// CHECK-DAG: %[[BLOCKS:.*]] = arith.constant 16 : index
// CHECK-DAG: %[[THREADS:.*]] = arith.constant 128 : index
// CHECK: gpu.launch_func @device::@forward blocks in (%[[BLOCKS]], %{{.*}}, %{{.*}}) threads in (%[[THREADS]],
// CHECK-NOT: gpu.launch_func
func.func @forward(%q: tensor<2x100x128xf32>, %k: tensor<2x100x64xf32>, %v: tensor<2x100x64xf32>, %o: tensor<2x100x128xf32>,
    %lse: tensor<2x4x100xf32>) attributes {nag.kernel} {
  %r, %s = nag.attention %q, %k, %v {heads = 4, kv_heads = 2, nag.schedule = #nag.schedule<attention, tile = [64, 64], warps = 4>}
      : (tensor<2x100x128xf32>, tensor<2x100x64xf32>, tensor<2x100x64xf32>) -> (tensor<2x100x128xf32>, tensor<2x4x100xf32>)
  %0 = bufferization.materialize_in_destination %r in %o : (tensor<2x100x128xf32>, tensor<2x100x128xf32>) -> tensor<2x100x128xf32>
  %1 = bufferization.materialize_in_destination %s in %lse : (tensor<2x4x100xf32>, tensor<2x4x100xf32>) -> tensor<2x4x100xf32>
  return
}

// One block per tile of queries and head, 16, which leave the sums <result, result_grad>, and then one per tile of keys and key-value head,
// 8, which wait for them. Nothing is T x T.
// CHECK-LABEL: func.func @backward
// CHECK: gpu.alloc () : memref<2x4x100xf32>
// CHECK-NOT: gpu.alloc
// CHECK: gpu.launch_func @device::@backward blocks in (%c24{{[^)]*}}) threads in (%c128
// CHECK-NEXT: return
func.func @backward(%q: tensor<2x100x128xf32>, %k: tensor<2x100x64xf32>, %v: tensor<2x100x64xf32>, %o: tensor<2x100x128xf32>,
    %lse: tensor<2x4x100xf32>, %do: tensor<2x100x128xf32>, %dq: tensor<2x100x128xf32>, %dk: tensor<2x100x64xf32>,
    %dv: tensor<2x100x64xf32>) attributes {nag.kernel} {
  %r:3 = nag.attention_vjp %q, %k, %v, %o, %lse, %do {heads = 4, kv_heads = 2, window = 9,
      nag.schedule = #nag.schedule<attention_vjp, key_tile = [64, 64], key_warps = 4, query_tile = [64, 64], query_warps = 4>}
      : (tensor<2x100x128xf32>, tensor<2x100x64xf32>, tensor<2x100x64xf32>, tensor<2x100x128xf32>, tensor<2x4x100xf32>, tensor<2x100x128xf32>)
      -> (tensor<2x100x128xf32>, tensor<2x100x64xf32>, tensor<2x100x64xf32>)
  %0 = bufferization.materialize_in_destination %r#0 in %dq : (tensor<2x100x128xf32>, tensor<2x100x128xf32>) -> tensor<2x100x128xf32>
  %1 = bufferization.materialize_in_destination %r#1 in %dk : (tensor<2x100x64xf32>, tensor<2x100x64xf32>) -> tensor<2x100x64xf32>
  %2 = bufferization.materialize_in_destination %r#2 in %dv : (tensor<2x100x64xf32>, tensor<2x100x64xf32>) -> tensor<2x100x64xf32>
  return
}

// Blocks of other sizes have launches of their own.
// CHECK-LABEL: func.func @apart
// CHECK: gpu.launch_func @device::@apart_query blocks in (%{{[^)]*}}) threads in (%c64
// CHECK: gpu.launch_func @device::@apart_key blocks in (%{{[^)]*}}) threads in (%c128
// CHECK-NEXT: return
func.func @apart(%q: tensor<2x100x128xf32>, %k: tensor<2x100x64xf32>, %v: tensor<2x100x64xf32>, %o: tensor<2x100x128xf32>,
    %lse: tensor<2x4x100xf32>, %do: tensor<2x100x128xf32>, %dq: tensor<2x100x128xf32>, %dk: tensor<2x100x64xf32>,
    %dv: tensor<2x100x64xf32>) attributes {nag.kernel} {
  %r:3 = nag.attention_vjp %q, %k, %v, %o, %lse, %do {heads = 4, kv_heads = 2, window = 9,
      nag.schedule = #nag.schedule<attention_vjp, key_tile = [64, 64], key_warps = 4, query_tile = [32, 64], query_warps = 2>}
      : (tensor<2x100x128xf32>, tensor<2x100x64xf32>, tensor<2x100x64xf32>, tensor<2x100x128xf32>, tensor<2x4x100xf32>, tensor<2x100x128xf32>)
      -> (tensor<2x100x128xf32>, tensor<2x100x64xf32>, tensor<2x100x64xf32>)
  %0 = bufferization.materialize_in_destination %r#0 in %dq : (tensor<2x100x128xf32>, tensor<2x100x128xf32>) -> tensor<2x100x128xf32>
  %1 = bufferization.materialize_in_destination %r#1 in %dk : (tensor<2x100x64xf32>, tensor<2x100x64xf32>) -> tensor<2x100x64xf32>
  %2 = bufferization.materialize_in_destination %r#2 in %dv : (tensor<2x100x64xf32>, tensor<2x100x64xf32>) -> tensor<2x100x64xf32>
  return
}

// The running softmax: base 2, and no function of a library.
// DEVICE: gpu.module @device
// DEVICE: llvm.func @forward(
// DEVICE-NOT: llvm.call @
// DEVICE: llvm.nvvm.ex2.approx
// DEVICE-NOT: atomic
// DEVICE: llvm.func @backward(
// DEVICE: llvm.atomicrmw uinc_wrap

// On tensor cores a block of 256 threads leaves registers for a second one; f32 products have all that there are.
// REGISTERS: gpu.func @forward({{.*}}nvvm.minctasm = 1 : i32
// REGISTERS: gpu.func @two_blocks({{.*}}nvvm.minctasm = 2 : i32
func.func @two_blocks(%q: tensor<2x256x128xbf16>, %o: tensor<2x256x128xbf16>, %lse: tensor<2x4x256xf32>) attributes {nag.kernel} {
  %r, %s = nag.attention %q, %q, %q {heads = 4, kv_heads = 4, nag.schedule = #nag.schedule<attention, tile = [128, 64], warps = 8>}
      : (tensor<2x256x128xbf16>, tensor<2x256x128xbf16>, tensor<2x256x128xbf16>) -> (tensor<2x256x128xbf16>, tensor<2x4x256xf32>)
  %0 = bufferization.materialize_in_destination %r in %o : (tensor<2x256x128xbf16>, tensor<2x256x128xbf16>) -> tensor<2x256x128xbf16>
  %1 = bufferization.materialize_in_destination %s in %lse : (tensor<2x4x256xf32>, tensor<2x4x256xf32>) -> tensor<2x4x256xf32>
  return
}

// Of routed queries a sequence may have few in its last tile: then half of its columns are multiplied, and its sums end with them.
// ROUTED-LABEL: gpu.func @routed
// ROUTED: %[[MORE:.*]] = arith.cmpi ugt, %[[LEFT:.*]], %c32_i32
// ROUTED-NEXT: scf.if %[[MORE]] -> (f32,
// ROUTED: } else {
// ROUTED: arith.minsi %[[LEFT]], %c64_i32
func.func @routed(%q: tensor<96x128xf32>, %k: tensor<2x64x128xf32>, %o: tensor<96x128xf32>, %lse: tensor<4x96xf32>, %do: tensor<96x128xf32>,
    %i: tensor<96xi32>, %n: tensor<3xi32>, %dq: tensor<96x128xf32>, %dk: tensor<2x64x128xf32>, %dv: tensor<2x64x128xf32>) attributes {nag.kernel} {
  %r:3 = nag.attention_vjp %q, %k, %k, %o, %lse, %do, %i, %n {heads = 4, kv_heads = 4,
      nag.schedule = #nag.schedule<attention_vjp, key_tile = [64, 64], key_warps = 4, query_tile = [64, 16], query_warps = 4>}
      : (tensor<96x128xf32>, tensor<2x64x128xf32>, tensor<2x64x128xf32>, tensor<96x128xf32>, tensor<4x96xf32>, tensor<96x128xf32>, tensor<96xi32>, tensor<3xi32>)
      -> (tensor<96x128xf32>, tensor<2x64x128xf32>, tensor<2x64x128xf32>)
  %0 = bufferization.materialize_in_destination %r#0 in %dq : (tensor<96x128xf32>, tensor<96x128xf32>) -> tensor<96x128xf32>
  %1 = bufferization.materialize_in_destination %r#1 in %dk : (tensor<2x64x128xf32>, tensor<2x64x128xf32>) -> tensor<2x64x128xf32>
  %2 = bufferization.materialize_in_destination %r#2 in %dv : (tensor<2x64x128xf32>, tensor<2x64x128xf32>) -> tensor<2x64x128xf32>
  return
}
