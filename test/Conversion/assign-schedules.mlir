// RUN: nag-opt %s -nag-assign-schedules | FileCheck %s
// RUN: nag-opt %s -nag-assign-schedules=chip=sm_90a | FileCheck %s --check-prefix=HOPPER
// RUN: nag-opt %s -nag-assign-schedules=remarks=true -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK
// RUN: nag-opt %s -nag-assign-schedules -convert-nag-to-gpu > %t.assigned
// RUN: nag-opt %s -convert-nag-to-gpu > %t.asked
// RUN: diff %t.assigned %t.asked

// A file names launches by their ops and types: it serves every kernel that has them.
// RUN: echo '{"chip": "sm_80", "kernels": {' > %t.json
// RUN: echo ' "gemm linear: 2 4096x4096xbf16 -> 4096x4096xbf16": {"family": "gemm", "tile": [64, 128, 32], "warps": [2, 2], "stages": 4},' >> %t.json
// RUN: echo ' "rows relu2: 8x64xf32 -> 8x64xf32": {"family": "rows", "threads": 16, "rows": 2, "width": 1}}}' >> %t.json
// RUN: nag-opt %s -nag-assign-schedules=file=%t.json | FileCheck %s --check-prefix=FILE

// Many tiles: the largest.
// CHECK-LABEL: func.func @large
// CHECK:         nag.linear {{.*}}{nag.schedule = #nag.schedule<gemm, tile = [128, 256, 32], warps = [2, 4], stages = 3>}
// HOPPER-LABEL: func.func @large
// HOPPER:        nag.linear {{.*}}{nag.schedule = #nag.schedule<gemm
// FILE-LABEL:  func.func @large
// FILE:          nag.linear {{.*}}{nag.schedule = #nag.schedule<gemm, tile = [64, 128, 32], warps = [2, 2], stages = 4>}
// REMARK: remark: 'gemm linear: 2 4096x4096xbf16 -> 4096x4096xbf16': #nag.schedule<gemm, tile = [128, 256, 32], warps = [2, 4], stages = 3>:
// REMARK-SAME: the model's {{[0-9]+}} cycles, by units; 512 blocks, 1 at a time on a multiprocessor, 100663296 bytes of memory
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

// Parts of a split sum but one are written and read again, by one block for each tile: few of them, and small tiles.
// CHECK-LABEL: func.func @parts_of_sums
// CHECK:         nag.weight_grad {{.*}}{nag.schedule = #nag.schedule<gemm, tile = [32, 32, 16], warps = [2, 1], stages = 3, split_k = 8>}
// REMARK: remark: 'gemm weight_grad: 2 4096x256xf32 -> 256x256xf32': {{.*}}, 12320768 bytes of memory
func.func @parts_of_sums(%dy: tensor<4096x256xf32>, %x: tensor<4096x256xf32>, %out: tensor<256x256xf32>)
    -> tensor<256x256xf32> attributes {nag.kernel} {
  %y = nag.weight_grad %dy, %x : (tensor<4096x256xf32>, tensor<4096x256xf32>) -> tensor<256x256xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<256x256xf32>, tensor<256x256xf32>) -> tensor<256x256xf32>
  return %0 : tensor<256x256xf32>
}

// Others are done while the last block of a tile adds up: where the whole sum is not longer than that, it is not split.
// CHECK-LABEL: func.func @last_blocks
// CHECK:         nag.weight_grad {{.*}}{nag.schedule = #nag.schedule<gemm, tile = [64, 64, 32], warps = [2, 2], stages = 4>}
func.func @last_blocks(%dy: tensor<1024x512xbf16>, %x: tensor<1024x512xbf16>, %out: tensor<512x512xf32>)
    -> tensor<512x512xf32> attributes {nag.kernel} {
  %y = nag.weight_grad %dy, %x : (tensor<1024x512xbf16>, tensor<1024x512xbf16>) -> tensor<512x512xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<512x512xf32>, tensor<512x512xf32>) -> tensor<512x512xf32>
  return %0 : tensor<512x512xf32>
}

