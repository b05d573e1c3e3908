// RUN: nag-opt %s -convert-nag-to-gpu -split-input-file -verify-diagnostics

func.func @f64(%x: tensor<8x16xf64>, %w: tensor<8x16xf64>, %out: tensor<8x8xf64>) -> tensor<8x8xf64> attributes {nag.kernel} {
  // expected-error@+1 {{'nag.linear' op expected f32 or bf16 for a GPU kernel, but got 'f64'}}
  %y = nag.linear %x, %w : (tensor<8x16xf64>, tensor<8x16xf64>) -> tensor<8x8xf64>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8x8xf64>, tensor<8x8xf64>) -> tensor<8x8xf64>
  return %0 : tensor<8x8xf64>
}
