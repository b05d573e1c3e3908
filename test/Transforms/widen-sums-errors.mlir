// RUN: nag-opt %s --nag-widen-sums --split-input-file --verify-diagnostics

// The pass itself cannot fail: an op whose shapes do not fit does not verify.
func.func @shapes(%x: tensor<8x16xbf16>, %w: tensor<4x12xbf16>) {
  // expected-error @+1 {{'nag.linear' op (C2) expected 'input' of width 12, but got 16}}
  %y = nag.linear %x, %w : (tensor<8x16xbf16>, tensor<4x12xbf16>) -> tensor<8x4xbf16>
  return
}
