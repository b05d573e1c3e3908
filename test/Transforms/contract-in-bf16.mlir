// RUN: nag-opt %s -nag-contract-in-bf16 | FileCheck %s
// RUN: nag-opt %s -nag-contract-in-bf16 -nag-contract-in-bf16 | FileCheck %s

// CHECK-LABEL: func.func @linear
// CHECK: %[[A:.*]] = arith.truncf %arg0 : tensor<8x4xf32> to tensor<8x4xbf16>
// CHECK: %[[B:.*]] = arith.truncf %arg1 : tensor<16x4xf32> to tensor<16x4xbf16>
// CHECK: %[[C:.*]] = nag.linear %[[A]], %[[B]] : (tensor<8x4xbf16>, tensor<16x4xbf16>) -> tensor<8x16xbf16>
// CHECK: %[[Y:.*]] = arith.extf %[[C]] : tensor<8x16xbf16> to tensor<8x16xf32>
// CHECK: nag.relu2 %[[Y]] : (tensor<8x16xf32>) -> tensor<8x16xf32>
func.func @linear(%x: tensor<8x4xf32>, %w: tensor<16x4xf32>) -> tensor<8x16xf32> {
  %y = nag.linear %x, %w : (tensor<8x4xf32>, tensor<16x4xf32>) -> tensor<8x16xf32>
  %z = nag.relu2 %y : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %z : tensor<8x16xf32>
}

// The log-sum-exp stays f32.
// CHECK-LABEL: func.func @attention
// CHECK: %[[O:.*]], %[[LSE:.*]] = nag.attention %{{.*}}, %{{.*}}, %{{.*}} {heads = 2 : i64, kv_heads = 2 : i64} : (tensor<1x8x4xbf16>, tensor<1x8x4xbf16>, tensor<1x8x4xbf16>) -> (tensor<1x8x4xbf16>, tensor<1x2x8xf32>)
// CHECK: %[[WIDE:.*]] = arith.extf %[[O]]
// CHECK: return %[[WIDE]], %[[LSE]]
func.func @attention(%q: tensor<1x8x4xf32>, %k: tensor<1x8x4xf32>, %v: tensor<1x8x4xf32>) -> (tensor<1x8x4xf32>, tensor<1x2x8xf32>) {
  %o, %lse = nag.attention %q, %k, %v {heads = 2, kv_heads = 2} : (tensor<1x8x4xf32>, tensor<1x8x4xf32>, tensor<1x8x4xf32>) -> (tensor<1x8x4xf32>, tensor<1x2x8xf32>)
  return %o, %lse : tensor<1x8x4xf32>, tensor<1x2x8xf32>
}

// Of routed attention, what names the rows stays as well.
// CHECK-LABEL: func.func @routed_attention
// CHECK: nag.attention %{{.*}}, %{{.*}}, %{{.*}}, %arg2, %arg3 {heads = 2 : i64, kv_heads = 2 : i64} : (tensor<6x4xbf16>, tensor<1x8x4xbf16>, tensor<1x8x4xbf16>, tensor<6xi32>, tensor<2xi32>) -> (tensor<6x4xbf16>, tensor<2x6xf32>)
func.func @routed_attention(%q: tensor<6x4xf32>, %k: tensor<1x8x4xf32>, %i: tensor<6xi32>, %o: tensor<2xi32>) -> tensor<6x4xf32> {
  %a, %lse = nag.attention %q, %k, %k, %i, %o {heads = 2, kv_heads = 2}
      : (tensor<6x4xf32>, tensor<1x8x4xf32>, tensor<1x8x4xf32>, tensor<6xi32>, tensor<2xi32>) -> (tensor<6x4xf32>, tensor<2x6xf32>)
  return %a : tensor<6x4xf32>
}

// f64 stays as it is.
// CHECK-LABEL: func.func @double
// CHECK-NEXT: nag.linear {{.*}} -> tensor<8x16xf64>
func.func @double(%x: tensor<8x4xf64>, %w: tensor<16x4xf64>) -> tensor<8x16xf64> {
  %y = nag.linear %x, %w : (tensor<8x4xf64>, tensor<16x4xf64>) -> tensor<8x16xf64>
  return %y : tensor<8x16xf64>
}

// A gradient that is only widened is the f32 sum itself, also that of the head.
// CHECK-LABEL: func.func @gradients
// CHECK: %[[DW:.*]] = nag.weight_grad {{.*}} : (tensor<8x16xbf16>, tensor<8x4xbf16>) -> tensor<16x4xf32>
// CHECK: %{{.*}}, %{{.*}}, %[[DH:.*]] = nag.head_loss_vjp {{.*}} -> (tensor<8xf32>, tensor<8x4xbf16>, tensor<16x4xf32>)
// CHECK: return %[[DW]], %[[DH]]
func.func @gradients(%dy: tensor<8x16xbf16>, %x: tensor<8x4xbf16>, %w: tensor<16x4xbf16>, %t: tensor<8xi32>, %dl: tensor<8xf32>)
    -> (tensor<16x4xf32>, tensor<16x4xf32>) {
  %dw = nag.weight_grad %dy, %x : (tensor<8x16xbf16>, tensor<8x4xbf16>) -> tensor<16x4xbf16>
  %wide = arith.extf %dw : tensor<16x4xbf16> to tensor<16x4xf32>
  %losses, %dx, %dh = nag.head_loss_vjp %x, %w, %t, %dl {vocab = 16}
      : (tensor<8x4xbf16>, tensor<16x4xbf16>, tensor<8xi32>, tensor<8xf32>) -> (tensor<8xf32>, tensor<8x4xbf16>, tensor<16x4xbf16>)
  %head = arith.extf %dh : tensor<16x4xbf16> to tensor<16x4xf32>
  return %wide, %head : tensor<16x4xf32>, tensor<16x4xf32>
}

// One that is read as it is stays bf16.
// CHECK-LABEL: func.func @both
// CHECK: nag.weight_grad {{.*}} -> tensor<16x4xbf16>
func.func @both(%dy: tensor<8x16xbf16>, %x: tensor<8x4xbf16>) -> (tensor<16x4xf32>, tensor<16x4xbf16>) {
  %dw = nag.weight_grad %dy, %x : (tensor<8x16xbf16>, tensor<8x4xbf16>) -> tensor<16x4xbf16>
  %wide = arith.extf %dw : tensor<16x4xbf16> to tensor<16x4xf32>
  return %wide, %dw : tensor<16x4xf32>, tensor<16x4xbf16>
}
