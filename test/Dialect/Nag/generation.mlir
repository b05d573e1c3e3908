// RUN: nag-opt %s --verify-roundtrip --convert-nag-to-linalg | FileCheck %s

// CHECK-LABEL: func.func @decode(
// CHECK: %[[O:.*]] = nag.stream_cached_attention %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} into %{{.*}} {heads = 4 : i64, kv_heads = 2 : i64, window = 5 : i64}
// CHECK: return %[[O]]
func.func @decode(%q: tensor<1x2x64xf32>, %k: tensor<1x2x32xf32>, %c: tensor<2x8x32xf32>, %p: tensor<1x2xi32>) -> tensor<1x2x64xf32> {
  %o = nag.cached_attention %q, %k, %k, %c, %c, %p {heads = 4, kv_heads = 2, window = 5}
      : (tensor<1x2x64xf32>, tensor<1x2x32xf32>, tensor<1x2x32xf32>, tensor<2x8x32xf32>, tensor<2x8x32xf32>, tensor<1x2xi32>)
      -> tensor<1x2x64xf32>
  return %o : tensor<1x2x64xf32>
}

// CHECK-LABEL: func.func @shared(
// CHECK: %[[O:.*]] = nag.stream_cached_attention %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} route(%{{.*}}, %{{.*}}) rows(%{{.*}}) into %{{.*}} {heads = 4 : i64, kv_heads = 2 : i64}
// CHECK: return %[[O]]
func.func @shared(%q: tensor<2x64xf32>, %k: tensor<2x32xf32>, %c: tensor<3x20x32xf32>, %p: tensor<1x3xi32>, %i: tensor<2xi32>,
    %e: tensor<2xi32>, %rows: tensor<3x8xi32>) -> tensor<2x64xf32> {
  %o = nag.cached_attention %q, %k, %k, %c, %c, %p route(%i, %e) rows(%rows) {heads = 4, kv_heads = 2}
      : (tensor<2x64xf32>, tensor<2x32xf32>, tensor<2x32xf32>, tensor<3x20x32xf32>, tensor<3x20x32xf32>, tensor<1x3xi32>, tensor<2xi32>,
         tensor<2xi32>, tensor<3x8xi32>) -> tensor<2x64xf32>
  return %o : tensor<2x64xf32>
}
