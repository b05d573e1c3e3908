// RUN: nag-opt %s --split-input-file --verify-diagnostics

func.func @c1_key(%q: memref<2x8x64xf32>, %k: memref<2x8x16xf32>, %lse: memref<2x4x8xf32>) {
  // expected-error @+1 {{(C1) expected 'key' of shape [2, 8, 32], but got [2, 8, 16]}}
  nag.stream_attention %q, %k, %k into %q, %lse {heads = 4, kv_heads = 2}
      : (memref<2x8x64xf32>, memref<2x8x16xf32>, memref<2x8x16xf32>, memref<2x8x64xf32>, memref<2x4x8xf32>)
      -> ()
  return
}

// -----

func.func @c1_heads(%q: memref<2x8x64xf32>, %lse: memref<2x4x8xf32>) {
  // expected-error @+1 {{(C1) expected 'query' of shape [B, T, heads*hd] with heads = 5, but got [2, 8, 64]}}
  nag.stream_attention %q, %q, %q into %q, %lse {heads = 5, kv_heads = 5}
      : (memref<2x8x64xf32>, memref<2x8x64xf32>, memref<2x8x64xf32>, memref<2x8x64xf32>, memref<2x4x8xf32>)
      -> ()
  return
}

// -----

func.func @c2_results(%q: tensor<2x8x64xf32>, %lse: tensor<2x4x8xf32>) {
  // expected-error @+1 {{(C2) expected 2 results of the outputs' types, but got 0}}
  nag.stream_attention %q, %q, %q into %q, %lse {heads = 4, kv_heads = 4}
      : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x4x8xf32>)
      -> ()
  return
}

// -----

func.func @c2_mixed(%q: memref<2x8x64xf32>, %o: tensor<2x8x64xf32>, %lse: memref<2x4x8xf32>) {
  // expected-error @+1 {{(C2) expected only tensors or only buffers}}
  nag.stream_attention %q, %q, %q into %o, %lse {heads = 4, kv_heads = 4}
      : (memref<2x8x64xf32>, memref<2x8x64xf32>, memref<2x8x64xf32>, tensor<2x8x64xf32>, memref<2x4x8xf32>)
      -> ()
  return
}
