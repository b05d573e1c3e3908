// RUN: nag-opt %s --verify-roundtrip --one-shot-bufferize="bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map" | FileCheck %s

// Bufferizes in place: the outputs are the buffers of the arguments.
// CHECK-LABEL: func.func @attention(
// CHECK-SAME: %[[Q:.*]]: memref<2x8x64xf32>, %[[K:.*]]: memref<2x8x32xf32>, %[[O:.*]]: memref<2x8x64xf32>, %[[L:.*]]: memref<2x4x8xf32>)
// CHECK-NOT: alloc
// CHECK: nag.stream_attention %[[Q]], %[[K]], %[[K]] into %[[O]], %[[L]] {heads = 4 : i64, kv_heads = 2 : i64, window = 3 : i64}
// CHECK-SAME: -> ()
func.func @attention(%q: tensor<2x8x64xf32>, %k: tensor<2x8x32xf32>, %o: tensor<2x8x64xf32>, %lse: tensor<2x4x8xf32>)
    -> (tensor<2x8x64xf32>, tensor<2x4x8xf32>) {
  %0:2 = nag.stream_attention %q, %k, %k into %o, %lse {heads = 4, kv_heads = 2, window = 3}
      : (tensor<2x8x64xf32>, tensor<2x8x32xf32>, tensor<2x8x32xf32>, tensor<2x8x64xf32>, tensor<2x4x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x4x8xf32>)
  return %0#0, %0#1 : tensor<2x8x64xf32>, tensor<2x4x8xf32>
}
