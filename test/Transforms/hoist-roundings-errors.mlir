// RUN: nag-opt %s --nag-hoist-roundings --split-input-file --verify-diagnostics

// The pass itself cannot fail: a call that does not fit does not verify.
func.func @calls(%x: tensor<8x16xf32>, %w: tensor<12x16x8xf32>) {
  // expected-error @+1 {{'nag.repeat' op (C2) expected}}
  %y = nag.repeat @layer 12 carry(%x) stacked(%w) shared()
      : (tensor<8x16xf32>), (tensor<12x16x8xf32>), () -> (tensor<8x16xf32>), ()
  return
}
func.func private @layer(%x: tensor<8x16xf32>, %w: tensor<16x16xf32>) -> tensor<8x16xf32> {
  return %x : tensor<8x16xf32>
}
