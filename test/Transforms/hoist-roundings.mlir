// RUN: nag-opt %s -nag-hoist-roundings -cse | FileCheck %s

// The forward and the backward pass share one rounding of the stack. Biases are read as they are.
// CHECK-LABEL: func.func @step
// CHECK-SAME: %[[X:.*]]: tensor<8x16xf32>, %[[W:.*]]: tensor<12x16x16xf32>, %[[B:.*]]: tensor<12x16xf32>
// CHECK: %[[ROUNDED:.*]] = arith.truncf %[[W]] : tensor<12x16x16xf32> to tensor<12x16x16xbf16>
// CHECK: %[[Y:.*]] = nag.repeat @layer 12 carry(%[[X]]) stacked(%[[ROUNDED]], %[[B]])
// CHECK: %[[YR:.*]] = arith.truncf %[[Y]]
// CHECK: %[[Z:.*]]:2 = nag.repeat @back 12 carry(%[[Y]], %[[YR]]) stacked(%[[ROUNDED]]) {{.*}} {reverse}
// CHECK-NEXT: return %[[Z]]#0, %[[Z]]#1
func.func @step(%x: tensor<8x16xf32>, %w: tensor<12x16x16xf32>, %b: tensor<12x16xf32>)
    -> (tensor<8x16xf32>, tensor<8x16xbf16>) {
  %y = nag.repeat @layer 12 carry(%x) stacked(%w, %b) shared()
      : (tensor<8x16xf32>), (tensor<12x16x16xf32>, tensor<12x16xf32>), () -> (tensor<8x16xf32>), ()
  %z = nag.repeat @back 12 carry(%y) stacked(%w) shared() {reverse}
      : (tensor<8x16xf32>), (tensor<12x16x16xf32>), () -> (tensor<8x16xf32>), ()
  %r = arith.truncf %z : tensor<8x16xf32> to tensor<8x16xbf16>
  return %z, %r : tensor<8x16xf32>, tensor<8x16xbf16>
}

// CHECK-LABEL: func.func private @layer
// CHECK-SAME: tensor<8x16xf32>, %[[LW:.*]]: tensor<16x16xbf16>, %{{.*}}: tensor<16xf32>
// CHECK: call @product({{.*}}, %[[LW]])
func.func private @layer(%x: tensor<8x16xf32>, %w: tensor<16x16xf32>, %b: tensor<16xf32>) -> tensor<8x16xf32> {
  %n = nag.rms_norm %x gain %b : (tensor<8x16xf32>, tensor<16xf32>) -> tensor<8x16xf32>
  %y = call @product(%n, %w) : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
  return %y : tensor<8x16xf32>
}

// A callee's callee.
// CHECK-LABEL: func.func private @product
// CHECK-SAME: %{{.*}}: tensor<8x16xbf16>, %[[PW:.*]]: tensor<16x16xbf16>
// CHECK-NOT: arith.truncf
// CHECK: nag.linear %{{.*}}, %[[PW]]
func.func private @product(%x: tensor<8x16xf32>, %w: tensor<16x16xf32>) -> tensor<8x16xf32> {
  %a = arith.truncf %x : tensor<8x16xf32> to tensor<8x16xbf16>
  %b = arith.truncf %w : tensor<16x16xf32> to tensor<16x16xbf16>
  %c = nag.linear %a, %b : (tensor<8x16xbf16>, tensor<16x16xbf16>) -> tensor<8x16xbf16>
  %y = arith.extf %c : tensor<8x16xbf16> to tensor<8x16xf32>
  return %y : tensor<8x16xf32>
}

// What is carried is carried in both types.
// CHECK-LABEL: func.func private @back
// CHECK-SAME: %[[G:.*]]: tensor<8x16xf32>, %[[GR:.*]]: tensor<8x16xbf16>, %[[BW:.*]]: tensor<16x16xbf16>
// CHECK-NEXT: nag.linear %[[GR]], %[[BW]]
// CHECK-NEXT: %[[Z:.*]] = arith.extf
// CHECK-NEXT: %[[S:.*]] = arith.addf %[[Z]], %[[G]]
// CHECK-NEXT: %[[SR:.*]] = arith.truncf %[[S]]
// CHECK-NEXT: return %[[S]], %[[SR]]
func.func private @back(%g: tensor<8x16xf32>, %w: tensor<16x16xf32>) -> tensor<8x16xf32> {
  %a = arith.truncf %g : tensor<8x16xf32> to tensor<8x16xbf16>
  %b = arith.truncf %w : tensor<16x16xf32> to tensor<16x16xbf16>
  %c = nag.linear %a, %b {transpose_weight} : (tensor<8x16xbf16>, tensor<16x16xbf16>) -> tensor<8x16xbf16>
  %y = arith.extf %c : tensor<8x16xbf16> to tensor<8x16xf32>
  %s = arith.addf %y, %g : tensor<8x16xf32>
  return %s : tensor<8x16xf32>
}

// Of a parameter that layers get in slices the whole is rounded.
// CHECK-LABEL: func.func @slices
// CHECK-SAME: %[[W:[a-z0-9]+]]: tensor<4x16x16xf32>
// CHECK: %[[ROUNDED:.*]] = arith.truncf %[[W]] : tensor<4x16x16xf32> to tensor<4x16x16xbf16>
// CHECK: %[[SLICE:.*]] = tensor.extract_slice %[[ROUNDED]][1, 0, 0] [1, 16, 16] [1, 1, 1] : tensor<4x16x16xbf16> to tensor<16x16xbf16>
// CHECK: call @product(%{{.*}}, %[[SLICE]])
func.func @slices(%x: tensor<8x16xf32>, %w: tensor<4x16x16xf32> {nag.param = #nag.param<"w", init = <zeros>, group = "g">}) -> tensor<8x16xf32> {
  %s = tensor.extract_slice %w[1, 0, 0] [1, 16, 16] [1, 1, 1] : tensor<4x16x16xf32> to tensor<16x16xf32>
  %y = call @product(%x, %s) : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
  return %y : tensor<8x16xf32>
}

// Public functions keep their types, and so does what is read otherwise too.
// CHECK-LABEL: func.func @public
// CHECK-SAME: tensor<16x16xf32>, %{{.*}}: tensor<16x16xf32>
func.func @public(%v: tensor<16x16xf32>, %w: tensor<16x16xf32>) -> (tensor<16x16xbf16>, tensor<16x16xbf16>, tensor<16x16xf32>) {
  %a = arith.truncf %v : tensor<16x16xf32> to tensor<16x16xbf16>
  %b, %c = call @both(%w) : (tensor<16x16xf32>) -> (tensor<16x16xbf16>, tensor<16x16xf32>)
  return %a, %b, %c : tensor<16x16xbf16>, tensor<16x16xbf16>, tensor<16x16xf32>
}
func.func private @both(%w: tensor<16x16xf32>) -> (tensor<16x16xbf16>, tensor<16x16xf32>) {
  %b = arith.truncf %w : tensor<16x16xf32> to tensor<16x16xbf16>
  return %b, %w : tensor<16x16xbf16>, tensor<16x16xf32>
}
