// RUN: nag-opt %s -split-input-file -verify-diagnostics

// expected-error @+1 {{expected a stream of rank 2 or more, but got rank 1}}
func.func private @stream_rank(!nag.stream<8xf32>)

// -----

// expected-error @+1 {{expected element type f32, f64 or bf16 of a stream, but got 'i32'}}
func.func private @stream_element(!nag.stream<2x8xi32>)

// -----

// expected-error @+1 {{expected positive sizes in a stream, but got 0}}
func.func private @stream_size(!nag.stream<0x8xf32>)

// -----

func.func @encode_c1(%x: tensor<2x8x16xf32>, %g: tensor<f64>) {
  // expected-error @+1 {{(C1) expected 'gain' of type 'tensor<f32>', but got 'tensor<f64>'}}
  %s = nag.encode %x, %g : (tensor<2x8x16xf32>, tensor<f64>) -> !nag.stream<2x8x16xf32>
  return
}

// -----

func.func @encode_c2(%x: tensor<16xf32>, %g: tensor<f32>) {
  // expected-error @+2 {{expected rank 2 or more of 'input', but got rank 1}}
  // expected-error @+1 {{failed to infer returned types}}
  %s = nag.encode %x, %g : (tensor<16xf32>, tensor<f32>) -> !nag.stream<1x16xf32>
  return
}

// -----

func.func @block_c1(%x: !nag.stream<2x8x16xf32>, %w: tensor<4x16xf32>, %v: tensor<4xf32>, %a: tensor<f32>, %f: tensor<2x8x16xf32>) {
  // expected-error @+1 {{(C1) expected a body with 1 argument, but got 0}}
  %y, %g = nag.block %x gate(%w, %v, %v, %a, %a)
      : !nag.stream<2x8x16xf32>, tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32> {
    nag.yield %f : tensor<2x8x16xf32>
  }
  return
}

// -----

func.func @block_c2(%x: !nag.stream<2x8x16xf32>, %w: tensor<4x16xf32>, %v: tensor<4xf32>, %a: tensor<f32>, %f: tensor<2x8x8xf32>) {
  // expected-error @+1 {{(C2) expected 'branch' of type 'tensor<2x8x16xf32>', but got 'tensor<2x8x8xf32>'}}
  %y, %g = nag.block %x gate(%w, %v, %v, %a, %a)
      : !nag.stream<2x8x16xf32>, tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32> {
  ^bb0(%r: tensor<2x8x16xf32>):
    nag.yield %f : tensor<2x8x8xf32>
  }
  return
}

// -----

func.func @block_c4(%x: !nag.stream<2x8x16xf32>, %w: tensor<4x12xf32>, %v: tensor<4xf32>, %a: tensor<f32>) {
  // expected-error @+1 {{(C4) expected 'weight' of type 'tensor<4x16xf32>', but got 'tensor<4x12xf32>'}}
  %y, %g = nag.block %x gate(%w, %v, %v, %a, %a)
      : !nag.stream<2x8x16xf32>, tensor<4x12xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32> {
  ^bb0(%r: tensor<2x8x16xf32>):
    nag.yield %r : tensor<2x8x16xf32>
  }
  return
}

// -----

func.func @block_c5(%x: !nag.stream<2x8x16xf32>, %w: tensor<4x16xf32>, %v: tensor<4xf32>, %u: tensor<5xf32>, %a: tensor<f32>) {
  // expected-error @+1 {{(C5) expected 'bias' of type 'tensor<4xf32>', but got 'tensor<5xf32>'}}
  %y, %g = nag.block %x gate(%w, %u, %v, %a, %a)
      : !nag.stream<2x8x16xf32>, tensor<4x16xf32>, tensor<5xf32>, tensor<4xf32>, tensor<f32>, tensor<f32> {
  ^bb0(%r: tensor<2x8x16xf32>):
    nag.yield %r : tensor<2x8x16xf32>
  }
  return
}

// -----

func.func @block_c6(%x: !nag.stream<2x8x16xf32>, %w: tensor<4x16xf32>, %v: tensor<4xf32>, %a: tensor<f32>) {
  // expected-error @+1 {{(C6) expected 'alpha' of type 'tensor<f32>', but got 'tensor<4xf32>'}}
  %y, %g = nag.block %x gate(%w, %v, %v, %a, %v)
      : !nag.stream<2x8x16xf32>, tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<4xf32> {
  ^bb0(%r: tensor<2x8x16xf32>):
    nag.yield %r : tensor<2x8x16xf32>
  }
  return
}

// -----

func.func @block_eps_that_is_no_float(%x: !nag.stream<2x8x16xf32>, %w: tensor<4x16xf32>, %v: tensor<4xf32>, %a: tensor<f32>) {
  // expected-error @+1 {{'nag.block' op attribute 'eps' failed to satisfy constraint: 64-bit float attribute}}
  %y, %g = nag.block %x gate(%w, %v, %v, %a, %a) attributes {eps = 0x7FF8000000000000}
      : !nag.stream<2x8x16xf32>, tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32> {
  ^bb0(%r: tensor<2x8x16xf32>):
    nag.yield %r : tensor<2x8x16xf32>
  }
  return
}