// Of terms that are counted at run time, as many parts as before for the quarter that is expected.
// CHECK-LABEL: func.func @expected_terms
// CHECK:         nag.weight_grad {{.*}}{nag.schedule = #nag.schedule<gemm, tile = [32, 32, 16], warps = [2, 1], stages = 3, split_k = 8>}
// REMARK: remark: 'gemm weight_grad: 2 4096x256xf32 -> 256x256xf32': {{.*}}; 512 blocks, {{.*}}, 6029312 bytes of memory
func.func @expected_terms(%dy: tensor<4096x256xf32>, %x: tensor<4096x256xf32>, %c: tensor<5xi32> {nag.row_count}, %out: tensor<256x256xf32>)
    -> tensor<256x256xf32> attributes {nag.kernel, nag.expected_share = 2.5e-1} {
  %y = nag.weight_grad %dy, %x : (tensor<4096x256xf32>, tensor<4096x256xf32>) -> tensor<256x256xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<256x256xf32>, tensor<256x256xf32>) -> tensor<256x256xf32>
  return %0 : tensor<256x256xf32>
}

// The same where other sums of the launch have all of their terms: operands of 8 and 2 MiB, results of 512 KiB, and, in and out, 7 parts and 1 of
// 256 KiB.
// CHECK-LABEL: func.func @some_expected_terms
// REMARK: remark: 'gemm 2 weight_grad: 4 4096x256xf32 -> 2 256x256xf32': {{.*}}, split_k = 8>: {{.*}}; 640 blocks, {{.*}}, 15204352 bytes of memory
func.func @some_expected_terms(%dy: tensor<4096x256xf32>, %x: tensor<4096x256xf32>, %dz: tensor<4096x256xf32>, %y: tensor<4096x256xf32>, %c: tensor<5xi32>,
    %out: tensor<256x256xf32>, %other: tensor<256x256xf32>) -> (tensor<256x256xf32>, tensor<256x256xf32>) attributes {nag.kernel, nag.expected_share = 2.5e-1} {
  %w = nag.weight_grad %dy, %x {nag.row_count = 4 : i64} : (tensor<4096x256xf32>, tensor<4096x256xf32>) -> tensor<256x256xf32>
  %v = nag.weight_grad %dz, %y : (tensor<4096x256xf32>, tensor<4096x256xf32>) -> tensor<256x256xf32>
  %0 = bufferization.materialize_in_destination %w in %out : (tensor<256x256xf32>, tensor<256x256xf32>) -> tensor<256x256xf32>
  %1 = bufferization.materialize_in_destination %v in %other : (tensor<256x256xf32>, tensor<256x256xf32>) -> tensor<256x256xf32>
  return %0, %1 : tensor<256x256xf32>, tensor<256x256xf32>
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
func.func @attention(%q: tensor<16x256x256xbf16>, %d: tensor<16x256x256xbf16>, %o: tensor<16x256x256xbf16>, %l: tensor<16x8x256xf32>,
    %dq: tensor<16x256x256xbf16>, %dk: tensor<16x256x256xbf16>, %dv: tensor<16x256x256xbf16>)
    -> (tensor<16x256x256xbf16>, tensor<16x8x256xf32>, tensor<16x256x256xbf16>, tensor<16x256x256xbf16>, tensor<16x256x256xbf16>)
    attributes {nag.kernel} {
  %y, %lse = nag.attention %q, %q, %q {heads = 8, kv_heads = 8}
      : (tensor<16x256x256xbf16>, tensor<16x256x256xbf16>, tensor<16x256x256xbf16>) -> (tensor<16x256x256xbf16>, tensor<16x8x256xf32>)
  %a, %b, %c = nag.attention_vjp %q, %q, %q, %y, %lse, %d {heads = 8, kv_heads = 8}
      : (tensor<16x256x256xbf16>, tensor<16x256x256xbf16>, tensor<16x256x256xbf16>, tensor<16x256x256xbf16>, tensor<16x8x256xf32>, tensor<16x256x256xbf16>)
      -> (tensor<16x256x256xbf16>, tensor<16x256x256xbf16>, tensor<16x256x256xbf16>)
  %0 = bufferization.materialize_in_destination %y in %o : (tensor<16x256x256xbf16>, tensor<16x256x256xbf16>) -> tensor<16x256x256xbf16>
  %1 = bufferization.materialize_in_destination %lse in %l : (tensor<16x8x256xf32>, tensor<16x8x256xf32>) -> tensor<16x8x256xf32>
  %2 = bufferization.materialize_in_destination %a in %dq : (tensor<16x256x256xbf16>, tensor<16x256x256xbf16>) -> tensor<16x256x256xbf16>
  %3 = bufferization.materialize_in_destination %b in %dk : (tensor<16x256x256xbf16>, tensor<16x256x256xbf16>) -> tensor<16x256x256xbf16>
  %4 = bufferization.materialize_in_destination %c in %dv : (tensor<16x256x256xbf16>, tensor<16x256x256xbf16>) -> tensor<16x256x256xbf16>
  return %0, %1, %2, %3, %4 : tensor<16x256x256xbf16>, tensor<16x8x256xf32>, tensor<16x256x256xbf16>, tensor<16x256x256xbf16>, tensor<16x256x256xbf16>
}

// A product, and row-wise ops of other rows behind it: a schedule each.
// CHECK-LABEL: func.func @several
// CHECK:         nag.linear {{.*}}nag.schedule = #nag.schedule<gemm
// CHECK:         nag.relu2 {{.*}}{nag.schedule = #nag.schedule<rows, threads = 16, rows = 4, width = 4>}
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

// Row-wise ops of several sets of rows in one launch; few rows of many elements, and many of few.
// CHECK-LABEL: func.func @parts
// CHECK:         nag.relu2 {{.*}}{nag.schedule = #nag.schedule<row_parts, threads = 64>}
// CHECK-NOT:     nag.schedule
// CHECK-LABEL: func.func @wide
// CHECK:         nag.rms_norm {{.*}}{nag.schedule = #nag.schedule<rows, threads = 256, rows = 1, width = 4>}
// CHECK-LABEL: func.func @narrow
// CHECK:         nag.rms_norm {{.*}}{nag.schedule = #nag.schedule<rows, threads = 8, rows = 16, width = 4>}
// REMARK: remark: 'row_parts 2 relu2: 8x64xf32, 5x48xf32 -> 8x64xf32, 5x48xf32': #nag.schedule<row_parts
func.func @parts(%x: tensor<8x64xf32>, %y: tensor<5x48xf32>, %a: tensor<8x64xf32>, %b: tensor<5x48xf32>)
    -> (tensor<8x64xf32>, tensor<5x48xf32>) attributes {nag.kernel} {
  %r = nag.relu2 %x : (tensor<8x64xf32>) -> tensor<8x64xf32>
  %s = nag.relu2 %y : (tensor<5x48xf32>) -> tensor<5x48xf32>
  %0 = bufferization.materialize_in_destination %r in %a : (tensor<8x64xf32>, tensor<8x64xf32>) -> tensor<8x64xf32>
  %1 = bufferization.materialize_in_destination %s in %b : (tensor<5x48xf32>, tensor<5x48xf32>) -> tensor<5x48xf32>
  return %0, %1 : tensor<8x64xf32>, tensor<5x48xf32>
}
func.func @wide(%x: tensor<4x2048xf32>, %out: tensor<4x2048xf32>) -> tensor<4x2048xf32> attributes {nag.kernel} {
  %y = nag.rms_norm %x : (tensor<4x2048xf32>) -> tensor<4x2048xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<4x2048xf32>, tensor<4x2048xf32>) -> tensor<4x2048xf32>
  return %0 : tensor<4x2048xf32>
}
func.func @narrow(%x: tensor<8192x64xf32>, %out: tensor<8192x64xf32>) -> tensor<8192x64xf32> attributes {nag.kernel} {
  %y = nag.rms_norm %x : (tensor<8192x64xf32>) -> tensor<8192x64xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8192x64xf32>, tensor<8192x64xf32>) -> tensor<8192x64xf32>
  return %0 : tensor<8192x64xf32>
}

