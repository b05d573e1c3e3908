// RUN: nag-opt %s -nag-assign-schedules | FileCheck %s
// RUN: nag-opt %s -nag-assign-schedules=chip=sm_90a | FileCheck %s --check-prefix=HOPPER
// RUN: nag-opt %s -nag-assign-schedules -convert-nag-to-gpu > %t.assigned
// RUN: nag-opt %s -convert-nag-to-gpu > %t.asked
// RUN: diff %t.assigned %t.asked

// RUN: echo '{"chip": "sm_80", "kernels": {"large": {"family": "gemm", "tile": [64, 128, 32], "warps": [2, 2], "stages": 4},' > %t.json
// RUN: echo ' "several": [null, {"family": "rows", "threads": 16, "rows": 2, "width": 1}]}}' >> %t.json
// RUN: nag-opt %s -nag-assign-schedules=file=%t.json | FileCheck %s --check-prefix=FILE

// Many tiles: the largest.
// CHECK-LABEL: func.func @large
// CHECK:         nag.linear {{.*}}{nag.schedule = #nag.schedule<gemm, tile = [128, 256, 32], warps = [2, 4], stages = 3>}
// HOPPER-LABEL: func.func @large
// HOPPER:        nag.linear {{.*}}{nag.schedule = #nag.schedule<gemm
// FILE-LABEL:  func.func @large
// FILE:          nag.linear {{.*}}{nag.schedule = #nag.schedule<gemm, tile = [64, 128, 32], warps = [2, 2], stages = 4>}
func.func @large(%x: tensor<4096x4096xbf16>, %w: tensor<4096x4096xbf16>, %out: tensor<4096x4096xbf16>)
    -> tensor<4096x4096xbf16> attributes {nag.kernel} {
  %y = nag.linear %x, %w : (tensor<4096x4096xbf16>, tensor<4096x4096xbf16>) -> tensor<4096x4096xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<4096x4096xbf16>, tensor<4096x4096xbf16>) -> tensor<4096x4096xbf16>
  return %0 : tensor<4096x4096xbf16>
}

// A small result with a long sum: split.
// CHECK-LABEL: func.func @gradient
// CHECK:         nag.weight_grad {{.*}}split_k =
func.func @gradient(%dy: tensor<65536x128xf32>, %x: tensor<65536x32xf32>, %out: tensor<128x32xf32>)
    -> tensor<128x32xf32> attributes {nag.kernel} {
  %y = nag.weight_grad %dy, %x : (tensor<65536x128xf32>, tensor<65536x32xf32>) -> tensor<128x32xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<128x32xf32>, tensor<128x32xf32>) -> tensor<128x32xf32>
  return %0 : tensor<128x32xf32>
}

// A schedule given by hand stays, and goes on to the op.
// CHECK-LABEL: func.func @given
// CHECK:         nag.linear {{.*}}{nag.schedule = #nag.schedule<gemm, tile = [32, 32, 16], warps = [2, 1], stages = 2>}
func.func @given(%x: tensor<64x64xf32>, %w: tensor<64x64xf32>, %out: tensor<64x64xf32>) -> tensor<64x64xf32>
    attributes {nag.kernel, nag.schedule = #nag.schedule<gemm, tile = [32, 32, 16], warps = [2, 1], stages = 2>} {
  %y = nag.linear %x, %w : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
  return %0 : tensor<64x64xf32>
}

// Attention and its gradient.
// CHECK-LABEL: func.func @attention
// CHECK:         nag.attention {{.*}}nag.schedule = #nag.schedule<attention, tile = [64, 64], warps = 4>
// CHECK:         nag.attention_vjp {{.*}}nag.schedule = #nag.schedule<attention_vjp, key_tile = [64, 64], key_warps = 4, query_tile = [64, 64], query_warps = 4>
func.func @attention(%q: tensor<2x128x128xbf16>, %d: tensor<2x128x128xbf16>, %o: tensor<2x128x128xbf16>, %l: tensor<2x2x128xf32>,
    %dq: tensor<2x128x128xbf16>, %dk: tensor<2x128x128xbf16>, %dv: tensor<2x128x128xbf16>)
    -> (tensor<2x128x128xbf16>, tensor<2x2x128xf32>, tensor<2x128x128xbf16>, tensor<2x128x128xbf16>, tensor<2x128x128xbf16>)
    attributes {nag.kernel} {
  %y, %lse = nag.attention %q, %q, %q {heads = 2, kv_heads = 2}
      : (tensor<2x128x128xbf16>, tensor<2x128x128xbf16>, tensor<2x128x128xbf16>) -> (tensor<2x128x128xbf16>, tensor<2x2x128xf32>)
  %a, %b, %c = nag.attention_vjp %q, %q, %q, %y, %lse, %d {heads = 2, kv_heads = 2}
      : (tensor<2x128x128xbf16>, tensor<2x128x128xbf16>, tensor<2x128x128xbf16>, tensor<2x128x128xbf16>, tensor<2x2x128xf32>, tensor<2x128x128xbf16>)
      -> (tensor<2x128x128xbf16>, tensor<2x128x128xbf16>, tensor<2x128x128xbf16>)
  %0 = bufferization.materialize_in_destination %y in %o : (tensor<2x128x128xbf16>, tensor<2x128x128xbf16>) -> tensor<2x128x128xbf16>
  %1 = bufferization.materialize_in_destination %lse in %l : (tensor<2x2x128xf32>, tensor<2x2x128xf32>) -> tensor<2x2x128xf32>
  %2 = bufferization.materialize_in_destination %a in %dq : (tensor<2x128x128xbf16>, tensor<2x128x128xbf16>) -> tensor<2x128x128xbf16>
  %3 = bufferization.materialize_in_destination %b in %dk : (tensor<2x128x128xbf16>, tensor<2x128x128xbf16>) -> tensor<2x128x128xbf16>
  %4 = bufferization.materialize_in_destination %c in %dv : (tensor<2x128x128xbf16>, tensor<2x128x128xbf16>) -> tensor<2x128x128xbf16>
  return %0, %1, %2, %3, %4 : tensor<2x128x128xbf16>, tensor<2x2x128xf32>, tensor<2x128x128xbf16>, tensor<2x128x128xbf16>, tensor<2x128x128xbf16>
}

// A product, and row-wise ops of other rows behind it: a schedule each.
// CHECK-LABEL: func.func @several
// CHECK:         nag.linear {{.*}}nag.schedule = #nag.schedule<gemm
// CHECK:         nag.relu2 {{.*}}{nag.schedule = #nag.schedule<rows, threads = 16, rows = 2, width = 4>}
// FILE-LABEL:  func.func @several
// FILE:          nag.linear {{.*}}nag.schedule = #nag.schedule<gemm
// FILE:          nag.relu2 {{.*}}{nag.schedule = #nag.schedule<rows, threads = 16, rows = 2, width = 1>}
func.func @several(%x: tensor<64x64xf32>, %w: tensor<64x64xf32>, %z: tensor<8x64xf32>, %out: tensor<64x64xf32>, %other: tensor<8x64xf32>)
    -> (tensor<64x64xf32>, tensor<8x64xf32>) attributes {nag.kernel} {
  %y = nag.linear %x, %w : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
  %r = nag.relu2 %z : (tensor<8x64xf32>) -> tensor<8x64xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
  %1 = bufferization.materialize_in_destination %r in %other : (tensor<8x64xf32>, tensor<8x64xf32>) -> tensor<8x64xf32>
  return %0, %1 : tensor<64x64xf32>, tensor<8x64xf32>
}
