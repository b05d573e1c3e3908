// RUN: nag-opt %s --nag-spread-attention --split-input-file --verify-diagnostics

func.func @keys(%q: tensor<12x64xf32>, %i: tensor<12xi32>, %o: tensor<3xi32>) -> tensor<12x64xf32> {
  // expected-error@+1 {{'nag.attention' op expected keys of all tokens (kv = all) on this target, but got those of executed tokens alone}}
  %r, %lse = nag.attention %q, %q, %q, %i, %o {heads = 4, kv_heads = 4}
      : (tensor<12x64xf32>, tensor<12x64xf32>, tensor<12x64xf32>, tensor<12xi32>, tensor<3xi32>) -> (tensor<12x64xf32>, tensor<4x12xf32>)
  return %r : tensor<12x64xf32>
}

// -----

func.func @lse(%q: tensor<12x64xf32>, %k: tensor<2x8x64xf32>, %i: tensor<12xi32>, %o: tensor<3xi32>) -> tensor<4x12xf32> {
  // expected-error@+1 {{'nag.attention' op expected to be spread before it is differentiated, but its log-sum-exp is used}}
  %r, %lse = nag.attention %q, %k, %k, %i, %o {heads = 4, kv_heads = 4}
      : (tensor<12x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<12xi32>, tensor<3xi32>) -> (tensor<12x64xf32>, tensor<4x12xf32>)
  return %lse : tensor<4x12xf32>
}
