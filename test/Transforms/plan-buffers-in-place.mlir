// RUN: nag-opt %s --split-input-file --nag-plan-buffers | FileCheck %s
// RUN: nag-opt %s --split-input-file --nag-plan-buffers=report -o /dev/null 2>&1 | FileCheck %s --check-prefix=REPORT

// A layer that updates its carry in place finds it and leaves it in one slot: nothing alternates, nothing is copied.
// CHECK-LABEL: func.func private @layer
// CHECK-SAME: %arg0: tensor<8x16xf32> {nag.overwritten}
// CHECK-SAME: -> (tensor<8x16xf32> {nag.updates})
// CHECK-NOT: nag.copy
// CHECK: nag.launch @kernels::@put(%arg0, %{{.*}}) {nag.slots = [#nag.slot<argument(0) at 0>]}
// CHECK: nag.launch @kernels::@put(%{{.*}}) {nag.slots = [#nag.slot<argument(0) at 0>]}
// CHECK-LABEL: func.func @loop
// CHECK-NOT: nag.copy
// CHECK: nag.launch {{.*}} {nag.slots = [#nag.slot<argument(1) at 0>]}
// CHECK: nag.repeat @layer
// CHECK-SAME: nag.carry_slots = [#nag.slot<argument(1) at 0>, #nag.slot<argument(1) at 0>]
// CHECK-SAME: nag.slots = [#nag.slot<argument(1) at 0>]
func.func private @layer(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %r = nag.launch @kernels::@rows(%x) : (tensor<8x16xf32>) -> tensor<4x16xf32>
  %a = nag.launch @kernels::@put(%x, %r) : (tensor<8x16xf32>, tensor<4x16xf32>) -> tensor<8x16xf32>
  %s = nag.launch @kernels::@rows(%a) : (tensor<8x16xf32>) -> tensor<4x16xf32>
  %b = nag.launch @kernels::@put(%a, %s) : (tensor<8x16xf32>, tensor<4x16xf32>) -> tensor<8x16xf32>
  return %b : tensor<8x16xf32>
}
func.func @loop(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %a = nag.launch @kernels::@f(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %y = nag.repeat @layer 3 carry(%a) stacked() shared() : (tensor<8x16xf32>), (), () -> (tensor<8x16xf32>), ()
  return %y : tensor<8x16xf32>
}
module @kernels attributes {nag.kernels} {
  func.func private @f(tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
  func.func private @rows(tensor<8x16xf32>, tensor<4x16xf32>) -> tensor<4x16xf32>
  func.func private @put(tensor<8x16xf32>, tensor<4x16xf32>, tensor<8x16xf32> {nag.shares = 0, nag.updates = 0}) -> tensor<8x16xf32>
}

// -----

// What is still read behind the loop, or is not this function's to write, is copied once, before it.
// CHECK-LABEL: func.func @read_later
// CHECK: %[[A:.*]] = nag.launch
// CHECK: %[[COPY:.*]] = nag.copy %[[A]]
// CHECK: nag.repeat @layer 2 carry(%[[COPY]])
// CHECK: nag.launch @kernels::@add(%{{.*}}, %[[A]])
// CHECK-LABEL: func.func @argument
// REPORT: remark: workspace {{.*}}; 1 copies of 512 bytes
// CHECK: %[[COPY:.*]] = nag.copy %arg0 {nag.slots = [#nag.slot<argument(1) at 0>]}
// CHECK: nag.repeat @layer 2 carry(%[[COPY]])
// As an operand in two places, too.
// CHECK-LABEL: func.func @twice
// CHECK: %[[A:.*]] = nag.launch
// CHECK: %[[COPY:.*]] = nag.copy %[[A]]
// CHECK: nag.repeat @both 2 carry(%[[COPY]]) stacked() shared(%[[A]])
func.func private @layer(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %a = nag.launch @kernels::@put(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %a : tensor<8x16xf32>
}
func.func private @both(%x: tensor<8x16xf32>, %y: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %a = nag.launch @kernels::@put(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %a : tensor<8x16xf32>
}
func.func @read_later(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %a = nag.launch @kernels::@f(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %y = nag.repeat @layer 2 carry(%a) stacked() shared() : (tensor<8x16xf32>), (), () -> (tensor<8x16xf32>), ()
  %z = nag.launch @kernels::@add(%y, %a) : (tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
  return %z : tensor<8x16xf32>
}
func.func @argument(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %y = nag.repeat @layer 2 carry(%x) stacked() shared() : (tensor<8x16xf32>), (), () -> (tensor<8x16xf32>), ()
  return %y : tensor<8x16xf32>
}
func.func @twice(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %a = nag.launch @kernels::@f(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %y = nag.repeat @both 2 carry(%a) stacked() shared(%a) : (tensor<8x16xf32>), (), (tensor<8x16xf32>) -> (tensor<8x16xf32>), ()
  return %y : tensor<8x16xf32>
}
module @kernels attributes {nag.kernels} {
  func.func private @f(tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
  func.func private @add(tensor<8x16xf32>, tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
  func.func private @put(tensor<8x16xf32>, tensor<8x16xf32> {nag.shares = 0, nag.updates = 0}) -> tensor<8x16xf32>
}

// -----

// The carry is updated on the way, and what comes out is made elsewhere: two slots, the one that comes in is written over.
// CHECK-LABEL: func.func private @layer
// CHECK-SAME: %arg0: tensor<8x16xf32> {nag.overwritten}) -> tensor<8x16xf32>
// CHECK-NOT: nag.copy
// CHECK: nag.launch @kernels::@put(%arg0) {nag.slots = [#nag.slot<argument(0) at 0>]}
// CHECK: nag.launch @kernels::@f(%{{.*}}) {nag.slots = [#nag.slot<argument(1) at 0>]}
// CHECK-LABEL: func.func @alternating
// CHECK-NOT: nag.copy
// CHECK: nag.launch {{.*}} {nag.slots = [#nag.slot<workspace at [[OTHER:[0-9]+]]>]}
// CHECK: nag.repeat @layer
// CHECK-SAME: nag.carry_slots = [#nag.slot<argument(1) at 0>, #nag.slot<workspace at [[OTHER]]>]
// CHECK-LABEL: func.func @once
// CHECK: %[[COPY:.*]] = nag.copy %arg0 {nag.slots = [#nag.slot<workspace at
// CHECK: nag.repeat @layer 1 carry(%[[COPY]])
func.func private @layer(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %a = nag.launch @kernels::@put(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %b = nag.launch @kernels::@f(%a) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %b : tensor<8x16xf32>
}
func.func @alternating(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %a = nag.launch @kernels::@f(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %y = nag.repeat @layer 3 carry(%a) stacked() shared() : (tensor<8x16xf32>), (), () -> (tensor<8x16xf32>), ()
  return %y : tensor<8x16xf32>
}
func.func @once(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %y = nag.repeat @layer 1 carry(%x) stacked() shared() : (tensor<8x16xf32>), (), () -> (tensor<8x16xf32>), ()
  return %y : tensor<8x16xf32>
}
module @kernels attributes {nag.kernels} {
  func.func private @f(tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
  func.func private @put(tensor<8x16xf32>, tensor<8x16xf32> {nag.shares = 0, nag.updates = 0}) -> tensor<8x16xf32>
}

// -----

// A carry that is also saved keeps its memory: the update is made on a copy, as before. So does one in a function that another calls.
// CHECK-LABEL: func.func private @saving(%arg0: tensor<8x16xf32>)
// CHECK: %[[COPY:.*]] = nag.copy %arg0 {nag.slots = [#nag.slot<argument(1) at 0>]}
// CHECK: nag.launch @kernels::@put(%[[COPY]])
// CHECK-LABEL: func.func private @called(%arg0: tensor<8x16xf32>)
// CHECK: nag.copy %arg0
func.func private @saving(%x: tensor<8x16xf32>) -> (tensor<8x16xf32>, tensor<8x16xf32>) {
  %a = nag.launch @kernels::@put(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %a, %x : tensor<8x16xf32>, tensor<8x16xf32>
}
func.func private @called(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %a = nag.launch @kernels::@put(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %a : tensor<8x16xf32>
}
func.func @both(%x: tensor<8x16xf32>) -> (tensor<8x16xf32>, tensor<2x8x16xf32>) {
  %a = call @called(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %y, %s = nag.repeat @saving 2 carry(%a) stacked() shared() : (tensor<8x16xf32>), (), () -> (tensor<8x16xf32>), (tensor<2x8x16xf32>)
  return %y, %s : tensor<8x16xf32>, tensor<2x8x16xf32>
}
module @kernels attributes {nag.kernels} {
  func.func private @put(tensor<8x16xf32>, tensor<8x16xf32> {nag.shares = 0, nag.updates = 0}) -> tensor<8x16xf32>
}

// -----

// What leaves a loop that saves its carries goes where the next loop wants it: into its stack, or where it is updated in place.
// CHECK-LABEL: func.func @loops
// CHECK-NOT: nag.copy
// CHECK: nag.launch @kernels::@f(%arg0) {nag.slots = [#nag.slot<argument(2) at 0>]}
// CHECK: nag.repeat @saving 2
// CHECK-SAME: nag.slots = [#nag.slot<argument(3) at 0>, #nag.slot<argument(2) at 0>]
// CHECK: nag.repeat @layer 2
// CHECK-SAME: nag.slots = [#nag.slot<argument(3) at 0>]
// CHECK: nag.repeat @saving 1
// CHECK-SAME: nag.slots = [#nag.slot<argument(1) at 0>, #nag.slot<argument(3) at 0>]
func.func private @saving(%x: tensor<8x16xf32>) -> (tensor<8x16xf32>, tensor<8x16xf32>) {
  %a = nag.launch @kernels::@f(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %a, %x : tensor<8x16xf32>, tensor<8x16xf32>
}
func.func private @layer(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %a = nag.launch @kernels::@put(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %a : tensor<8x16xf32>
}
func.func @loops(%x: tensor<8x16xf32>) -> (tensor<8x16xf32>, tensor<2x8x16xf32>, tensor<1x8x16xf32>) {
  %a = nag.launch @kernels::@f(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %y, %s = nag.repeat @saving 2 carry(%a) stacked() shared() : (tensor<8x16xf32>), (), () -> (tensor<8x16xf32>), (tensor<2x8x16xf32>)
  %z = nag.repeat @layer 2 carry(%y) stacked() shared() : (tensor<8x16xf32>), (), () -> (tensor<8x16xf32>), ()
  %w, %t = nag.repeat @saving 1 carry(%z) stacked() shared() : (tensor<8x16xf32>), (), () -> (tensor<8x16xf32>), (tensor<1x8x16xf32>)
  return %w, %s, %t : tensor<8x16xf32>, tensor<2x8x16xf32>, tensor<1x8x16xf32>
}
module @kernels attributes {nag.kernels} {
  func.func private @f(tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
  func.func private @put(tensor<8x16xf32>, tensor<8x16xf32> {nag.shares = 0, nag.updates = 0}) -> tensor<8x16xf32>
}
