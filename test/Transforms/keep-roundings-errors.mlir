// RUN: nag-opt %s --nag-keep-roundings --split-input-file --verify-diagnostics

// expected-error @+1 {{expected a result 'w' of type 'tensor<4x4xf32>', of which functions read a bf16 copy, but got none}}
func.func @apply() {
  return
}
func.func @loss(%w: tensor<4x4xf32> {nag.param = #nag.param<"w", init = <zeros>, group = "g">}) -> (tensor<4x4xbf16> {nag.name = "y"}) {
  %r = arith.truncf %w : tensor<4x4xf32> to tensor<4x4xbf16>
  return %r : tensor<4x4xbf16>
}

// -----

func.func @loss(%w: tensor<4x4xf32> {nag.param = #nag.param<"w", init = <zeros>, group = "g">}) -> (tensor<4x4xbf16> {nag.name = "y"}) {
  %r = arith.truncf %w : tensor<4x4xf32> to tensor<4x4xbf16>
  return %r : tensor<4x4xbf16>
}
// expected-error @+1 {{expected no symbol @round, which this pass adds, but got one}}
func.func @round() {
  return
}
