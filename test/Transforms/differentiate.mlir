// RUN: nag-opt %s --nag-differentiate --canonicalize --split-input-file | FileCheck %s

// The first result's gradient by every parameter; other results are passed on.

// CHECK-LABEL: func.func @gradients(
// CHECK-SAME:      %[[X:.*]]: tensor<8x64xf32>, %[[W:.*]]: tensor<32x64xf32> {nag.param = #nag.param<"w", {{.*}}>}, %[[T:.*]]: tensor<8xi32> {nag.name = "targets"})
// CHECK-SAME:      -> (tensor<f32> {nag.name = "loss"}, tensor<8x32xf32>, tensor<32x64xf32> {nag.name = "grad:w"})
// CHECK-DAG:     %[[ONE:.*]] = arith.constant dense<1.000000e+00> : tensor<f32>
// CHECK:         %[[Z:.*]] = nag.linear %[[X]], %[[W]]
// CHECK:         %[[L:.*]], %[[LSE:.*]] = nag.token_loss %[[Z]], %[[T]]
// CHECK:         %[[MEAN:.*]], %[[COUNT:.*]] = nag.masked_mean %[[L]], %[[T]]
// CHECK:         %[[DL:.*]] = nag.masked_mean_vjp %[[T]], %[[COUNT]], %[[ONE]]
// CHECK:         %[[DZ:.*]] = nag.token_loss_vjp %[[Z]], %[[T]], %[[LSE]], %[[DL]] {vocab = 30 : i64}
// CHECK-NOT:     transpose_weight
// CHECK:         %[[DW:.*]] = nag.weight_grad %[[DZ]], %[[X]]
// CHECK:         return %[[MEAN]], %[[Z]], %[[DW]]
func.func @loss(%x: tensor<8x64xf32>,
    %w: tensor<32x64xf32> {nag.param = #nag.param<"w", init = #nag.init<zeros>, group = "m">},
    %targets: tensor<8xi32> {nag.name = "targets"}) -> (tensor<f32> {nag.name = "loss"}, tensor<8x32xf32>) {
  %z = nag.linear %x, %w : (tensor<8x64xf32>, tensor<32x64xf32>) -> tensor<8x32xf32>
  %l, %lse = nag.token_loss %z, %targets {vocab = 30} : (tensor<8x32xf32>, tensor<8xi32>) -> (tensor<8xf32>, tensor<8xf32>)
  %m, %c = nag.masked_mean %l, %targets : (tensor<8xf32>, tensor<8xi32>) -> (tensor<f32>, tensor<f32>)
  return %m, %z : tensor<f32>, tensor<8x32xf32>
}

// -----

// Tied weights: the gradient is the sum of both uses. A parameter that the loss does not read has the gradient zero.

// CHECK-LABEL: func.func @gradients(
// CHECK-SAME:      %[[TOKENS:.*]]: tensor<8xi32>, %[[TABLE:.*]]: tensor<32x64xf32>
// CHECK-DAG:     %[[ZERO:.*]] = arith.constant dense<0.000000e+00> : tensor<4xf32>
// CHECK-DAG:     %[[DW:.*]] = nag.weight_grad
// CHECK-DAG:     %[[DE:.*]] = nag.embedding_vjp %[[TOKENS]], %{{.*}} {rows = 32 : i64}
// CHECK:         %[[SUM:.*]] = arith.addf %[[DW]], %[[DE]] : tensor<32x64xf32>
// CHECK:         return %{{.*}}, %[[SUM]], %[[ZERO]]
func.func @loss(%tokens: tensor<8xi32>,
    %table: tensor<32x64xf32> {nag.param = #nag.param<"table", init = #nag.init<zeros>, group = "m">},
    %unused: tensor<4xf32> {nag.param = #nag.param<"unused", init = #nag.init<zeros>, group = "m">}) -> tensor<f32> {
  %x = nag.embedding %tokens, %table : (tensor<8xi32>, tensor<32x64xf32>) -> tensor<8x64xf32>
  %z = nag.linear %x, %table : (tensor<8x64xf32>, tensor<32x64xf32>) -> tensor<8x32xf32>
  %l, %lse = nag.token_loss %z, %tokens {vocab = 32} : (tensor<8x32xf32>, tensor<8xi32>) -> (tensor<8xf32>, tensor<8xf32>)
  %m, %c = nag.masked_mean %l, %tokens : (tensor<8xf32>, tensor<8xi32>) -> (tensor<f32>, tensor<f32>)
  return %m : tensor<f32>
}
