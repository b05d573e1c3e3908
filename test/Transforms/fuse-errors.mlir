// RUN: nag-opt %s --split-input-file --verify-diagnostics --nag-fuse

func.func @stream_argument(%x: !nag.stream<2x8x16xf32>, %f: tensor<2x8x16xf32>, %g: tensor<2x8xf32>) -> tensor<2x8xf32> {
  // expected-error @+1 {{expected kernels to be formed after -nag-split-streams, but got an operand of type '!nag.stream<2x8x16xf32>'}}
  %y = nag.rotate %x, %f, %g : (!nag.stream<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>) -> !nag.stream<2x8x16xf32>
  %b = nag.log_norm %y : !nag.stream<2x8x16xf32>
  return %b : tensor<2x8xf32>
}

// -----

func.func @read_stream(%x: !nag.stream<2x8x16xf32>, %w: tensor<32x16xf32>) -> tensor<2x8x32xf32> {
  // expected-error @+1 {{'nag.direction' op expected kernels to be formed after -nag-split-streams, but got an operand of type '!nag.stream<2x8x16xf32>'}}
  %r = nag.direction %x : !nag.stream<2x8x16xf32>
  %z = nag.linear %r, %w : (tensor<2x8x16xf32>, tensor<32x16xf32>) -> tensor<2x8x32xf32>
  return %z : tensor<2x8x32xf32>
}
