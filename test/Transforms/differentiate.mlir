// RUN: nag-opt %s --nag-differentiate="function=loss result=gradients" | FileCheck %s

func.func @loss(%x: tensor<8x4xf32>, %w: tensor<8x4xf32> {nag.param = #nag.param<"w", init = #nag.init<zeros>, group = "m">}, %targets: tensor<8xi32>)
    -> (tensor<f32> {nag.name = "loss"}) {
  %z = nag.linear %x, %w : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x8xf32>
  %a = nag.relu2 %z : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %l, %lse = nag.token_loss %a, %targets {vocab = 8} : (tensor<8x8xf32>, tensor<8xi32>) -> (tensor<8xf32>, tensor<8xf32>)
  %m, %c = nag.masked_mean %l, %targets : (tensor<8xf32>, tensor<8xi32>) -> (tensor<f32>, tensor<f32>)
  return %m : tensor<f32>
}
