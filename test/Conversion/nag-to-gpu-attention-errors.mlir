// RUN: nag-opt %s --convert-nag-to-gpu --split-input-file --verify-diagnostics

func.func @f64(%q: tensor<1x8x16xf64>, %o: tensor<1x8x16xf64>, %lse: tensor<1x1x8xf64>) attributes {nag.kernel} {
  // expected-error @+1 {{expected elements of type f32 or bf16 for a GPU, but got 'f64'}}
  %r, %s = nag.attention %q, %q, %q {heads = 1, kv_heads = 1}
      : (tensor<1x8x16xf64>, tensor<1x8x16xf64>, tensor<1x8x16xf64>) -> (tensor<1x8x16xf64>, tensor<1x1x8xf64>)
  return
}

// -----

func.func @wide(%q: tensor<1x8x513xf32>) attributes {nag.kernel} {
  // expected-error @+1 {{expected heads of at most 512 elements for a GPU, but got 513}}
  %r, %s = nag.attention %q, %q, %q {heads = 1, kv_heads = 1}
      : (tensor<1x8x513xf32>, tensor<1x8x513xf32>, tensor<1x8x513xf32>) -> (tensor<1x8x513xf32>, tensor<1x1x8xf32>)
  return
}

// -----

func.func @embedding(%t: tensor<2x8xi32>, %dy: tensor<2x8x4xf64>) attributes {nag.kernel} {
  // expected-error @+1 {{expected elements of type f32 or bf16 for a GPU, but got 'f64'}}
  %r = nag.embedding_vjp %t, %dy {rows = 32} : (tensor<2x8xi32>, tensor<2x8x4xf64>) -> tensor<32x4xf64>
  return
}
