// RUN: nag-opt %s -split-input-file -verify-diagnostics

func.func @embedding_c1(%t: tensor<2x8xi32>, %e: tensor<4x32x16xf32>) {
  // expected-error @+1 {{(C1) expected 'table' of rank 2, but got rank 3}}
  %x = nag.embedding %t, %e : (tensor<2x8xi32>, tensor<4x32x16xf32>) -> tensor<2x8x16xf32>
  return
}

// -----

func.func @embedding_vjp_c1(%t: tensor<2x7xi32>, %dy: tensor<2x8x16xf32>) {
  // expected-error @+1 {{(C1) expected 'tokens' of type 'tensor<2x8xi32>', but got 'tensor<2x7xi32>'}}
  %dt = nag.embedding_vjp %t, %dy {rows = 32} : (tensor<2x7xi32>, tensor<2x8x16xf32>) -> tensor<32x16xf32>
  return
}

// -----

func.func @linear_c1(%x: tensor<2x8x16xf32>, %w: tensor<2x64x16xf32>) {
  // expected-error @+1 {{(C1) expected 'weight' of rank 2, but got rank 3}}
  %y = nag.linear %x, %w : (tensor<2x8x16xf32>, tensor<2x64x16xf32>) -> tensor<2x8x2xf32>
  return
}

// -----

func.func @linear_c2(%x: tensor<2x8x16xf32>, %w: tensor<64x8xf32>) {
  // expected-error @+1 {{(C2) expected 'input' of width 8, but got 16}}
  %y = nag.linear %x, %w : (tensor<2x8x16xf32>, tensor<64x8xf32>) -> tensor<2x8x64xf32>
  return
}

// -----

func.func @linear_result(%x: tensor<2x8x16xf32>, %w: tensor<64x16xf32>) {
  // expected-error @+2 {{inferred type(s) 'tensor<2x8x64xf32>' are incompatible with return type(s) of operation 'tensor<2x8x63xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %y = nag.linear %x, %w : (tensor<2x8x16xf32>, tensor<64x16xf32>) -> tensor<2x8x63xf32>
  return
}

// -----

func.func @weight_grad_c1(%dy: tensor<2x8x64xf32>, %x: tensor<3x8x16xf32>) {
  // expected-error @+1 {{(C1) expected 'input' of type 'tensor<2x8x16xf32>', but got 'tensor<3x8x16xf32>'}}
  %dw = nag.weight_grad %dy, %x : (tensor<2x8x64xf32>, tensor<3x8x16xf32>) -> tensor<64x16xf32>
  return
}

// -----

func.func @weight_grad_c2(%dy: tensor<2x8x64xf32>, %x: tensor<2x8x16xf32>) {
  // expected-error @+1 {{(C2) expected 'weight_grad' of type 'tensor<64x16xf32>', but got 'tensor<64x16xbf16>'}}
  %dw = nag.weight_grad %dy, %x : (tensor<2x8x64xf32>, tensor<2x8x16xf32>) -> tensor<64x16xbf16>
  return
}

// -----

func.func @attention_c1(%q: tensor<2x8x64xf32>, %k: tensor<2x8x64xf32>) {
  // expected-error @+1 {{(C1) expected 'key' of type 'tensor<2x8x32xf32>', but got 'tensor<2x8x64xf32>'}}
  %o, %l = nag.attention %q, %k, %k {heads = 4, kv_heads = 2} : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>) -> (tensor<2x8x64xf32>, tensor<2x4x8xf32>)
  return
}

// -----

func.func @attention_c1_width(%q: tensor<2x8x62xf32>) {
  // expected-error @+1 {{(C1) expected the width of 'query' a multiple of 'heads' = 4, but got 62}}
  %o, %l = nag.attention %q, %q, %q {heads = 4, kv_heads = 4} : (tensor<2x8x62xf32>, tensor<2x8x62xf32>, tensor<2x8x62xf32>) -> (tensor<2x8x62xf32>, tensor<2x4x8xf32>)
  return
}

// -----

func.func @attention_c2(%q: tensor<2x8x64xf32>) {
  // expected-error @+1 {{(C2) expected 'heads' a positive multiple of 'kv_heads', but got 4 and 3}}
  %o, %l = nag.attention %q, %q, %q {heads = 4, kv_heads = 3} : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>) -> (tensor<2x8x64xf32>, tensor<2x4x8xf32>)
  return
}

// -----

func.func @attention_c3(%q: tensor<2x8x64xf32>) {
  // expected-error @+1 {{(C3) expected 'window' of 0 or more, but got -1}}
  %o, %l = nag.attention %q, %q, %q {heads = 4, kv_heads = 4, window = -1} : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>) -> (tensor<2x8x64xf32>, tensor<2x4x8xf32>)
  return
}

// -----

func.func @rotary_table_c1() {
  // expected-error @+1 {{(C1) expected a positive 'base', but got -1.0}}
  %c, %s = nag.rotary_table {base = -1.0} : tensor<8x8xf32>, tensor<8x8xf32>
  return
}

// -----

