// RUN: nag-opt %s --convert-nag-to-linalg --split-input-file --verify-diagnostics

func.func @composite(%z: tensor<2x8x32xf32>, %t: tensor<2x8xi32>) -> tensor<f32> {
  // expected-error @+1 {{expected an op with a lowering to linalg; run -nag-decompose and -nag-split-streams first}}
  %l = nag.cross_entropy %z, %t {vocab = 30} : (tensor<2x8x32xf32>, tensor<2x8xi32>) -> tensor<f32>
  return %l : tensor<f32>
}

// -----

func.func @stream(%x: !nag.stream<2x8x16xf32>, %f: tensor<2x8x16xf32>, %g: tensor<2x8xf32>) -> !nag.stream<2x8x16xf32> {
  // expected-error @+1 {{expected streams to be split before, by -nag-split-streams, but got '!nag.stream<2x8x16xf32>'}}
  %y = nag.rotate %x, %f, %g : (!nag.stream<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>) -> !nag.stream<2x8x16xf32>
  return %y : !nag.stream<2x8x16xf32>
}

// -----

func.func @no_columns(%x: tensor<8x0xf32>, %w: tensor<4x0xf32>) -> tensor<8x4xf32> {
  // expected-error @+1 {{expected tensors with elements, but got 'tensor<8x0xf32>'}}
  %y = nag.linear %x, %w : (tensor<8x0xf32>, tensor<4x0xf32>) -> tensor<8x4xf32>
  return %y : tensor<8x4xf32>
}
