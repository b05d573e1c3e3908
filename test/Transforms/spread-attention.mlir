// RUN: nag-opt %s --nag-spread-attention | FileCheck %s

// CHECK-LABEL: func @routed
// CHECK-SAME: (%[[Q:.*]]: tensor<12x64xf32>, %[[K:.*]]: tensor<2x8x32xf32>, %[[V:.*]]: tensor<2x8x32xf32>, %[[I:.*]]: tensor<12xi32>, %[[O:.*]]: tensor<3xi32>)
// CHECK: %[[Z:.*]] = arith.constant dense<0.000000e+00> : tensor<2x8x64xf32>
// CHECK: %[[W:.*]] = nag.put %[[Q]], %[[Z]], %[[I]], %[[O]]
// CHECK: %[[A:.*]], %{{.*}} = nag.attention %[[W]], %[[K]], %[[V]] {heads = 4 : i64, kv_heads = 2 : i64, window = 3 : i64} : (tensor<2x8x64xf32>,
// CHECK: %[[R:.*]], %{{.*}} = nag.take %[[A]], %[[I]], %[[O]]
// CHECK: return %[[R]]
func.func @routed(%q: tensor<12x64xf32>, %k: tensor<2x8x32xf32>, %v: tensor<2x8x32xf32>, %i: tensor<12xi32>, %o: tensor<3xi32>) -> tensor<12x64xf32> {
  %r, %lse = nag.attention %q, %k, %v, %i, %o {heads = 4, kv_heads = 2, window = 3}
      : (tensor<12x64xf32>, tensor<2x8x32xf32>, tensor<2x8x32xf32>, tensor<12xi32>, tensor<3xi32>) -> (tensor<12x64xf32>, tensor<4x12xf32>)
  return %r : tensor<12x64xf32>
}

// CHECK-LABEL: func @dense
// CHECK-NOT: nag.put
func.func @dense(%q: tensor<2x8x64xf32>) -> tensor<2x8x64xf32> {
  %r, %lse = nag.attention %q, %q, %q {heads = 4, kv_heads = 4}
      : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>) -> (tensor<2x8x64xf32>, tensor<2x4x8xf32>)
  return %r : tensor<2x8x64xf32>
}
