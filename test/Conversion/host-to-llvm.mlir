// RUN: nag-opt %s --split-input-file --nag-plan-buffers --convert-nag-host-to-llvm | FileCheck %s

// Buffers come from the argument array and the workspace; the kernel is called
// with bare pointers and becomes part of the program, without what outlining
// noted on its arguments.
// CHECK-NOT: module @kernels
// CHECK-LABEL: llvm.func @nag_chain(%arg0: !llvm.ptr, %arg1: !llvm.ptr)
// CHECK: %[[X:.*]] = llvm.load %arg0
// CHECK: %[[OUT:.*]] = llvm.load
// CHECK: llvm.call @f(%[[X]], %arg1)
// CHECK: llvm.call @f(%arg1, %[[OUT]])
// CHECK: llvm.return
// CHECK: llvm.func internal @f(%{{[^ ]*}}: !llvm.ptr {llvm.noundef}, %{{[^ ]*}}: !llvm.ptr)
func.func @chain(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %a = nag.launch @kernels::@f(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %b = nag.launch @kernels::@f(%a) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %b : tensor<8x16xf32>
}
module @kernels attributes {nag.kernels} {
  llvm.func @f(%in: !llvm.ptr {llvm.noundef, nag.row_count}, %out: !llvm.ptr) attributes {nag.kernel} {
    llvm.return
  }
}

// -----

// A loop passes slices of the stacks; the carry alternates between two buffers.
// CHECK-LABEL: llvm.func internal @nag_layer
// CHECK-LABEL: llvm.func @nag_loop
// CHECK: %[[ARRAY:.*]] = llvm.alloca
// CHECK: llvm.br ^[[BODY:.*]](%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : i64, !llvm.ptr, !llvm.ptr, !llvm.ptr)
// CHECK: ^[[BODY]](%[[I:.*]]: i64, %[[IN:.*]]: !llvm.ptr, %[[NOW:.*]]: !llvm.ptr, %[[NEXT:.*]]: !llvm.ptr):
// CHECK: %[[LAST:.*]] = llvm.mlir.constant(2 : i64)
// CHECK: %[[INDEX:.*]] = llvm.sub %[[LAST]], %[[I]]
// CHECK: %[[STRIDE:.*]] = llvm.mlir.constant(1024 : i64)
// CHECK: llvm.mul %[[INDEX]], %[[STRIDE]]
// CHECK: llvm.store %[[IN]], %[[ARRAY]]
// CHECK: llvm.store %[[NOW]]
// CHECK: llvm.call @nag_layer(%[[ARRAY]]
// CHECK: llvm.cond_br %{{.*}}, ^[[BODY]](%{{.*}}, %[[NOW]], %[[NEXT]], %[[NOW]]
func.func private @layer(%x: tensor<8x16xf32>, %w: tensor<16x16xf32>) -> tensor<8x16xf32> {
  %a = nag.launch @kernels::@g(%x, %w) : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
  return %a : tensor<8x16xf32>
}
func.func @loop(%x: tensor<8x16xf32>, %w: tensor<3x16x16xf32>) -> tensor<8x16xf32> {
  %y = nag.repeat @layer 3 carry(%x) stacked(%w) shared() {reverse} : (tensor<8x16xf32>), (tensor<3x16x16xf32>), () -> (tensor<8x16xf32>), ()
  return %y : tensor<8x16xf32>
}
module @kernels attributes {nag.kernels} {
  llvm.func @g(!llvm.ptr, !llvm.ptr, !llvm.ptr) attributes {nag.kernel}
}

// -----

// A loop that saves its carries writes each into the next slice and the last one where it is wanted; one that updates its carry
// passes one pointer.
// CHECK-LABEL: llvm.func @nag_saved
// CHECK: llvm.load
// CHECK: %[[OUT:.*]] = llvm.load
// CHECK: %[[STACK:.*]] = llvm.load
// CHECK: ^[[BODY:.*]](%[[I:.*]]: i64):
// CHECK: llvm.mul %[[I]], %{{.*}} : i64
// CHECK: %[[SLICE:.*]] = llvm.getelementptr %[[STACK]]
// CHECK: %[[SAME:.*]] = llvm.getelementptr %[[STACK]]
// CHECK: %[[NEXT:.*]] = llvm.getelementptr %[[SAME]]
// CHECK: %[[IS_LAST:.*]] = llvm.icmp "eq" %[[I]]
// CHECK: %[[TO:.*]] = llvm.select %[[IS_LAST]], %[[OUT]], %[[NEXT]]
// CHECK: llvm.store %[[SLICE]], %[[ARRAY:.*]] :
// CHECK: llvm.store %[[TO]]
// CHECK: llvm.call @nag_saving
// CHECK: ^[[BODY2:.*]](%{{.*}}: i64):
// CHECK: llvm.store %[[OUT]], %[[ARRAY2:.*]] :
// CHECK: llvm.call @nag_update(%[[ARRAY2]]
func.func private @saving(%x: tensor<8x16xf32>) -> (tensor<8x16xf32>, tensor<8x16xf32>) {
  %a = nag.launch @kernels::@f(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %a, %x : tensor<8x16xf32>, tensor<8x16xf32>
}
func.func private @update(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %a = nag.launch @kernels::@put(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %a : tensor<8x16xf32>
}
func.func @saved(%x: tensor<8x16xf32>) -> (tensor<8x16xf32>, tensor<2x8x16xf32>) {
  %y, %s = nag.repeat @saving 2 carry(%x) stacked() shared() : (tensor<8x16xf32>), (), () -> (tensor<8x16xf32>), (tensor<2x8x16xf32>)
  %z = nag.repeat @update 2 carry(%y) stacked() shared() : (tensor<8x16xf32>), (), () -> (tensor<8x16xf32>), ()
  return %z, %s : tensor<8x16xf32>, tensor<2x8x16xf32>
}
module @kernels attributes {nag.kernels} {
  llvm.func @f(!llvm.ptr, !llvm.ptr) attributes {nag.kernel}
  llvm.func @put(!llvm.ptr, !llvm.ptr {nag.shares = 0 : i64, nag.updates = 0 : i64}) attributes {nag.kernel}
}

// -----

// A constant is a global; a copy moves bytes.
// CHECK: llvm.mlir.global internal constant @nag_constant(dense<[1.000000e+00, 2.000000e+00]>
// CHECK-LABEL: llvm.func @nag_constant_result
// CHECK: llvm.mlir.addressof @nag_constant
// CHECK: "llvm.intr.memmove"
func.func @constant_result() -> tensor<2xf32> {
  %c = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  return %c : tensor<2xf32>
}
