// RUN: nag-opt %s --split-input-file --verify-diagnostics

func.func @c1_query(%q: tensor<2x2x64xf32>, %k: tensor<1x2x32xf32>, %c: tensor<2x8x32xf32>, %p: tensor<1x2xi32>) {
  // expected-error @+1 {{(C1) expected 'query' of shape [1, B, heads*hd] with heads = 4, but got [2, 2, 64]}}
  %o = nag.cached_attention %q, %k, %k, %c, %c, %p {heads = 4, kv_heads = 2}
      : (tensor<2x2x64xf32>, tensor<1x2x32xf32>, tensor<1x2x32xf32>, tensor<2x8x32xf32>, tensor<2x8x32xf32>, tensor<1x2xi32>) -> tensor<2x2x64xf32>
  return
}

// -----

func.func @c1_key(%q: tensor<1x2x64xf32>, %k: tensor<1x2x16xf32>, %c: tensor<2x8x32xf32>, %p: tensor<1x2xi32>) {
  // expected-error @+1 {{(C1) expected 'key' of type 'tensor<1x2x32xf32>', but got 'tensor<1x2x16xf32>'}}
  %o = nag.cached_attention %q, %k, %k, %c, %c, %p {heads = 4, kv_heads = 2}
      : (tensor<1x2x64xf32>, tensor<1x2x16xf32>, tensor<1x2x16xf32>, tensor<2x8x32xf32>, tensor<2x8x32xf32>, tensor<1x2xi32>) -> tensor<1x2x64xf32>
  return
}

// -----

func.func @c2(%q: tensor<1x2x64xf32>, %k: tensor<1x2x32xf32>, %c: tensor<2x8x32xf32>, %p: tensor<1x2xi32>) {
  // expected-error @+1 {{(C2) expected 'heads' a positive multiple of 'kv_heads', but got 4 and 3}}
  %o = nag.cached_attention %q, %k, %k, %c, %c, %p {heads = 4, kv_heads = 3}
      : (tensor<1x2x64xf32>, tensor<1x2x32xf32>, tensor<1x2x32xf32>, tensor<2x8x32xf32>, tensor<2x8x32xf32>, tensor<1x2xi32>) -> tensor<1x2x64xf32>
  return
}

// -----

func.func @c3(%q: tensor<1x2x64xf32>, %k: tensor<1x2x32xf32>, %c: tensor<2x8x32xf32>, %p: tensor<1x2xi32>) {
  // expected-error @+1 {{(C3) expected 'window' of 0 or more, but got -1}}
  %o = nag.cached_attention %q, %k, %k, %c, %c, %p {heads = 4, kv_heads = 2, window = -1}
      : (tensor<1x2x64xf32>, tensor<1x2x32xf32>, tensor<1x2x32xf32>, tensor<2x8x32xf32>, tensor<2x8x32xf32>, tensor<1x2xi32>) -> tensor<1x2x64xf32>
  return
}

// -----

func.func @c4(%q: tensor<1x2x64xf32>, %k: tensor<1x2x32xf32>, %c: tensor<3x8x32xf32>, %p: tensor<1x2xi32>) {
  // expected-error @+1 {{(C4) expected 'key_cache' of type 'tensor<2x8x32xf32>', but got 'tensor<3x8x32xf32>'}}
  %o = nag.cached_attention %q, %k, %k, %c, %c, %p {heads = 4, kv_heads = 2}
      : (tensor<1x2x64xf32>, tensor<1x2x32xf32>, tensor<1x2x32xf32>, tensor<3x8x32xf32>, tensor<3x8x32xf32>, tensor<1x2xi32>) -> tensor<1x2x64xf32>
  return
}

// -----

func.func @c4_rows(%q: tensor<1x2x64xf32>, %k: tensor<1x2x32xf32>, %c: tensor<2x65537x32xf32>, %p: tensor<1x2xi32>) {
  // expected-error @+1 {{(C4) expected 'key_cache' of rank 3 with 1 to 65536 rows}}
  %o = nag.cached_attention %q, %k, %k, %c, %c, %p {heads = 4, kv_heads = 2}
      : (tensor<1x2x64xf32>, tensor<1x2x32xf32>, tensor<1x2x32xf32>, tensor<2x65537x32xf32>, tensor<2x65537x32xf32>, tensor<1x2xi32>) -> tensor<1x2x64xf32>
  return
}

// -----

func.func @c5(%q: tensor<1x2x64xf32>, %k: tensor<1x2x32xf32>, %c: tensor<2x8x32xf32>, %p: tensor<2x1xi32>) {
  // expected-error @+1 {{(C5) expected 'positions' of type 'tensor<1x2xi32>', but got 'tensor<2x1xi32>'}}
  %o = nag.cached_attention %q, %k, %k, %c, %c, %p {heads = 4, kv_heads = 2}
      : (tensor<1x2x64xf32>, tensor<1x2x32xf32>, tensor<1x2x32xf32>, tensor<2x8x32xf32>, tensor<2x8x32xf32>, tensor<2x1xi32>) -> tensor<1x2x64xf32>
  return
}

// -----

func.func @stream_c1(%q: tensor<1x2x64xf32>, %k: tensor<1x2x32xf32>, %c: tensor<2x8x32xf32>, %p: tensor<1x2xi32>, %o: tensor<1x2x32xf32>) {
  // expected-error @+1 {{(C1) expected 'output' of shape [1, 2, 64], but got [1, 2, 32]}}
  %0 = nag.stream_cached_attention %q, %k, %k, %c, %c, %p into %o {heads = 4, kv_heads = 2}
      : (tensor<1x2x64xf32>, tensor<1x2x32xf32>, tensor<1x2x32xf32>, tensor<2x8x32xf32>, tensor<2x8x32xf32>, tensor<1x2xi32>, tensor<1x2x32xf32>) -> tensor<1x2x32xf32>
  return
}