func.func @rotary_table_c2() {
  // expected-error @+1 {{(C2) expected 'sin' of type 'tensor<8x8xf32>', but got 'tensor<8x4xf32>'}}
  %c, %s = nag.rotary_table {base = 1.0e5} : tensor<8x8xf32>, tensor<8x4xf32>
  return
}

// -----

func.func @rotary_c1(%x: tensor<2x8x60xf32>, %c: tensor<8x8xf32>) {
  // expected-error @+1 {{(C1) expected the width of 'input' a multiple of twice 'heads' = 4, but got 60}}
  %y = nag.rotary %x, %c, %c {heads = 4} : (tensor<2x8x60xf32>, tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<2x8x60xf32>
  return
}

// -----

func.func @rotary_c2(%x: tensor<2x8x64xf32>, %c: tensor<7x8xf32>) {
  // expected-error @+1 {{(C2) expected 'cos' of type 'tensor<8x8xf32>', but got 'tensor<7x8xf32>'}}
  %y = nag.rotary %x, %c, %c {heads = 4} : (tensor<2x8x64xf32>, tensor<7x8xf32>, tensor<7x8xf32>) -> tensor<2x8x64xf32>
  return
}

// -----

func.func @rms_norm_c1(%x: tensor<2x8x64xf32>) {
  // expected-error @+1 {{(C1) expected 'groups' to divide 64, but got 5}}
  %y = nag.rms_norm %x {groups = 5} : (tensor<2x8x64xf32>) -> tensor<2x8x64xf32>
  return
}

// -----

func.func @rms_norm_c2(%x: tensor<2x8x64xf32>, %g: tensor<64xf32>) {
  // expected-error @+1 {{(C2) expected 'gain' of type 'tensor<16xf32>', but got 'tensor<64xf32>'}}
  %y = nag.rms_norm %x gain %g {groups = 4} : (tensor<2x8x64xf32>, tensor<64xf32>) -> tensor<2x8x64xf32>
  return
}

// -----

func.func @rms_norm_c3(%x: tensor<2x8x64xf32>) {
  // expected-error @+1 {{(C3) expected a finite 'eps' of 0 or more, but got -1.0}}
  %y = nag.rms_norm %x {eps = -1.0} : (tensor<2x8x64xf32>) -> tensor<2x8x64xf32>
  return
}

// -----

func.func @inverse_rms_c1(%x: tensor<2x8x64xf32>) {
  // expected-error @+1 {{(C1) expected 'groups' to divide 64, but got 5}}
  %y = nag.inverse_rms %x {groups = 5} : (tensor<2x8x64xf32>) -> tensor<2x8x5xf32>
  return
}

// -----

func.func @inverse_rms_c2(%x: tensor<2x8x64xf32>) {
  // expected-error @+1 {{(C2) expected a finite 'eps' of 0 or more, but got -1.0}}
  %y = nag.inverse_rms %x {groups = 4, eps = -1.0} : (tensor<2x8x64xf32>) -> tensor<2x8x4xf32>
  return
}

// -----

func.func @rms_norm_vjp_c4(%x: tensor<2x8x64xf32>, %i: tensor<2x8x5xf32>) {
  // expected-error @+1 {{(C4) expected 'inverse' of type 'tensor<2x8x4xf32>', but got 'tensor<2x8x5xf32>'}}
  %y = nag.rms_norm_vjp %x, %x, %i {groups = 4} : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x5xf32>) -> tensor<2x8x64xf32>
  return
}

// -----

func.func @rms_norm_vjp_c4_factor(%x: tensor<2x8x64xf32>, %i: tensor<2x8x4xf32>) {
  // expected-error @+1 {{(C4) expected a 'factor' that is not zero with 'inverse', but got 0}}
  %y = nag.rms_norm_vjp %x, %x, %i {groups = 4, factor = 0.0} : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x4xf32>) -> tensor<2x8x64xf32>
  return
}

// -----

func.func @gain_c2_empty(%x: tensor<2x8x64xf32>, %g: tensor<0xf32>) {
  // expected-error @+1 {{(C2) expected the length of 'gain' to divide 64, but got 0}}
  %y = nag.gain %x, %g : (tensor<2x8x64xf32>, tensor<0xf32>) -> tensor<2x8x64xf32>
  return
}

// -----

func.func @gain_c2(%x: tensor<2x8x64xf32>, %g: tensor<24xf32>) {
  // expected-error @+1 {{(C2) expected the length of 'gain' to divide 64, but got 24}}
  %y = nag.gain %x, %g : (tensor<2x8x64xf32>, tensor<24xf32>) -> tensor<2x8x64xf32>
  return
}

// -----

func.func @relu2_types(%x: tensor<2x8x64xf32>) {
  // expected-error @+1 {{requires the same type for all operands and results}}
  %y = "nag.relu2"(%x) : (tensor<2x8x64xf32>) -> tensor<2x8x63xf32>
  return
}

// -----

func.func @dynamic(%x: tensor<?x64xf32>) {
  // expected-error @+1 {{operand #0 must be statically shaped tensor of 32-bit float or bfloat16 type or 64-bit float values}}
  %y = "nag.relu2"(%x) : (tensor<?x64xf32>) -> tensor<?x64xf32>
  return
}
