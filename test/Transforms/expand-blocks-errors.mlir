// RUN: nag-opt %s --nag-expand-blocks --split-input-file --verify-diagnostics

// The pass itself cannot fail: a block it could not expand does not verify.
func.func @two_branches(%x: !nag.stream<2x8x16xf32>, %w: tensor<4x16xf32>, %b: tensor<4xf32>, %beta: tensor<f32>) {
  // expected-error @+1 {{(C2) expected a body that yields 1 value, but got 2}}
  %y, %g = nag.block %x gate(%w, %b, %b, %beta, %beta)
      : !nag.stream<2x8x16xf32>, tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32> {
  ^bb0(%r: tensor<2x8x16xf32>):
    nag.yield %r, %r : tensor<2x8x16xf32>, tensor<2x8x16xf32>
  }
  return
}