// Both gradients of the logits: the sum over 32768 would take much longer than the others over 768, so it is split.
// CHECK-LABEL: func.func @of_logits
// CHECK:         nag.linear {{.*}}nag.schedule = #nag.schedule<gemm, tile = [{{.*}}], warps = [{{.*}}], stages = 3, split_k = {{(8|16|32|64)}}>
// HOPPER-LABEL: func.func @of_logits
// HOPPER:        nag.linear {{.*}}nag.schedule = #nag.schedule<gemm, tile = [{{.*}}], warps = [{{.*}}], stages = 3, split_k = {{(8|16|32|64)}}>
func.func @of_logits(%dy: tensor<768x32768xf32>, %w: tensor<32768x256xf32>, %x: tensor<768x256xf32>, %dx: tensor<768x256xf32>,
                     %dw: tensor<32768x256xf32>) -> (tensor<768x256xf32>, tensor<32768x256xf32>) attributes {nag.kernel} {
  %a = nag.linear %dy, %w {transpose_weight} : (tensor<768x32768xf32>, tensor<32768x256xf32>) -> tensor<768x256xf32>
  %b = nag.weight_grad %dy, %x : (tensor<768x32768xf32>, tensor<768x256xf32>) -> tensor<32768x256xf32>
  %0 = bufferization.materialize_in_destination %a in %dx : (tensor<768x256xf32>, tensor<768x256xf32>) -> tensor<768x256xf32>
  %1 = bufferization.materialize_in_destination %b in %dw : (tensor<32768x256xf32>, tensor<32768x256xf32>) -> tensor<32768x256xf32>
  return %0, %1 : tensor<768x256xf32>, tensor<32768x256xf32>
}

