// RUN: nag-opt %s -split-input-file -verify-diagnostics

func.func @rate_of_one(%g: tensor<2x8xf32>) {
  // expected-error @+1 {{expected a rate in [0, 1), but got 1.0}}
  %i, %o = nag.route %g {routing = #nag.routing<capacity, rate = 1.0>} : (tensor<2x8xf32>) -> (tensor<2xi32>, tensor<3xi32>)
  return
}

// -----

func.func @rate_that_is_nan(%g: tensor<2x8xf32>) {
  // expected-error @+1 {{expected a rate in [0, 1), but got nan}}
  %i, %o = nag.route %g {routing = #nag.routing<capacity, rate = 0x7FF8000000000000>} : (tensor<2x8xf32>) -> (tensor<2xi32>, tensor<3xi32>)
  return
}

// -----

func.func @route_c2_missing(%g: tensor<2x8xf32>) {
  // expected-error @+1 {{(C2) expected a dial with the policy 'threshold', but got none}}
  %i, %o = nag.route %g {routing = #nag.routing<threshold>} : (tensor<2x8xf32>) -> (tensor<16xi32>, tensor<3xi32>)
  return
}

// -----

func.func @route_c2_type(%g: tensor<2x8xf32>, %t: tensor<f64>) {
  // expected-error @+1 {{(C2) expected 'dial' of type 'tensor<f32>', but got 'tensor<f64>'}}
  %i, %o = nag.route %g dial %t {routing = #nag.routing<rate, rate = 0.5>} : (tensor<2x8xf32>, tensor<f64>) -> (tensor<16xi32>, tensor<3xi32>)
  return
}

// -----

func.func @route_c1(%g: tensor<8xf32>) {
  // expected-error @+2 {{expected 'scores' of rank 2 to 2, but got rank 1}}
  // expected-error @+1 {{failed to infer returned types}}
  %i, %o = nag.route %g {routing = #nag.routing<capacity, rate = 0.5>} : (tensor<8xf32>) -> (tensor<4xi32>, tensor<2xi32>)
  return
}

// -----

func.func @route_c3(%g: tensor<2x8xf32>) {
  // expected-error @+2 {{are incompatible with return type(s) of operation}}
  // expected-error @+1 {{failed to infer returned types}}
  %i, %o = nag.route %g {routing = #nag.routing<capacity, rate = 0.5>} : (tensor<2x8xf32>) -> (tensor<9xi32>, tensor<3xi32>)
  return
}

// -----

func.func @take_c1(%x: tensor<2x8x16xf32>, %i: tensor<12xi32>, %o: tensor<4xi32>) {
  // expected-error @+1 {{(C1) expected 'offsets' of type 'tensor<3xi32>', but got 'tensor<4xi32>'}}
  %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<12xi32>, tensor<4xi32>) -> (tensor<12x16xf32>, tensor<2x8x16xf32>)
  return
}

// -----

func.func @take_c2(%x: tensor<2x8x16xf32>, %i: tensor<17xi32>, %o: tensor<3xi32>) {
  // expected-error @+1 {{(C2) expected at most 16 indices, but got 17}}
  %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<17xi32>, tensor<3xi32>) -> (tensor<17x16xf32>, tensor<2x8x16xf32>)
  return
}

// -----

func.func @put_c1(%r: tensor<12xf32>, %x: tensor<2x8xf32>, %i: tensor<12xi32>, %o: tensor<2xi32>) {
  // expected-error @+1 {{(C1) expected 'offsets' of type 'tensor<3xi32>', but got 'tensor<2xi32>'}}
  %y = nag.put %r, %x, %i, %o : (tensor<12xf32>, tensor<2x8xf32>, tensor<12xi32>, tensor<2xi32>) -> tensor<2x8xf32>
  return
}

// -----

func.func @put_c2(%r: tensor<12x8xf32>, %x: tensor<2x8x16xf32>, %i: tensor<12xi32>, %o: tensor<3xi32>) {
  // expected-error @+1 {{(C2) expected 'rows' of type 'tensor<12x16xf32>', but got 'tensor<12x8xf32>'}}
  %y = nag.put %r, %x, %i, %o : (tensor<12x8xf32>, tensor<2x8x16xf32>, tensor<12xi32>, tensor<3xi32>) -> tensor<2x8x16xf32>
  return
}

// -----

func.func @put_c3(%r: tensor<17xf32>, %x: tensor<2x8xf32>, %i: tensor<17xi32>, %o: tensor<3xi32>) {
  // expected-error @+1 {{(C3) expected at most 16 indices, but got 17}}
  %y = nag.put %r, %x, %i, %o : (tensor<17xf32>, tensor<2x8xf32>, tensor<17xi32>, tensor<3xi32>) -> tensor<2x8xf32>
  return
}

// -----

func.func @soft_skip_c1(%g: tensor<2x8xf32>, %t: tensor<f64>) {
  // expected-error @+1 {{(C1) expected 'threshold' of type 'tensor<f32>', but got 'tensor<f64>'}}
  %s = nag.soft_skip %g, %t {temperature = 0.05} : (tensor<2x8xf32>, tensor<f64>) -> tensor<f32>
  return
}

// -----

func.func @soft_skip_c2(%g: tensor<2x8xf32>, %t: tensor<f32>) {
  // expected-error @+1 {{(C2) expected a positive 'temperature', but got 0.0}}
  %s = nag.soft_skip %g, %t {temperature = 0.0} : (tensor<2x8xf32>, tensor<f32>) -> tensor<f32>
  return
}

// -----

func.func @soft_skip_vjp_c1(%g: tensor<2x8xf32>, %t: tensor<f32>, %d: tensor<f64>) {
  // expected-error @+1 {{(C1) expected 'share_grad' of type 'tensor<f32>', but got 'tensor<f64>'}}
  %s = nag.soft_skip_vjp %g, %t, %d {temperature = 0.05} : (tensor<2x8xf32>, tensor<f32>, tensor<f64>) -> tensor<2x8xf32>
  return
}

// -----

func.func @soft_skip_vjp_c2(%g: tensor<2x8xf32>, %t: tensor<f32>) {
  // expected-error @+1 {{(C2) expected a positive 'temperature', but got -1.0}}
  %s = nag.soft_skip_vjp %g, %t, %t {temperature = -1.0} : (tensor<2x8xf32>, tensor<f32>, tensor<f32>) -> tensor<2x8xf32>
  return
}

// -----

func.func @quantile_c1(%g: tensor<8xf32>, %t: tensor<f32>) {
  // expected-error @+2 {{expected 'values' of rank 2 to 8, but got rank 1}}
  // expected-error @+1 {{failed to infer returned types}}
  %q = nag.quantile %g, %t : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32>
  return
}

// -----

func.func @quantile_c2(%g: tensor<2x8xf32>, %t: tensor<f64>) {
  // expected-error @+1 {{(C2) expected 'rate' of type 'tensor<f32>', but got 'tensor<f64>'}}
  %q = nag.quantile %g, %t : (tensor<2x8xf32>, tensor<f64>) -> tensor<2xf32>
  return
}

// -----

func.func @block_c1(%x: !nag.stream<2x8x16xf32>, %w: tensor<4x16xf32>, %b: tensor<4xf32>, %beta: tensor<f32>) {
  // expected-error @+1 {{(C1) expected a body with 4 arguments, but got 1}}
  %y, %g, %n = nag.block %x gate(%w, %b, %b, %beta, %beta) attributes {routing = #nag.routing<capacity, rate = 0.5>}
      : !nag.stream<2x8x16xf32>, tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32> {
  ^bb0(%r: tensor<2x8x16xf32>):
    nag.yield %r : tensor<2x8x16xf32>
  }
  return
}

// -----

func.func @block_c1_rows(%x: !nag.stream<2x8x16xf32>, %w: tensor<4x16xf32>, %b: tensor<4xf32>, %beta: tensor<f32>) {
  // expected-error @+1 {{(C1) expected 'body argument' of type 'tensor<8x16xf32>', but got 'tensor<16x16xf32>'}}
  %y, %g, %n = nag.block %x gate(%w, %b, %b, %beta, %beta) attributes {routing = #nag.routing<capacity, rate = 0.5>}
      : !nag.stream<2x8x16xf32>, tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32> {
  ^bb0(%r: tensor<2x8x16xf32>, %rows: tensor<16x16xf32>, %indices: tensor<8xi32>, %offsets: tensor<3xi32>):
    nag.yield %rows : tensor<16x16xf32>
  }
  return
}

// -----

func.func @block_c8(%x: !nag.stream<2x8x16xf32>, %w: tensor<4x16xf32>, %b: tensor<4xf32>, %beta: tensor<f32>) {
  // expected-error @+1 {{(C8) expected a dial with the policy 'threshold', but got none}}
  %y, %g, %n = nag.block %x gate(%w, %b, %b, %beta, %beta) attributes {routing = #nag.routing<threshold>}
      : !nag.stream<2x8x16xf32>, tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32> {
  ^bb0(%r: tensor<2x8x16xf32>, %rows: tensor<16x16xf32>, %indices: tensor<16xi32>, %offsets: tensor<3xi32>):
    nag.yield %rows : tensor<16x16xf32>
  }
  return
}

// -----

func.func @block_c8_dense(%x: !nag.stream<2x8x16xf32>, %w: tensor<4x16xf32>, %b: tensor<4xf32>, %beta: tensor<f32>) {
  // expected-error @+1 {{(C8) expected no dial without routing, but got one}}
  %y, %g = nag.block %x gate(%w, %b, %b, %beta, %beta) route(%beta)
      : !nag.stream<2x8x16xf32>, tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>, tensor<f32> {
  ^bb0(%r: tensor<2x8x16xf32>):
    nag.yield %r : tensor<2x8x16xf32>
  }
  return
}

// -----

func.func @block_c9(%x: !nag.stream<2x8x16xf32>, %w: tensor<4x16xf32>, %b: tensor<4xf32>, %beta: tensor<f32>) {
  // expected-error @+1 {{(C9) expected a body that leaves the direction of all tokens alone with kv = routed, but got one that reads it}}
  %y, %g, %n = nag.block %x gate(%w, %b, %b, %beta, %beta)
      attributes {routing = #nag.routing<capacity, rate = 0.5, kv = routed>}
      : !nag.stream<2x8x16xf32>, tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32> {
  ^bb0(%r: tensor<2x8x16xf32>, %rows: tensor<8x16xf32>, %indices: tensor<8xi32>, %offsets: tensor<3xi32>):
    %taken, %rest = nag.take %r, %indices, %offsets
        : (tensor<2x8x16xf32>, tensor<8xi32>, tensor<3xi32>) -> (tensor<8x16xf32>, tensor<2x8x16xf32>)
    nag.yield %taken : tensor<8x16xf32>
  }
  return
}

// -----

func.func @block_c10(%x: !nag.stream<8x16xf32>, %w: tensor<4x16xf32>, %b: tensor<4xf32>, %beta: tensor<f32>) {
  // expected-error @+1 {{(C10) expected a routed stream of rank 3, but got rank 2}}
  %y, %g, %n = nag.block %x gate(%w, %b, %b, %beta, %beta) attributes {routing = #nag.routing<capacity, rate = 0.5>}
      : !nag.stream<8x16xf32>, tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32> {
  ^bb0(%r: tensor<8x16xf32>, %rows: tensor<4x16xf32>, %indices: tensor<4xi32>, %offsets: tensor<9xi32>):
    nag.yield %rows : tensor<4x16xf32>
  }
  return
}

// -----

func.func @attention_c6_offsets(%q: tensor<12x64xf32>, %k: tensor<2x8x64xf32>, %i: tensor<12xi32>) {
  // expected-error @+1 {{(C6) expected indices and offsets as the route, but got 1 operands}}
  %o, %lse = nag.attention %q, %k, %k, %i {heads = 4, kv_heads = 4}
      : (tensor<12x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<12xi32>) -> (tensor<12x64xf32>, tensor<4x12xf32>)
  return
}

// -----

func.func @attention_c6_indices(%q: tensor<12x64xf32>, %k: tensor<2x8x64xf32>, %i: tensor<11xi32>, %n: tensor<3xi32>) {
  // expected-error @+1 {{(C6) expected 'indices' of type 'tensor<12xi32>', but got 'tensor<11xi32>'}}
  %o, %lse = nag.attention %q, %k, %k, %i, %n {heads = 4, kv_heads = 4}
      : (tensor<12x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<11xi32>, tensor<3xi32>)
      -> (tensor<12x64xf32>, tensor<4x12xf32>)
  return
}

// -----

func.func @attention_c6_keys(%q: tensor<12x64xf32>, %k: tensor<2x8x64xf32>, %i: tensor<12xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{(C6) expected 'key' of type 'tensor<3x8x64xf32>', but got 'tensor<2x8x64xf32>'}}
  %o, %lse = nag.attention %q, %k, %k, %i, %n {heads = 4, kv_heads = 4}
      : (tensor<12x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<12xi32>, tensor<4xi32>)
      -> (tensor<12x64xf32>, tensor<4x12xf32>)
  return
}

// -----

func.func @rotary_c3(%x: tensor<12x64xf32>, %cos: tensor<8x8xf32>, %i: tensor<11xi32>) {
  // expected-error @+1 {{(C3) expected 'indices' of type 'tensor<12xi32>', but got 'tensor<11xi32>'}}
  %y = nag.rotary %x, %cos, %cos, %i {heads = 4}
      : (tensor<12x64xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<11xi32>) -> tensor<12x64xf32>
  return
}

// -----

func.func @runtime_call_c1(%g: tensor<4x8xf32>, %out: memref<4xf32>) {
  // expected-error @+1 {{(C1) expected only tensors or only buffers}}
  nag.runtime_call @nag_quantile_f32 [4, 8] (%g) into (%out) : (tensor<4x8xf32>, memref<4xf32>) -> ()
  return
}
