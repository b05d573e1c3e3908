// RUN: nag-opt %s --split-input-file --nag-plan-buffers | FileCheck %s
// RUN: nag-opt %s --split-input-file --nag-plan-buffers=skew=256 | FileCheck %s --check-prefix=SKEW

// A chain needs two buffers in turn; the last kernel writes the result's.
// CHECK-LABEL: func.func @chain
// CHECK-SAME: nag.workspace_bytes = 1024
// CHECK: nag.launch {{.*}} {nag.slots = [#nag.slot<workspace at 0>]}
// CHECK: nag.launch {{.*}} {nag.slots = [#nag.slot<workspace at 512>]}
// CHECK: nag.launch {{.*}} {nag.slots = [#nag.slot<workspace at 0>]}
// CHECK: nag.launch {{.*}} {nag.slots = [#nag.slot<argument(1) at 0>]}
func.func @chain(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %a = nag.launch @kernels::@f(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %b = nag.launch @kernels::@f(%a) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %c = nag.launch @kernels::@f(%b) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %d = nag.launch @kernels::@f(%c) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %d : tensor<8x16xf32>
}
module @kernels attributes {nag.kernels} {
  func.func private @f(tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
}

// -----

// A destination that may be its input's memory is, when the input dies.
// CHECK-LABEL: func.func @shared
// CHECK-SAME: nag.workspace_bytes = 512
// CHECK: nag.launch {{.*}} {nag.slots = [#nag.slot<argument(1) at 0>]}
// CHECK: nag.launch {{.*}} {nag.slots = [#nag.slot<argument(1) at 0>]}
// CHECK: nag.launch {{.*}} {nag.slots = [#nag.slot<workspace at 0>]}
// CHECK: nag.launch {{.*}} {nag.slots = [#nag.slot<argument(2) at 0>]}
func.func @shared(%x: tensor<8x16xf32>) -> (tensor<8x16xf32>, tensor<8x16xf32>) {
  %a = nag.launch @kernels::@f(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %b = nag.launch @kernels::@f(%a) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %c = nag.launch @kernels::@g(%b) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %d = nag.launch @kernels::@g(%c) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %b, %d : tensor<8x16xf32>, tensor<8x16xf32>
}
module @kernels attributes {nag.kernels} {
  func.func private @f(tensor<8x16xf32>, tensor<8x16xf32> {nag.shares = 0}) -> tensor<8x16xf32>
  func.func private @g(tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
}

// -----

// A result of an argument's name updates it where the kernel may; else, or
// when the old value is still read, it is copied at the end.
// CHECK-LABEL: func.func @in_place
// CHECK: nag.launch @kernels::@f{{.*}} {nag.slots = [#nag.slot<argument(0) at 0>]}
// CHECK: %[[Q:.*]] = nag.launch @kernels::@g{{.*}} {nag.slots = [#nag.slot<workspace at 0>]}
// CHECK: nag.copy %[[Q]] {nag.slots = [#nag.slot<argument(1) at 0>]}
func.func @in_place(%p: tensor<8x16xf32> {nag.name = "p"}, %q: tensor<8x16xf32> {nag.name = "q"})
    -> (tensor<8x16xf32> {nag.name = "p"}, tensor<8x16xf32> {nag.name = "q"}) {
  %a = nag.launch @kernels::@f(%p) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %b = nag.launch @kernels::@g(%q) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %a, %b : tensor<8x16xf32>, tensor<8x16xf32>
}
module @kernels attributes {nag.kernels} {
  func.func private @f(tensor<8x16xf32>, tensor<8x16xf32> {nag.shares = 0}) -> tensor<8x16xf32>
  func.func private @g(tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
}

// -----

// Two arguments swap: the one that is overwritten first is saved.
// CHECK-LABEL: func.func @swap
// CHECK: %[[A:.*]] = nag.copy %arg1 {nag.slots = [#nag.slot<workspace at 0>]}
// CHECK: %[[B:.*]] = nag.copy %arg0 {nag.slots = [#nag.slot<workspace at 512>]}
// CHECK: nag.copy %[[A]] {nag.slots = [#nag.slot<argument(0) at 0>]}
// CHECK: nag.copy %[[B]] {nag.slots = [#nag.slot<argument(1) at 0>]}
func.func @swap(%p: tensor<8x16xf32> {nag.name = "p"}, %q: tensor<8x16xf32> {nag.name = "q"})
    -> (tensor<8x16xf32> {nag.name = "p"}, tensor<8x16xf32> {nag.name = "q"}) {
  return %q, %p : tensor<8x16xf32>, tensor<8x16xf32>
}

// -----

// Parts are written where the whole wants them.
// CHECK-LABEL: func.func @parts
// CHECK: nag.launch {{.*}} {nag.slots = [#nag.slot<argument(1) at 0>]}
// CHECK: nag.launch {{.*}} {nag.slots = [#nag.slot<argument(1) at 512>]}
// CHECK-NOT: nag.copy
// CHECK: tensor.concat
func.func @parts(%x: tensor<8x16xf32>) -> tensor<2x8x16xf32> {
  %a = nag.launch @kernels::@f(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %b = nag.launch @kernels::@f(%a) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %c = tensor.expand_shape %a [[0, 1], [2]] output_shape [1, 8, 16] : tensor<8x16xf32> into tensor<1x8x16xf32>
  %d = tensor.expand_shape %b [[0, 1], [2]] output_shape [1, 8, 16] : tensor<8x16xf32> into tensor<1x8x16xf32>
  %e = tensor.concat dim(0) %c, %d : (tensor<1x8x16xf32>, tensor<1x8x16xf32>) -> tensor<2x8x16xf32>
  return %e : tensor<2x8x16xf32>
}
module @kernels attributes {nag.kernels} {
  func.func private @f(tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
}

// -----

// A carry alternates; with three iterations the first and the last write the
// result, so the carry that comes in may stand in the other buffer.
// CHECK-LABEL: func.func private @layer
// CHECK-LABEL: func.func @loop
// CHECK: nag.launch {{.*}} {nag.slots = [#nag.slot<workspace at [[OTHER:[0-9]+]]>]}
// CHECK: nag.repeat @layer
// CHECK-SAME: nag.callee_slot = #nag.slot<workspace at
// CHECK-SAME: nag.carry_slots = [#nag.slot<argument(2) at 0>, #nag.slot<workspace at [[OTHER]]>]
// CHECK-SAME: nag.slots = [#nag.slot<argument(2) at 0>]
func.func private @layer(%x: tensor<8x16xf32>, %w: tensor<16x16xf32>) -> tensor<8x16xf32> {
  %a = nag.launch @kernels::@g(%x, %w) : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
  %b = nag.launch @kernels::@g(%a, %w) : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
  return %b : tensor<8x16xf32>
}
func.func @loop(%x: tensor<8x16xf32>, %w: tensor<3x16x16xf32>) -> tensor<8x16xf32> {
  %a = nag.launch @kernels::@f(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %y = nag.repeat @layer 3 carry(%a) stacked(%w) shared() : (tensor<8x16xf32>), (tensor<3x16x16xf32>), () -> (tensor<8x16xf32>), ()
  return %y : tensor<8x16xf32>
}
module @kernels attributes {nag.kernels} {
  func.func private @f(tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
  func.func private @g(tensor<8x16xf32>, tensor<16x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
}

// -----

// A carry that the layer also returns for the backward pass lives in its stack,
// which has one slice more: 3 * 512 bytes, then the carry that comes out.
// CHECK-LABEL: func.func private @layer
// CHECK-SAME: -> (tensor<8x16xf32>, tensor<8x16xf32> {nag.forwards = 0 : i64})
// CHECK-LABEL: func.func @saved
// CHECK: nag.launch {{.*}} {nag.slots = [#nag.slot<workspace at [[STACK:0]]>]}
// CHECK-NOT: nag.copy
// CHECK: nag.repeat
// CHECK-SAME: nag.slots = [#nag.slot<workspace at 1536>, #nag.slot<workspace at [[STACK]]>]
func.func private @layer(%x: tensor<8x16xf32>) -> (tensor<8x16xf32>, tensor<8x16xf32>) {
  %a = nag.launch @kernels::@f(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %a, %x : tensor<8x16xf32>, tensor<8x16xf32>
}
func.func @saved(%x: tensor<8x16xf32>) -> tensor<3x8x16xf32> {
  %a = nag.launch @kernels::@f(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %y, %s = nag.repeat @layer 3 carry(%a) stacked() shared() : (tensor<8x16xf32>), (), () -> (tensor<8x16xf32>), (tensor<3x8x16xf32>)
  %r = nag.launch @kernels::@h(%y, %s) : (tensor<8x16xf32>, tensor<3x8x16xf32>) -> tensor<3x8x16xf32>
  return %r : tensor<3x8x16xf32>
}
module @kernels attributes {nag.kernels} {
  func.func private @f(tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
  func.func private @h(tensor<8x16xf32>, tensor<3x8x16xf32>, tensor<3x8x16xf32>) -> tensor<3x8x16xf32>
}

// -----

// A callee's update in place is the caller's, where the caller's argument is
// updated too; an argument that must survive is copied first.
// CHECK-LABEL: func.func @step
// CHECK-NOT: nag.copy
// CHECK: call @update(%arg0) {nag.callee_slot = #nag.slot<workspace at 0>, nag.slots = [#nag.slot<argument(0) at 0>]}
// CHECK-LABEL: func.func @look_ahead
// CHECK: %[[COPY:.*]] = nag.copy %arg0
// CHECK: %[[NEW:.*]] = call @update(%[[COPY]])
// CHECK: nag.copy %[[NEW]] {nag.slots = [#nag.slot<argument(1) at 0>]}
func.func @update(%p: tensor<8x16xf32> {nag.name = "p"}) -> (tensor<8x16xf32> {nag.name = "p"}) {
  %a = nag.launch @kernels::@f(%p) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %a : tensor<8x16xf32>
}
func.func @step(%p: tensor<8x16xf32> {nag.name = "p"}) -> (tensor<8x16xf32> {nag.name = "p"}) {
  %a = call @update(%p) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %a : tensor<8x16xf32>
}
func.func @look_ahead(%p: tensor<8x16xf32> {nag.name = "p"}) -> (tensor<8x16xf32> {nag.name = "q"}) {
  %a = call @update(%p) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %a : tensor<8x16xf32>
}
module @kernels attributes {nag.kernels} {
  func.func private @f(tensor<8x16xf32>, tensor<8x16xf32> {nag.shares = 0}) -> tensor<8x16xf32>
}

// -----

// A carry that two repeats in a row hand back unchanged stands in one place throughout: nothing writes another.
// CHECK-LABEL: func.func private @layer
// CHECK-SAME: tensor<16xf32> {nag.forwards = 1 : i64})
// CHECK-LABEL: func.func @chain
// CHECK: nag.launch @kernels::@f(%arg1) {nag.slots = [#nag.slot<workspace at [[S:[0-9]+]]>]}
// CHECK: nag.repeat @layer 1
// CHECK-SAME: nag.slots = [#nag.slot<workspace at {{[0-9]+}}>, #nag.slot<workspace at [[S]]>]
// CHECK: nag.repeat @layer 2
// CHECK-SAME: nag.slots = [#nag.slot<workspace at {{[0-9]+}}>, #nag.slot<workspace at [[S]]>]
// A constant is copied before the first of them.
// CHECK: %[[C:.*]] = nag.copy %{{.*}} {nag.slots = [#nag.slot<workspace at [[T:[0-9]+]]>]} : tensor<16xf32>
// CHECK: nag.repeat @layer 1 carry(%{{.*}}, %[[C]])
// CHECK-SAME: nag.slots = [#nag.slot<workspace at {{[0-9]+}}>, #nag.slot<workspace at [[T]]>]
// CHECK: nag.repeat @layer 2
// CHECK-SAME: nag.slots = [#nag.slot<workspace at {{[0-9]+}}>, #nag.slot<workspace at [[T]]>]
func.func private @layer(%x: tensor<8x16xf32>, %s: tensor<16xf32>) -> (tensor<8x16xf32>, tensor<16xf32>) {
  %a = nag.launch @kernels::@g(%x, %s) : (tensor<8x16xf32>, tensor<16xf32>) -> tensor<8x16xf32>
  return %a, %s : tensor<8x16xf32>, tensor<16xf32>
}
func.func @chain(%x: tensor<8x16xf32>, %s: tensor<16xf32>) -> (tensor<8x16xf32>, tensor<8x16xf32>) {
  %t = nag.launch @kernels::@f(%s) : (tensor<16xf32>) -> tensor<16xf32>
  %a, %b = nag.repeat @layer 1 carry(%x, %t) stacked() shared() : (tensor<8x16xf32>, tensor<16xf32>), (), () -> (tensor<8x16xf32>, tensor<16xf32>), ()
  %c, %d = nag.repeat @layer 2 carry(%a, %b) stacked() shared() : (tensor<8x16xf32>, tensor<16xf32>), (), () -> (tensor<8x16xf32>, tensor<16xf32>), ()
  %y = nag.launch @kernels::@g(%c, %d) : (tensor<8x16xf32>, tensor<16xf32>) -> tensor<8x16xf32>
  %zero = arith.constant dense<0.0> : tensor<16xf32>
  %e, %f = nag.repeat @layer 1 carry(%x, %zero) stacked() shared() : (tensor<8x16xf32>, tensor<16xf32>), (), () -> (tensor<8x16xf32>, tensor<16xf32>), ()
  %g, %h = nag.repeat @layer 2 carry(%e, %f) stacked() shared() : (tensor<8x16xf32>, tensor<16xf32>), (), () -> (tensor<8x16xf32>, tensor<16xf32>), ()
  %z = nag.launch @kernels::@g(%g, %h) : (tensor<8x16xf32>, tensor<16xf32>) -> tensor<8x16xf32>
  return %y, %z : tensor<8x16xf32>, tensor<8x16xf32>
}
module @kernels attributes {nag.kernels} {
  func.func private @f(tensor<16xf32>, tensor<16xf32>) -> tensor<16xf32>
  func.func private @g(tensor<8x16xf32>, tensor<16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
}

// -----

// Behind a page or more, bytes may stay free; not behind less.
// CHECK-LABEL: func.func @pages
// CHECK-SAME: nag.workspace_bytes = 8704
// SKEW-LABEL: func.func @pages
// SKEW-SAME: nag.workspace_bytes = 9216
// SKEW: nag.launch @kernels::@make{{.*}} {nag.slots = [#nag.slot<workspace at 4352>]}
// SKEW: nag.launch @kernels::@make{{.*}} {nag.slots = [#nag.slot<workspace at 0>]}
// SKEW: nag.launch @kernels::@small{{.*}} {nag.slots = [#nag.slot<workspace at 8704>]}
func.func @pages(%x: tensor<4xf32>) -> tensor<4xf32> {
  %a = nag.launch @kernels::@make(%x) : (tensor<4xf32>) -> tensor<64x16xf32>
  %b = nag.launch @kernels::@make(%x) : (tensor<4xf32>) -> tensor<64x16xf32>
  %c = nag.launch @kernels::@small(%x) : (tensor<4xf32>) -> tensor<8x16xf32>
  %d = nag.launch @kernels::@use(%a, %b, %c) : (tensor<64x16xf32>, tensor<64x16xf32>, tensor<8x16xf32>) -> tensor<4xf32>
  return %d : tensor<4xf32>
}
module @kernels attributes {nag.kernels} {
  func.func private @make(tensor<4xf32>, tensor<64x16xf32>) -> tensor<64x16xf32>
  func.func private @small(tensor<4xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
  func.func private @use(tensor<64x16xf32>, tensor<64x16xf32>, tensor<8x16xf32>, tensor<4xf32>) -> tensor<4xf32>
}