// The gradient of an embedding: tables of few rows are searched, others sorted for.
// CHECK-LABEL: func.func @bytes
// CHECK:         nag.embedding_vjp {{.*}}nag.schedule = #nag.schedule<embedding_vjp, threads = {{[0-9]+}}, sort = 0>
// CHECK-LABEL: func.func @words
// CHECK:         nag.embedding_vjp {{.*}}nag.schedule = #nag.schedule<embedding_vjp, threads = 256, sort = 1>
func.func @bytes(%t: tensor<2x300xi32>, %dy: tensor<2x300x8xf32>, %d: tensor<256x8xf32>) -> tensor<256x8xf32> attributes {nag.kernel} {
  %r = nag.embedding_vjp %t, %dy {rows = 256} : (tensor<2x300xi32>, tensor<2x300x8xf32>) -> tensor<256x8xf32>
  %0 = bufferization.materialize_in_destination %r in %d : (tensor<256x8xf32>, tensor<256x8xf32>) -> tensor<256x8xf32>
  return %0 : tensor<256x8xf32>
}
func.func @words(%t: tensor<8x1024xi32>, %dy: tensor<8x1024x64xf32>, %d: tensor<32768x64xf32>) -> tensor<32768x64xf32> attributes {nag.kernel} {
  %r = nag.embedding_vjp %t, %dy {rows = 32768} : (tensor<8x1024xi32>, tensor<8x1024x64xf32>) -> tensor<32768x64xf32>
  %0 = bufferization.materialize_in_destination %r in %d : (tensor<32768x64xf32>, tensor<32768x64xf32>) -> tensor<32768x64xf32>
  return %0 : tensor<32768x64xf32>
}

// Of routed queries half as many stand in a tile's span: tiles of less columns leave less of them unseen.
// CHECK-LABEL: func.func @routed_attention
// CHECK:         nag.attention {{.*}}nag.schedule = #nag.schedule<attention, tile = [16, 32], warps = 2>
// CHECK-LABEL: func.func @same_attention
// CHECK:         nag.attention {{.*}}nag.schedule = #nag.schedule<attention, tile = [16, 64], warps = 2>
func.func @routed_attention(%q: tensor<512x128xf32>, %k: tensor<4x256x128xf32>, %i: tensor<512xi32>, %r: tensor<5xi32>, %o: tensor<512x128xf32>, %l: tensor<4x512xf32>)
    -> (tensor<512x128xf32>, tensor<4x512xf32>) attributes {nag.kernel} {
  %y, %lse = nag.attention %q, %k, %k, %i, %r {heads = 4, kv_heads = 4}
      : (tensor<512x128xf32>, tensor<4x256x128xf32>, tensor<4x256x128xf32>, tensor<512xi32>, tensor<5xi32>) -> (tensor<512x128xf32>, tensor<4x512xf32>)
  %0 = bufferization.materialize_in_destination %y in %o : (tensor<512x128xf32>, tensor<512x128xf32>) -> tensor<512x128xf32>
  %1 = bufferization.materialize_in_destination %lse in %l : (tensor<4x512xf32>, tensor<4x512xf32>) -> tensor<4x512xf32>
  return %0, %1 : tensor<512x128xf32>, tensor<4x512xf32>
}
func.func @same_attention(%q: tensor<4x256x128xf32>, %k: tensor<4x256x128xf32>, %o: tensor<4x256x128xf32>, %l: tensor<4x4x256xf32>) -> (tensor<4x256x128xf32>, tensor<4x4x256xf32>) attributes {nag.kernel} {
  %y, %lse = nag.attention %q, %k, %k {heads = 4, kv_heads = 4} : (tensor<4x256x128xf32>, tensor<4x256x128xf32>, tensor<4x256x128xf32>) -> (tensor<4x256x128xf32>, tensor<4x4x256xf32>)
  %0 = bufferization.materialize_in_destination %y in %o : (tensor<4x256x128xf32>, tensor<4x256x128xf32>) -> tensor<4x256x128xf32>
  %1 = bufferization.materialize_in_destination %lse in %l : (tensor<4x4x256xf32>, tensor<4x4x256xf32>) -> tensor<4x4x256xf32>
  return %0, %1 : tensor<4x256x128xf32>, tensor<4x4x256xf32>
}