// -----

func.func @block_c7(%x: !nag.stream<2x8x16xf32>, %w: tensor<4x16xf32>, %v: tensor<4xf32>, %a: tensor<f32>) {
  // expected-error @+1 {{(C7) expected a finite 'eps' of 0 or more, but got -1.0}}
  %y, %g = nag.block %x gate(%w, %v, %v, %a, %a) attributes {eps = -1.0}
      : !nag.stream<2x8x16xf32>, tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32> {
  ^bb0(%r: tensor<2x8x16xf32>):
    nag.yield %r : tensor<2x8x16xf32>
  }
  return
}

// -----

func.func @block_not_a_stream(%x: tensor<2x8x16xf32>, %w: tensor<4x16xf32>, %v: tensor<4xf32>, %a: tensor<f32>) {
  // expected-error @+1 {{expected a !nag.stream, but got 'tensor<2x8x16xf32>'}}
  %y, %g = nag.block %x gate(%w, %v, %v, %a, %a)
      : tensor<2x8x16xf32>, tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32> {
  ^bb0(%r: tensor<2x8x16xf32>):
    nag.yield %r : tensor<2x8x16xf32>
  }
  return
}

// -----

func.func @modulate_c1(%r: tensor<2x8x16xf32>, %w: tensor<4x8xf32>, %v: tensor<4xf32>, %a: tensor<f32>) {
  // expected-error @+1 {{(C1) expected 'weight' of type 'tensor<4x16xf32>', but got 'tensor<4x8xf32>'}}
  %g = nag.modulate %r gate(%w, %v, %v, %a, %a) : (tensor<2x8x16xf32>, tensor<4x8xf32>, tensor<4xf32>, tensor<4xf32>,
      tensor<f32>, tensor<f32>) -> tensor<2x8xf32>
  return
}

// -----

func.func @gate_c1(%z: tensor<2x8x4xf32>, %v: tensor<3xf32>, %a: tensor<f32>) {
  // expected-error @+1 {{(C1) expected 'bias' of type 'tensor<4xf32>', but got 'tensor<3xf32>'}}
  %g = nag.gate %z, %v, %v, %a, %a : (tensor<2x8x4xf32>, tensor<3xf32>, tensor<3xf32>, tensor<f32>, tensor<f32>) -> tensor<2x8xf32>
  return
}

// -----

func.func @rotate_c1(%x: !nag.stream<2x8x16xf32>, %f: tensor<2x8x8xf32>, %g: tensor<2x8xf32>) {
  // expected-error @+1 {{(C1) expected 'branch' of type 'tensor<2x8x16xf32>', but got 'tensor<2x8x8xf32>'}}
  %y = nag.rotate %x, %f, %g : (!nag.stream<2x8x16xf32>, tensor<2x8x8xf32>, tensor<2x8xf32>) -> !nag.stream<2x8x16xf32>
  return
}

// -----

func.func @rotate_c2(%x: !nag.stream<2x8x16xbf16>, %f: tensor<2x8x16xbf16>, %g: tensor<2x8xbf16>) {
  // expected-error @+1 {{(C2) expected 'gates' of type 'tensor<2x8xf32>', but got 'tensor<2x8xbf16>'}}
  %y = nag.rotate %x, %f, %g : (!nag.stream<2x8x16xbf16>, tensor<2x8x16xbf16>, tensor<2x8xbf16>) -> !nag.stream<2x8x16xbf16>
  return
}

// -----

func.func @rotate_c3(%x: !nag.stream<2x8x16xf32>, %f: tensor<2x8x16xf32>, %g: tensor<2x8xf32>) {
  // expected-error @+1 {{(C3) expected a finite 'eps' of 0 or more}}
  %y = nag.rotate %x, %f, %g {eps = 0x7FF0000000000000 : f64} : (!nag.stream<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>) -> !nag.stream<2x8x16xf32>
  return
}

// -----

func.func @decode_c1(%x: !nag.stream<2x8x16xf32>, %w: tensor<32x8xf32>) {
  // expected-error @+1 {{(C1) expected 'weight' of type 'tensor<32x16xf32>', but got 'tensor<32x8xf32>'}}
  %z = nag.decode %x, %w : (!nag.stream<2x8x16xf32>, tensor<32x8xf32>) -> tensor<2x8x32xf32>
  return
}

// -----

func.func @temper_c1(%z: tensor<2x8x32xf32>, %s: tensor<8xf32>) {
  // expected-error @+1 {{(C1) expected 'log_scale' of type 'tensor<2x8xf32>', but got 'tensor<8xf32>'}}
  %y = nag.temper %z, %s : (tensor<2x8x32xf32>, tensor<8xf32>) -> tensor<2x8x32xf32>
  return
}
