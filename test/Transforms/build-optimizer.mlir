// RUN: nag-opt %s --nag-build-optimizer --split-input-file --verify-roundtrip | FileCheck %s

module attributes {nag.groups = {
    matrix = #nag.group<lr_scale = 1.0, weight_decay = 0.1, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-8>,
    gate = #nag.group<lr_scale = 0.1, weight_decay = 0.0, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-8>}} {
  func.func @loss(%tokens: tensor<2x8xi32> {nag.name = "tokens"},
      %w: tensor<4x16xf32> {nag.param = #nag.param<"head", init = <normal, 1.0>, group = "matrix", constraint = zero_mean>},
      %scale: tensor<f32> {nag.name = "gate_scale"},
      %a: tensor<3xbf16> {nag.param = #nag.param<"h.{layer}.alpha", init = <zeros>, group = "gate">})
      -> (tensor<f32> {nag.name = "loss"}) {
    return %scale : tensor<f32>
  }
  func.func @gradients(%tokens: tensor<2x8xi32>, %w: tensor<4x16xf32>, %scale: tensor<f32>, %a: tensor<3xbf16>)
      -> (tensor<f32>, tensor<4x16xf32>, tensor<3xbf16>) {
    return %scale, %w, %a : tensor<f32>, tensor<4x16xf32>, tensor<3xbf16>
  }
}

// CHECK-LABEL: func.func @accumulate(
// CHECK-SAME: %[[GW:.*]]: tensor<4x16xf32> {nag.name = "grad:head"}, %[[GA:.*]]: tensor<3xbf16> {nag.name = "grad:h.{layer}.alpha"}
// CHECK-SAME: %[[CW:.*]]: tensor<4x16xf32> {nag.name = "acc:head"}, %[[CA:.*]]: tensor<3xbf16> {nag.name = "acc:h.{layer}.alpha"}
// CHECK-SAME: -> (tensor<4x16xf32> {nag.name = "acc:head"}, tensor<3xbf16> {nag.name = "acc:h.{layer}.alpha"})
// CHECK-NEXT: %[[SW:.*]] = nag.accumulate %[[CW]], %[[GW]]
// CHECK-NEXT: %[[SA:.*]] = nag.accumulate %[[CA]], %[[GA]]
// CHECK-NEXT: return %[[SW]], %[[SA]]

// CHECK-LABEL: func.func @apply(
// CHECK-SAME: %[[W:[^ ]*]]: tensor<4x16xf32> {nag.param = #nag.param<"head"
// CHECK-SAME: %[[A:[^ ]*]]: tensor<3xbf16> {nag.param
// CHECK-SAME: %[[MW:[^ ]*]]: tensor<4x16xf32> {nag.name = "m:head"}, %[[MA:[^ ]*]]: tensor<3xf32> {nag.name = "m:h.{layer}.alpha"}
// CHECK-SAME: %[[VW:[^ ]*]]: tensor<4x16xf32> {nag.name = "v:head"}, %[[VA:[^ ]*]]: tensor<3xf32> {nag.name = "v:h.{layer}.alpha"}
// CHECK-SAME: %[[GW:[^ ]*]]: tensor<4x16xf32> {nag.name = "grad:head"}, %[[GA:[^ ]*]]: tensor<3xbf16>
// CHECK-SAME: %[[LR:[^ ]*]]: tensor<f32> {nag.name = "lr"}, %[[STEP:[^ ]*]]: tensor<f32> {nag.name = "step"}, %[[SCALE:[^ ]*]]: tensor<f32> {nag.name = "grad_scale"}, %[[CLIP:[^ ]*]]: tensor<f32> {nag.name = "clip"})
// CHECK-SAME: -> (tensor<4x16xf32> {nag.name = "head"}, tensor<3xbf16> {nag.name = "h.{layer}.alpha"}, tensor<4x16xf32> {nag.name = "m:head"}, {{.*}}, tensor<f32> {nag.name = "grad_norm"})
// CHECK-NEXT: nag.squared_norm %[[GW]]
// CHECK-NEXT: nag.squared_norm %[[GA]]
// CHECK-NEXT: arith.addf
// CHECK-NEXT: %[[NORM:.*]] = math.sqrt
// CHECK-NEXT: %[[F:.*]], %[[N:.*]] = nag.clip_factor %[[NORM]], %[[CLIP]], %[[SCALE]]
// CHECK-NEXT: %[[W1:.*]], %[[MW1:.*]], %[[VW1:.*]] = nag.adamw %[[W]], %[[MW]], %[[VW]], %[[GW]], %[[LR]], %[[STEP]], %[[F]] group <lr_scale = 1.000000e+00, weight_decay = 1.000000e-01
// CHECK-NEXT: %[[W2:.*]] = nag.constrain %[[W1]] zero_mean
// CHECK-NEXT: %[[A1:.*]], %[[MA1:.*]], %[[VA1:.*]] = nag.adamw %[[A]], %[[MA]], %[[VA]], %[[GA]], %[[LR]], %[[STEP]], %[[F]] group <lr_scale = 1.000000e-01, weight_decay = 0.000000e+00
// CHECK-NEXT: return %[[W2]], %[[A1]], %[[MW1]], %[[MA1]], %[[VW1]], %[[VA1]], %[[N]]

// CHECK-LABEL: func.func @constrain(
// CHECK-SAME: %[[W:.*]]: tensor<4x16xf32> {nag.param = {{.*}}}) -> (tensor<4x16xf32> {nag.name = "head"}) {
// CHECK-NEXT: %[[W1:.*]] = nag.constrain %[[W]] zero_mean
// CHECK-NEXT: return %[[W1]]

// CHECK-LABEL: func.func @train_step(
// CHECK-SAME: %[[T:[^ ]*]]: tensor<2x8xi32> {nag.name = "tokens"}, %[[W:[^ ]*]]: tensor<4x16xf32> {nag.param = {{[^%]*}}, %[[S:[^ ]*]]: tensor<f32> {nag.name = "gate_scale"}, %[[A:[^ ]*]]: tensor<3xbf16>
// CHECK-SAME: %[[MW:[^ ]*]]: tensor<4x16xf32> {nag.name = "m:head"}
// CHECK-SAME: -> (tensor<f32> {nag.name = "loss"}, tensor<4x16xf32> {nag.name = "head"}
// CHECK-NEXT: %[[G:.*]]:3 = call @gradients(%[[T]], %[[W]], %[[S]], %[[A]])
// CHECK-NEXT: %[[U:.*]]:7 = call @apply(%[[W]], %[[A]], %[[MW]], {{.*}}, %[[G]]#1, %[[G]]#2, {{.*}})
// CHECK-NEXT: return %[[G]]#0, %[[U]]#0, %[[U]]#1, %[[U]]#2, %[[U]]#3, %[[U]]#4, %[[U]]#5, %[[U]]#6

// -----

// f64 parameters have f64 moments and scalars; without constraints @constrain takes nothing; without @gradients
// there is no @train_step.
module attributes {nag.groups = {
    all = #nag.group<lr_scale = 1.0, weight_decay = 0.0, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-8>}} {
  func.func @loss(%w: tensor<4xf64> {nag.param = #nag.param<"w", init = <zeros>, group = "all">}) -> tensor<4xf64> {
    return %w : tensor<4xf64>
  }
}

// CHECK-LABEL: func.func @apply(
// CHECK-SAME: tensor<4xf64> {nag.name = "m:w"}
// CHECK-SAME: tensor<f64> {nag.name = "lr"}
// CHECK-LABEL: func.func @constrain() {
// CHECK-NEXT: return
// CHECK-NOT: @train_step
