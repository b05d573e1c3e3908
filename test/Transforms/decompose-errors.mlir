// RUN: nag-opt %s --nag-decompose --split-input-file --verify-diagnostics

func.func @mixed_types(%a: tensor<4xf32>, %b: tensor<4xf64>) -> tensor<f32> {
  // expected-error @+1 {{expected tensors that compute in 'f32', but got 'tensor<4xf64>' as operand 1}}
  %n = nag.global_norm %a, %b : (tensor<4xf32>, tensor<4xf64>) -> tensor<f32>
  return %n : tensor<f32>
}