// Rows that are counted at run time: as many as are expected to count, else all of them.
// CHECK-LABEL: func.func @expected_attention
// CHECK:         nag.attention {{.*}}nag.schedule = #nag.schedule<attention, tile = [16, 32], warps = 2>
// CHECK-LABEL: func.func @counted_attention
// CHECK:         nag.attention {{.*}}nag.schedule = #nag.schedule<attention, tile = [16, 64], warps = 2>
func.func @expected_attention(%q: tensor<1024x128xf32>, %k: tensor<4x256x128xf32>, %i: tensor<1024xi32>, %r: tensor<5xi32> {nag.row_count}, %o: tensor<1024x128xf32>, %l: tensor<4x1024xf32>)
    -> (tensor<1024x128xf32>, tensor<4x1024xf32>) attributes {nag.kernel, nag.expected_share = 5.0e-1} {
  %y, %lse = nag.attention %q, %k, %k, %i, %r {heads = 4, kv_heads = 4}
      : (tensor<1024x128xf32>, tensor<4x256x128xf32>, tensor<4x256x128xf32>, tensor<1024xi32>, tensor<5xi32>) -> (tensor<1024x128xf32>, tensor<4x1024xf32>)
  %0 = bufferization.materialize_in_destination %y in %o : (tensor<1024x128xf32>, tensor<1024x128xf32>) -> tensor<1024x128xf32>
  %1 = bufferization.materialize_in_destination %lse in %l : (tensor<4x1024xf32>, tensor<4x1024xf32>) -> tensor<4x1024xf32>
  return %0, %1 : tensor<1024x128xf32>, tensor<4x1024xf32>
}
func.func @counted_attention(%q: tensor<1024x128xf32>, %k: tensor<4x256x128xf32>, %i: tensor<1024xi32>, %r: tensor<5xi32> {nag.row_count}, %o: tensor<1024x128xf32>, %l: tensor<4x1024xf32>)
    -> (tensor<1024x128xf32>, tensor<4x1024xf32>) attributes {nag.kernel} {
  %y, %lse = nag.attention %q, %k, %k, %i, %r {heads = 4, kv_heads = 4}
      : (tensor<1024x128xf32>, tensor<4x256x128xf32>, tensor<4x256x128xf32>, tensor<1024xi32>, tensor<5xi32>) -> (tensor<1024x128xf32>, tensor<4x1024xf32>)
  %0 = bufferization.materialize_in_destination %y in %o : (tensor<1024x128xf32>, tensor<1024x128xf32>) -> tensor<1024x128xf32>
  %1 = bufferization.materialize_in_destination %lse in %l : (tensor<4x1024xf32>, tensor<4x1024xf32>) -> tensor<4x1024xf32>
  return %0, %1 : tensor<1024x128xf32>, tensor<4x1024xf32>
}

// A new token per sequence, beside caches of 512 positions.
// CHECK-LABEL: func.func @cached
// CHECK:         nag.cached_attention {{.*}}nag.schedule = #nag.schedule<cached_attention, warps = {{[0-9]+}}>
func.func @cached(%q: tensor<1x2x64xf32>, %k: tensor<1x2x32xf32>, %c: tensor<2x512x32xf32>, %p: tensor<1x2xi32>, %out: tensor<1x2x64xf32>)
    -> tensor<1x2x64xf32> attributes {nag.kernel} {
  %o = nag.cached_attention %q, %k, %k, %c, %c, %p {heads = 4, kv_heads = 2}
      : (tensor<1x2x64xf32>, tensor<1x2x32xf32>, tensor<1x2x32xf32>, tensor<2x512x32xf32>, tensor<2x512x32xf32>, tensor<1x2xi32>) -> tensor<1x2x64xf32>
  %0 = bufferization.materialize_in_destination %o in %out : (tensor<1x2x64xf32>, tensor<1x2x64xf32>) -> tensor<1x2x64xf32>
  return %0 : tensor<1x2x64xf32>
}
