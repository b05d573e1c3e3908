// RUN: nag-opt %s --nag-reuse-rows --split-input-file --verify-diagnostics

// The pass itself cannot fail: rows that do not fit do not verify.
func.func @rows(%x: tensor<2x8x16xf32>, %w: tensor<4x16xf32>, %i: tensor<8xi32>, %o: tensor<2xi32>) -> tensor<8x4xf32> {
  %a = nag.linear %x, %w : (tensor<2x8x16xf32>, tensor<4x16xf32>) -> tensor<2x8x4xf32>
  // expected-error @+1 {{'nag.take' op}}
  %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<8xi32>, tensor<2xi32>) -> (tensor<8x16xf32>, tensor<2x8x16xf32>)
  %b = nag.linear %r, %w : (tensor<8x16xf32>, tensor<4x16xf32>) -> tensor<8x4xf32>
  return %b : tensor<8x4xf32>
}