// -----

func.func @stream_c2(%q: tensor<1x2x64xf32>, %k: tensor<1x2x32xf32>, %c: tensor<2x8x32xf32>, %p: tensor<1x2xi32>, %o: memref<1x2x64xf32>) {
  // expected-error @+1 {{(C2) expected only tensors or only buffers}}
  nag.stream_cached_attention %q, %k, %k, %c, %c, %p into %o {heads = 4, kv_heads = 2}
      : (tensor<1x2x64xf32>, tensor<1x2x32xf32>, tensor<1x2x32xf32>, tensor<2x8x32xf32>, tensor<2x8x32xf32>, tensor<1x2xi32>, memref<1x2x64xf32>) -> ()
  return
}

// -----

func.func @c7_rows(%q: tensor<1x2x64xf32>, %k: tensor<1x2x32xf32>, %c: tensor<2x20x32xf32>, %p: tensor<1x2xi32>, %r: tensor<3x8xi32>) {
  // expected-error @+1 {{(C7) expected 'rows' of shape [2, C] with C in [1, 65536], but got [3, 8]}}
  %o = nag.cached_attention %q, %k, %k, %c, %c, %p rows(%r) {heads = 4, kv_heads = 2}
      : (tensor<1x2x64xf32>, tensor<1x2x32xf32>, tensor<1x2x32xf32>, tensor<2x20x32xf32>, tensor<2x20x32xf32>, tensor<1x2xi32>,
         tensor<3x8xi32>) -> tensor<1x2x64xf32>
  return
}

// -----

func.func @c7_rank(%q: tensor<1x2x64xf32>, %k: tensor<1x2x32xf32>, %c: tensor<20x32xf32>, %p: tensor<1x2xi32>, %r: tensor<2x8xi32>) {
  // expected-error @+1 {{(C7) expected 'key_cache' of rank 3 with 1 row or more, but got}}
  %o = nag.cached_attention %q, %k, %k, %c, %c, %p rows(%r) {heads = 4, kv_heads = 2}
      : (tensor<1x2x64xf32>, tensor<1x2x32xf32>, tensor<1x2x32xf32>, tensor<20x32xf32>, tensor<20x32xf32>, tensor<1x2xi32>,
         tensor<2x8xi32>) -> tensor<1x2x64xf32>
  return
}

// -----

func.func @c7_cache(%q: tensor<1x2x64xf32>, %k: tensor<1x2x32xf32>, %c: tensor<2x20x16xf32>, %p: tensor<1x2xi32>, %r: tensor<2x8xi32>) {
  // expected-error @+1 {{(C7) expected 'key_cache' of type 'tensor<2x20x32xf32>', but got 'tensor<2x20x16xf32>'}}
  %o = nag.cached_attention %q, %k, %k, %c, %c, %p rows(%r) {heads = 4, kv_heads = 2}
      : (tensor<1x2x64xf32>, tensor<1x2x32xf32>, tensor<1x2x32xf32>, tensor<2x20x16xf32>, tensor<2x20x16xf32>, tensor<1x2xi32>,
         tensor<2x8xi32>) -> tensor<1x2x64xf32>
  return
}

// -----

func.func @c1_routed_key(%q: tensor<2x64xf32>, %k: tensor<1x32xf32>, %c: tensor<3x8x32xf32>, %p: tensor<1x3xi32>, %i: tensor<2xi32>) {
  // expected-error @+1 {{(C1) expected 'key' of type 'tensor<2x32xf32>', but got 'tensor<1x32xf32>'}}
  %o = nag.cached_attention %q, %k, %k, %c, %c, %p route(%i, %i) {heads = 4, kv_heads = 2}
      : (tensor<2x64xf32>, tensor<1x32xf32>, tensor<1x32xf32>, tensor<3x8x32xf32>, tensor<3x8x32xf32>, tensor<1x3xi32>, tensor<2xi32>,
         tensor<2xi32>) -> tensor<2x64xf32>
  return
}

// -----

func.func @c6(%q: tensor<4x64xf32>, %k: tensor<1x3x32xf32>, %c: tensor<3x8x32xf32>, %p: tensor<1x3xi32>, %i: tensor<4xi32>, %e: tensor<2xi32>) {
  // expected-error @+1 {{(C6) expected a route of indices [M] and offsets [2] and queries [M, heads*hd], M at most 3}}
  %o = nag.cached_attention %q, %k, %k, %c, %c, %p route(%i, %e) {heads = 4, kv_heads = 2}
      : (tensor<4x64xf32>, tensor<1x3x32xf32>, tensor<1x3x32xf32>, tensor<3x8x32xf32>, tensor<3x8x32xf32>, tensor<1x3xi32>, tensor<4xi32>,
         tensor<2xi32>) -> tensor<4x64xf32>
  return
}

// -----

func.func @stream_c1_rows(%q: tensor<1x2x64xf32>, %k: tensor<1x2x32xf32>, %c: tensor<2x8x32xf32>, %p: tensor<1x2xi32>, %r: tensor<3x8xi32>,
    %o: tensor<1x2x64xf32>) {
  // expected-error @+1 {{(C1) expected 'rows' of shape [2, C], but got [3, 8]}}
  %0 = nag.stream_cached_attention %q, %k, %k, %c, %c, %p rows(%r) into %o {heads = 4, kv_heads = 2}
      : (tensor<1x2x64xf32>, tensor<1x2x32xf32>, tensor<1x2x32xf32>, tensor<2x8x32xf32>, tensor<2x8x32xf32>, tensor<1x2xi32>, tensor<3x8xi32>,
         tensor<1x2x64xf32>) -> tensor<1x2x64xf32>
  return
}
