// RUN: nag-opt %s --split-input-file --nag-differentiate="function=f seeded" --canonicalize | FileCheck %s

// Every iteration runs one forward function, which also returns what the backward function reads. The backward repeat runs
// in the opposite order over the stacks of residuals and of weights, and sums up what is shared in its carry.

// CHECK-LABEL: func.func private @layer(
// CHECK:       func.func private @layer.forward(%[[X:[^:]*]]: tensor<8x16xf32>, %[[W:[^:]*]]: tensor<16x16xf32>, %[[B:[^:]*]]: tensor<8x16xf32>)
// CHECK:         %[[Z:.*]] = nag.linear %[[X]], %[[W]]
// CHECK:         %[[R:.*]] = nag.relu2 %[[Z]]
// CHECK:         %[[Y:.*]] = arith.addf %[[R]], %[[B]]
// CHECK:         return %[[Y]], %[[X]], %[[Z]]
// CHECK:       func.func private @layer.backward(%[[DY:[^:]*]]: tensor<8x16xf32>, %[[SUM:[^:]*]]: tensor<8x16xf32>,
// CHECK-SAME:      %[[X:[^:]*]]: tensor<8x16xf32>, %[[Z:[^:]*]]: tensor<8x16xf32>, %[[W:[^:]*]]: tensor<16x16xf32>)
// CHECK:         %[[DZ:.*]] = nag.relu2_vjp %[[Z]], %[[DY]]
// CHECK:         %[[DX:.*]] = nag.linear %[[DZ]], %[[W]] {transpose_weight}
// CHECK:         %[[DW:.*]] = nag.weight_grad %[[DZ]], %[[X]]
// CHECK:         %[[DB:.*]] = arith.addf %[[SUM]], %[[DY]]
// CHECK:         return %[[DX]], %[[DB]], %[[DW]]
// CHECK:       func.func @f.gradients(%[[X:[^:]*]]: tensor<8x16xf32>, %[[W:[^:]*]]: tensor<3x16x16xf32>, %[[B:[^:]*]]: tensor<8x16xf32>,
// CHECK-SAME:      %[[DY:[^:]*]]: tensor<8x16xf32> {nag.name = "cotangent:0"})
// CHECK:         %[[ZERO:.*]] = arith.constant dense<0.0{{.*}}> : tensor<8x16xf32>
// CHECK:         %{{.*}}, %[[SAVED:.*]]:2 = nag.repeat @layer.forward 3 carry(%[[X]]) stacked(%[[W]]) shared(%[[B]])
// CHECK:         %[[D:.*]]:2, %[[DW:.*]] = nag.repeat @layer.backward 3 carry(%[[DY]], %[[ZERO]]) stacked(%[[SAVED]]#0, %[[SAVED]]#1, %[[W]])
// CHECK-SAME:      shared() {reverse}
// CHECK:         return %[[D]]#0, %[[DW]], %[[D]]#1
func.func private @layer(%x: tensor<8x16xf32>, %w: tensor<16x16xf32>, %b: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %z = nag.linear %x, %w : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
  %r = nag.relu2 %z : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %y = arith.addf %r, %b : tensor<8x16xf32>
  return %y : tensor<8x16xf32>
}
func.func @f(%x: tensor<8x16xf32>, %w: tensor<3x16x16xf32>, %b: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %y = nag.repeat @layer 3 carry(%x) stacked(%w) shared(%b)
      : (tensor<8x16xf32>), (tensor<3x16x16xf32>), (tensor<8x16xf32>) -> (tensor<8x16xf32>), ()
  return %y : tensor<8x16xf32>
}

// -----

// A repeat that visits two of four slices from the second on: the weights' gradient is zero elsewhere.

