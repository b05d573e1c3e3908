// RUN: nag-opt %s --split-input-file --nag-build-norms --verify-diagnostics
// RUN: nagc model -o - | not nag-opt --nag-build-norms 2>&1 | FileCheck %s --check-prefix=STREAM
// STREAM: expected nag.repeat of layers with nag.residual_add to the one tensor that they carry
// RUN: nagc model --residual prenorm -o - | not nag-opt --nag-build-norms --nag-build-norms 2>&1 | FileCheck %s --check-prefix=TWICE
// TWICE: expected no function @norms beside @logits yet

// expected-error @+1 {{expected a function @logits, but got none}}
module {}

// -----

// expected-error @+1 {{expected a function @logits, but got none}}
module {
  func.func private @logits(tensor<4x6xi32>) -> tensor<4x6x8xf32>
}

// -----

// expected-error @+1 {{expected nag.repeat of layers with nag.residual_add to the one tensor that they carry}}
func.func @logits(%x: tensor<4x6x8xf32>) -> tensor<4x6x8xf32> {
  return %x : tensor<4x6x8xf32>
}

// -----

func.func private @layer(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = nag.gelu %x : (tensor<4x8xf32>) -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}
// expected-error @+1 {{expected nag.repeat of layers with nag.residual_add to the one tensor that they carry}}
func.func @logits(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = nag.repeat @layer 2 carry(%x) stacked() shared() : (tensor<4x8xf32>), (), () -> (tensor<4x8xf32>), ()
  return %y : tensor<4x8xf32>
}
