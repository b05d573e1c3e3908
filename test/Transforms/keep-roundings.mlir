// RUN: nag-opt %s -nag-keep-roundings --split-input-file | FileCheck %s

// What rounds a parameter takes its copy; what reads the parameter too keeps it, and biases have no copy.
// CHECK-LABEL: func.func @gradients
// CHECK-SAME: %[[W:.*]]: tensor<4x4xf32> {nag.param = #nag.param<"w"
// CHECK-SAME: %{{.*}}: tensor<4xf32> {nag.param = #nag.param<"b"
// CHECK-SAME: %[[COPY:.*]]: tensor<4x4xbf16> {nag.name = "bf16:w"})
// CHECK-NEXT: return %[[COPY]], %[[W]]
func.func @gradients(%w: tensor<4x4xf32> {nag.param = #nag.param<"w", init = <zeros>, group = "g">},
                     %b: tensor<4xf32> {nag.param = #nag.param<"b", init = <zeros>, group = "g">})
    -> (tensor<4x4xbf16> {nag.name = "y"}, tensor<4x4xf32> {nag.name = "z"}) {
  %r = arith.truncf %w : tensor<4x4xf32> to tensor<4x4xbf16>
  return %r, %w : tensor<4x4xbf16>, tensor<4x4xf32>
}

// The optimizer writes the copy of what it updates, in place.
// CHECK-LABEL: func.func @apply
// CHECK-SAME: %{{.*}}: tensor<4x4xbf16> {nag.name = "bf16:w"})
// CHECK-SAME: -> (tensor<4x4xf32> {nag.name = "w"}, tensor<4xf32> {nag.name = "b"}, tensor<4x4xbf16> {nag.name = "bf16:w"})
// CHECK: %[[NEW:.*]] = nag.accumulate
// CHECK: %[[ROUNDED:.*]] = arith.truncf %[[NEW]]
// CHECK: return %[[NEW]], %{{.*}}, %[[ROUNDED]]
func.func @apply(%w: tensor<4x4xf32> {nag.param = #nag.param<"w", init = <zeros>, group = "g">},
                 %b: tensor<4xf32> {nag.param = #nag.param<"b", init = <zeros>, group = "g">},
                 %dw: tensor<4x4xf32> {nag.name = "grad:w"}) -> (tensor<4x4xf32> {nag.name = "w"}, tensor<4xf32> {nag.name = "b"}) {
  %n = nag.accumulate %w, %dw : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  return %n, %b : tensor<4x4xf32>, tensor<4xf32>
}

// CHECK-NOT: @train_step
func.func @train_step(%w: tensor<4x4xf32>, %b: tensor<4xf32>, %dw: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %n, %c = call @apply(%w, %b, %dw) : (tensor<4x4xf32>, tensor<4xf32>, tensor<4x4xf32>) -> (tensor<4x4xf32>, tensor<4xf32>)
  return %n : tensor<4x4xf32>
}

// All copies from the parameters.
// CHECK-LABEL: func.func @round
// CHECK-SAME: %[[W:.*]]: tensor<4x4xf32> {nag.param = #nag.param<"w", init = <zeros>, group = "g">}) -> (tensor<4x4xbf16> {nag.name = "bf16:w"})
// CHECK-NEXT: %[[R:.*]] = arith.truncf %[[W]]
// CHECK-NEXT: return %[[R]]

// -----

// Without an optimizer the copies are those of weights that do not change.
// CHECK-LABEL: func.func @loss
// CHECK-SAME: , %[[COPY:[a-z0-9]+]]: tensor<4x4xbf16> {nag.name = "bf16:w"})
// CHECK-NEXT: return %[[COPY]]
// CHECK-LABEL: func.func @round
func.func @loss(%w: tensor<4x4xf32> {nag.param = #nag.param<"w", init = <zeros>, group = "g">}) -> (tensor<4x4xbf16> {nag.name = "y"}) {
  %r = arith.truncf %w : tensor<4x4xf32> to tensor<4x4xbf16>
  return %r : tensor<4x4xbf16>
}
