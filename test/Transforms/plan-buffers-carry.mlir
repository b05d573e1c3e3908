// RUN: nag-opt %s --split-input-file --nag-plan-buffers=carry-rows | FileCheck %s
// RUN: nag-opt %s --split-input-file --nag-plan-buffers | FileCheck %s --check-prefix=COPY

// What the launch updates is needed afterwards: the kernel writes all rows of the result elsewhere, those that nag.route has not listed as
// they are.
// CHECK-LABEL: func.func @saved
// CHECK-NOT: nag.copy
// CHECK: nag.launch @kernels::@put(%arg0, %{{.*}}) {nag.slots = [#nag.slot<argument(2) at 0>]}
// CHECK-LABEL: func.func @put(
// CHECK-SAME: {nag.carries, nag.shares = 0 : i64, nag.updates = 0 : i64}
// COPY-LABEL: func.func @saved
// COPY: %[[COPY:.*]] = nag.copy %arg0
// COPY: nag.launch @kernels::@put(%[[COPY]], %{{.*}})
// COPY-NOT: nag.carries
func.func @saved(%x: tensor<2x8x16xf32>, %g: tensor<2x8xf32>) -> (tensor<2x8x16xf32>, tensor<2x8x16xf32>) {
  %i = nag.launch @kernels::@route(%g) : (tensor<2x8xf32>) -> tensor<8xi32>
  %y = nag.launch @kernels::@put(%x, %i) : (tensor<2x8x16xf32>, tensor<8xi32>) -> tensor<2x8x16xf32>
  %z = nag.launch @kernels::@add(%x, %y) : (tensor<2x8x16xf32>, tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
  return %y, %z : tensor<2x8x16xf32>, tensor<2x8x16xf32>
}
module @kernels attributes {nag.kernels} {
  func.func private @add(tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
  func.func @route(%g: tensor<2x8xf32>, %out: tensor<8xi32>) -> tensor<8xi32> attributes {nag.kernel} {
    %i, %o = nag.route %g {routing = #nag.routing<capacity, rate = 0.5>} : (tensor<2x8xf32>) -> (tensor<8xi32>, tensor<3xi32>)
    %0 = bufferization.materialize_in_destination %i in %out : (tensor<8xi32>, tensor<8xi32>) -> tensor<8xi32>
    return %0 : tensor<8xi32>
  }
  func.func @put(%x: tensor<2x8x16xf32>, %i: tensor<8xi32>, %out: tensor<2x8x16xf32> {nag.shares = 0, nag.updates = 0})
      -> tensor<2x8x16xf32> attributes {nag.kernel} {
    %o = arith.constant dense<[0, 4, 8]> : tensor<3xi32>
    %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<8xi32>, tensor<3xi32>) -> (tensor<8x16xf32>, tensor<2x8x16xf32>)
    %s = arith.addf %r, %r : tensor<8x16xf32>
    %y = nag.put %s, %x, %i, %o : (tensor<8x16xf32>, tensor<2x8x16xf32>, tensor<8xi32>, tensor<3xi32>) -> tensor<2x8x16xf32>
    %0 = bufferization.materialize_in_destination %y in %out : (tensor<2x8x16xf32>, tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
    return %0 : tensor<2x8x16xf32>
  }
}

// -----

// Of indices that come from elsewhere nothing is known, a product's kernel does not copy rows, and where another result may stand in the
// memory of what is updated, rows are not read from there: all are copied before.
// CHECK-LABEL: func.func @copied
// CHECK: nag.copy %arg0
// CHECK: nag.launch @kernels::@put(
// CHECK: nag.copy %arg0
// CHECK: nag.launch @kernels::@product(
// CHECK: nag.copy %arg0
// CHECK: nag.launch @kernels::@twice(
// CHECK-NOT: nag.carries
func.func @copied(%x: tensor<2x8x16xf32>, %g: tensor<2x8xf32>, %j: tensor<8xi32>, %w: tensor<16x16xf32>)
    -> (tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8x16xf32>) {
  %i = nag.launch @kernels::@route(%g) : (tensor<2x8xf32>) -> tensor<8xi32>
  %y = nag.launch @kernels::@put(%x, %j) : (tensor<2x8x16xf32>, tensor<8xi32>) -> tensor<2x8x16xf32>
  %z = nag.launch @kernels::@product(%x, %i, %w) : (tensor<2x8x16xf32>, tensor<8xi32>, tensor<16x16xf32>) -> tensor<2x8x16xf32>
  %u, %v = nag.launch @kernels::@twice(%x, %i) : (tensor<2x8x16xf32>, tensor<8xi32>) -> (tensor<2x8x16xf32>, tensor<2x8x16xf32>)
  return %y, %z, %u, %v : tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8x16xf32>
}
module @kernels attributes {nag.kernels} {
  func.func @route(%g: tensor<2x8xf32>, %out: tensor<8xi32>) -> tensor<8xi32> attributes {nag.kernel} {
    %i, %o = nag.route %g {routing = #nag.routing<capacity, rate = 0.5>} : (tensor<2x8xf32>) -> (tensor<8xi32>, tensor<3xi32>)
    %0 = bufferization.materialize_in_destination %i in %out : (tensor<8xi32>, tensor<8xi32>) -> tensor<8xi32>
    return %0 : tensor<8xi32>
  }
  func.func @put(%x: tensor<2x8x16xf32>, %i: tensor<8xi32>, %out: tensor<2x8x16xf32> {nag.shares = 0, nag.updates = 0})
      -> tensor<2x8x16xf32> attributes {nag.kernel} {
    %o = arith.constant dense<[0, 4, 8]> : tensor<3xi32>
    %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<8xi32>, tensor<3xi32>) -> (tensor<8x16xf32>, tensor<2x8x16xf32>)
    %y = nag.put %r, %x, %i, %o : (tensor<8x16xf32>, tensor<2x8x16xf32>, tensor<8xi32>, tensor<3xi32>) -> tensor<2x8x16xf32>
    %0 = bufferization.materialize_in_destination %y in %out : (tensor<2x8x16xf32>, tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
    return %0 : tensor<2x8x16xf32>
  }
  func.func @product(%x: tensor<2x8x16xf32>, %i: tensor<8xi32>, %w: tensor<16x16xf32>, %out: tensor<2x8x16xf32> {nag.updates = 0})
      -> tensor<2x8x16xf32> attributes {nag.kernel} {
    %o = arith.constant dense<[0, 4, 8]> : tensor<3xi32>
    %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<8xi32>, tensor<3xi32>) -> (tensor<8x16xf32>, tensor<2x8x16xf32>)
    %s = nag.linear %r, %w : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
    %y = nag.put %s, %x, %i, %o : (tensor<8x16xf32>, tensor<2x8x16xf32>, tensor<8xi32>, tensor<3xi32>) -> tensor<2x8x16xf32>
    %0 = bufferization.materialize_in_destination %y in %out : (tensor<2x8x16xf32>, tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
    return %0 : tensor<2x8x16xf32>
  }
  func.func @twice(%x: tensor<2x8x16xf32>, %i: tensor<8xi32>, %a: tensor<2x8x16xf32> {nag.shares = 0},
                   %b: tensor<2x8x16xf32> {nag.updates = 0}) -> (tensor<2x8x16xf32>, tensor<2x8x16xf32>) attributes {nag.kernel} {
    %o = arith.constant dense<[0, 4, 8]> : tensor<3xi32>
    %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<8xi32>, tensor<3xi32>) -> (tensor<8x16xf32>, tensor<2x8x16xf32>)
    %s = arith.addf %x, %x : tensor<2x8x16xf32>
    %y = nag.put %r, %x, %i, %o : (tensor<8x16xf32>, tensor<2x8x16xf32>, tensor<8xi32>, tensor<3xi32>) -> tensor<2x8x16xf32>
    %0 = bufferization.materialize_in_destination %s in %a : (tensor<2x8x16xf32>, tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
    %1 = bufferization.materialize_in_destination %y in %b : (tensor<2x8x16xf32>, tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
    return %0, %1 : tensor<2x8x16xf32>, tensor<2x8x16xf32>
  }
}
