// RUN: nag-opt %s -split-input-file -nag-assign-schedules -convert-nag-to-gpu -cse | FileCheck %s

// Rotary embedding and norm of a head run on the sums of the product, in its
// launch, which writes what they make and not the sums. Eight lanes hold a
// head's columns, both halves of it alike: a sum takes three exchanges, a
// rotation none. A warp computes whole heads.
// CHECK-LABEL: func.func @f32
// CHECK-SAME:    (%[[X:.*]]: memref<2x20x48xf32>, %[[W:.*]]: memref<192x48xf32>, %[[C:.*]]: memref<20x32xf32>, %[[S:.*]]: memref<20x32xf32>, %[[Y:.*]]: memref<2x20x192xf32>)
// CHECK:         gpu.launch_func @device::@f32
// CHECK-SAME:      args(%[[X]] : memref<2x20x48xf32>, %[[W]] : memref<192x48xf32>, %[[Y]] : memref<2x20x192xf32>, %[[C]] : memref<20x32xf32>, %[[S]] : memref<20x32xf32>)
// CHECK-NOT:     gpu.launch_func
// CHECK:       gpu.func @f32
// CHECK-SAME:    nag.schedule = #nag.schedule<gemm, tile = [32, 64, 16], warps = [2, 1], stages = 3>
// CHECK:         arith.remui %{{.*}}, %c20
// CHECK-COUNT-3: gpu.shuffle xor
// CHECK:         math.sqrt
func.func @f32(%x: tensor<2x20x48xf32>, %w: tensor<192x48xf32>, %c: tensor<20x32xf32>, %s: tensor<20x32xf32>,
    %out: tensor<2x20x192xf32>) -> tensor<2x20x192xf32> attributes {nag.kernel} {
  %q = nag.linear %x, %w : (tensor<2x20x48xf32>, tensor<192x48xf32>) -> tensor<2x20x192xf32>
  %r = nag.rotary %q, %c, %s {heads = 3} : (tensor<2x20x192xf32>, tensor<20x32xf32>, tensor<20x32xf32>) -> tensor<2x20x192xf32>
  %n = nag.rms_norm %r {groups = 3} : (tensor<2x20x192xf32>) -> tensor<2x20x192xf32>
  %0 = bufferization.materialize_in_destination %n in %out : (tensor<2x20x192xf32>, tensor<2x20x192xf32>) -> tensor<2x20x192xf32>
  return %0 : tensor<2x20x192xf32>
}

// -----

// On tensor cores, too; a learned gain is a vector that all heads share. The
// positions of routed rows are those that their indices name.
// CHECK-LABEL: func.func @bf16
// CHECK-SAME:    %[[I:[^:]*]]: memref<40xi32>, %[[Y:[^:]*]]: memref<40x256xbf16>)
// CHECK:         gpu.launch_func @device::@bf16
// CHECK-SAME:      %[[I]] : memref<40xi32>)
// CHECK-NOT:     gpu.launch_func
// CHECK:       gpu.func @bf16
// CHECK-SAME:    tile = [64, 128, 32], warps = [4, 1]
// CHECK:         nvvm.mma.sync
// CHECK:         arith.minui
// CHECK:         llvm.load {{.*}} -> i32
// CHECK:         arith.remui %{{.*}}, %c20
// CHECK-COUNT-4: gpu.shuffle xor
func.func @bf16(%x: tensor<40x64xbf16>, %w: tensor<256x64xbf16>, %c: tensor<20x64xf32>, %s: tensor<20x64xf32>,
    %g: tensor<128xf32>, %i: tensor<40xi32>, %out: tensor<40x256xbf16>) -> tensor<40x256xbf16> attributes {nag.kernel} {
  %q = nag.linear %x, %w : (tensor<40x64xbf16>, tensor<256x64xbf16>) -> tensor<40x256xbf16>
  %f = arith.extf %q : tensor<40x256xbf16> to tensor<40x256xf32>
  %r = nag.rotary %f, %c, %s, %i {heads = 2} : (tensor<40x256xf32>, tensor<20x64xf32>, tensor<20x64xf32>, tensor<40xi32>) -> tensor<40x256xf32>
  %n = nag.rms_norm %r {groups = 2} : (tensor<40x256xf32>) -> tensor<40x256xf32>
  %m = nag.gain %n, %g : (tensor<40x256xf32>, tensor<128xf32>) -> tensor<40x256xf32>
  %t = arith.truncf %m : tensor<40x256xf32> to tensor<40x256xbf16>
  %0 = bufferization.materialize_in_destination %t in %out : (tensor<40x256xbf16>, tensor<40x256xbf16>) -> tensor<40x256xbf16>
  return %0 : tensor<40x256xbf16>
}

// -----

// What the backward pass needs of a norm is one number per head.
// CHECK-LABEL: func.func @inverse
// CHECK-SAME:    (%[[X:.*]]: memref<40x48xf32>, %[[W:.*]]: memref<192x48xf32>, %[[Y:.*]]: memref<40x192xf32>, %[[I:.*]]: memref<40x3xf32>)
// CHECK:         gpu.launch_func @device::@inverse
// CHECK-SAME:      args(%[[X]] : memref<40x48xf32>, %[[W]] : memref<192x48xf32>, %[[Y]] : memref<40x192xf32>, %[[I]] : memref<40x3xf32>)
// CHECK-NOT:     gpu.launch_func
func.func @inverse(%x: tensor<40x48xf32>, %w: tensor<192x48xf32>, %a: tensor<40x192xf32>, %b: tensor<40x3xf32>)
    -> (tensor<40x192xf32>, tensor<40x3xf32>) attributes {nag.kernel} {
  %q = nag.linear %x, %w : (tensor<40x48xf32>, tensor<192x48xf32>) -> tensor<40x192xf32>
  %n = nag.rms_norm %q {groups = 3} : (tensor<40x192xf32>) -> tensor<40x192xf32>
  %i = nag.inverse_rms %q {groups = 3} : (tensor<40x192xf32>) -> tensor<40x3xf32>
  %0 = bufferization.materialize_in_destination %n in %a : (tensor<40x192xf32>, tensor<40x192xf32>) -> tensor<40x192xf32>
  %1 = bufferization.materialize_in_destination %i in %b : (tensor<40x3xf32>, tensor<40x3xf32>) -> tensor<40x3xf32>
  return %0, %1 : tensor<40x192xf32>, tensor<40x3xf32>
}