// CHECK-LABEL: func.func private @scale(
// CHECK:       func.func @f.gradients(%[[X:[^:]*]]: tensor<8x16xf32>, %[[W:[^:]*]]: tensor<4x8x16xf32>,
// CHECK:         %[[ZEROS:.*]] = arith.constant dense<0.0{{.*}}> : tensor<4x8x16xf32>
// CHECK:         nag.repeat @scale.forward 2 carry(%[[X]]) stacked(%[[W]]) shared() {first = 1 : i64}
// CHECK:         %[[USED:.*]] = tensor.extract_slice %[[W]][1, 0, 0] [2, 8, 16] [1, 1, 1]
// CHECK:         %{{.*}}, %[[DW:.*]] = nag.repeat @scale.backward 2 carry(%{{.*}}) stacked(%{{.*}}, %[[USED]]) shared() {reverse}
// CHECK:         %[[ALL:.*]] = tensor.insert_slice %[[DW]] into %[[ZEROS]][1, 0, 0] [2, 8, 16] [1, 1, 1]
// CHECK:         return %{{.*}}, %[[ALL]]
func.func private @scale(%x: tensor<8x16xf32>, %w: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %y = arith.mulf %x, %w : tensor<8x16xf32>
  return %y : tensor<8x16xf32>
}
func.func @f(%x: tensor<8x16xf32>, %w: tensor<4x8x16xf32>) -> tensor<8x16xf32> {
  %y = nag.repeat @scale 2 carry(%x) stacked(%w) shared() {first = 1}
      : (tensor<8x16xf32>), (tensor<4x8x16xf32>), () -> (tensor<8x16xf32>), ()
  return %y : tensor<8x16xf32>
}

// -----

// Slices that two repeats visit lie side by side in the gradient; of what neither visits it is zero.

// CHECK-LABEL: func.func private @scale(
// CHECK:       func.func @f.gradients(
// CHECK:         %[[ZEROS:.*]] = arith.constant dense<0.0{{.*}}> : tensor<4x8x16xf32>
// CHECK:         %{{.*}}, %[[LAST:.*]]:2 = nag.repeat @scale.backward 1
// CHECK:         %[[SOME:.*]] = tensor.insert_slice %[[LAST]]#1 into %[[ZEROS]][2, 0, 0]
// CHECK:         %{{.*}}, %[[FIRST:.*]]:2 = nag.repeat @scale.backward 2
// CHECK-NOT:     arith.addf
// CHECK:         %[[DV:.*]] = tensor.concat dim(0) %[[FIRST]]#0, %[[LAST]]#0
// CHECK:         %[[DW:.*]] = tensor.insert_slice %[[FIRST]]#1 into %[[SOME]][0, 0, 0]
// CHECK:         return %{{.*}}, %[[DV]], %[[DW]]
func.func private @scale(%x: tensor<8x16xf32>, %v: tensor<8x16xf32>, %w: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %y = arith.mulf %x, %v : tensor<8x16xf32>
  %z = arith.mulf %y, %w : tensor<8x16xf32>
  return %z : tensor<8x16xf32>
}
func.func @f(%x: tensor<8x16xf32>, %v: tensor<3x8x16xf32>, %w: tensor<4x8x16xf32>) -> tensor<8x16xf32> {
  %y = nag.repeat @scale 2 carry(%x) stacked(%v, %w) shared() {first = 0}
      : (tensor<8x16xf32>), (tensor<3x8x16xf32>, tensor<4x8x16xf32>), () -> (tensor<8x16xf32>), ()
  %z = nag.repeat @scale 1 carry(%y) stacked(%v, %w) shared() {first = 2}
      : (tensor<8x16xf32>), (tensor<3x8x16xf32>, tensor<4x8x16xf32>), () -> (tensor<8x16xf32>), ()
  return %z : tensor<8x16xf32>
}

// -----

// A function that is used in two ways has two pairs of derivatives, each with one ending.

// CHECK-LABEL: func.func private @square(
// CHECK:       func.func private @square.forward(
// CHECK:       func.func private @square.backward(
// CHECK:       func.func private @square.forward.2(
// CHECK:       func.func private @square.backward.2(
// CHECK:       func.func @f.gradients(
// CHECK:         call @square.forward[[CALL:(.2)?]](
// CHECK:         nag.repeat @square.forward[[REPEAT:(.2)?]] 3
// CHECK:         nag.repeat @square.backward[[REPEAT]] 3
// CHECK:         call @square.backward[[CALL]](
func.func private @square(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %y = arith.mulf %x, %x : tensor<8x16xf32>
  return %y : tensor<8x16xf32>
}
func.func @f(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %y = call @square(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %z = nag.repeat @square 3 carry(%y) stacked() shared() : (tensor<8x16xf32>), (), () -> (tensor<8x16xf32>), ()
  return %z : tensor<8x16xf32>
}
