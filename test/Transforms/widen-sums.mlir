// RUN: nag-opt %s --nag-widen-sums --split-input-file | FileCheck %s

// A linear layer reads, sums and rounds once.
// CHECK-LABEL: func.func @linear
// CHECK-SAME: (%[[X:.*]]: tensor<8x16xbf16>, %[[W:.*]]: tensor<4x16xbf16>)
// CHECK: %[[WX:.*]] = arith.extf %[[X]] : tensor<8x16xbf16> to tensor<8x16xf32>
// CHECK: %[[WW:.*]] = arith.extf %[[W]] : tensor<4x16xbf16> to tensor<4x16xf32>
// CHECK: %[[Y:.*]] = nag.linear %[[WX]], %[[WW]] : (tensor<8x16xf32>, tensor<4x16xf32>) -> tensor<8x4xf32>
// CHECK: %[[R:.*]] = arith.truncf %[[Y]] : tensor<8x4xf32> to tensor<8x4xbf16>
// CHECK: return %[[R]]
func.func @linear(%x: tensor<8x16xbf16>, %w: tensor<4x16xbf16>) -> tensor<8x4xbf16> {
  %y = nag.linear %x, %w : (tensor<8x16xbf16>, tensor<4x16xbf16>) -> tensor<8x4xbf16>
  return %y : tensor<8x4xbf16>
}

// -----

// An operand that is used twice is widened once; the log-sum-exp is f32 before and after.
// CHECK-LABEL: func.func @attention
// CHECK-COUNT-1: arith.extf
// CHECK-NOT: arith.extf
// CHECK: %[[Y:.*]], %[[L:.*]] = nag.attention {{.*}} -> (tensor<2x8x16xf32>, tensor<2x2x8xf32>)
// CHECK: %[[R:.*]] = arith.truncf %[[Y]]
// CHECK: return %[[R]], %[[L]]
func.func @attention(%x: tensor<2x8x16xbf16>) -> (tensor<2x8x16xbf16>, tensor<2x2x8xf32>) {
  %y, %l = nag.attention %x, %x, %x {heads = 2, kv_heads = 2}
      : (tensor<2x8x16xbf16>, tensor<2x8x16xbf16>, tensor<2x8x16xbf16>) -> (tensor<2x8x16xbf16>, tensor<2x2x8xf32>)
  return %y, %l : tensor<2x8x16xbf16>, tensor<2x2x8xf32>
}

// -----

// Rows of a gradient table are summed in f32; tokens stay integers.
// CHECK-LABEL: func.func @embedding_vjp
// CHECK: nag.embedding_vjp %{{.*}}, %{{.*}} {rows = 32 : i64} : (tensor<2x8xi32>, tensor<2x8x16xf32>) -> tensor<32x16xf32>
func.func @embedding_vjp(%t: tensor<2x8xi32>, %dy: tensor<2x8x16xbf16>) -> tensor<32x16xbf16> {
  %d = nag.embedding_vjp %t, %dy {rows = 32} : (tensor<2x8xi32>, tensor<2x8x16xbf16>) -> tensor<32x16xbf16>
  return %d : tensor<32x16xbf16>
}

// -----

// Row-wise ops compute in f32 by themselves; other types stay as they are.
// CHECK-LABEL: func.func @stays
// CHECK-NOT: arith.
// CHECK: return
func.func @stays(%x: tensor<8x16xbf16>, %a: tensor<8x16xf32>, %w: tensor<4x16xf32>, %d: tensor<8x16xf64>, %v: tensor<4x16xf64>)
    -> (tensor<8x16xbf16>, tensor<8x4xf32>, tensor<8x4xf64>) {
  %y = nag.relu2 %x : (tensor<8x16xbf16>) -> tensor<8x16xbf16>
  %b = nag.linear %a, %w : (tensor<8x16xf32>, tensor<4x16xf32>) -> tensor<8x4xf32>
  %e = nag.linear %d, %v : (tensor<8x16xf64>, tensor<4x16xf64>) -> tensor<8x4xf64>
  return %y, %b, %e : tensor<8x16xbf16>, tensor<8x4xf32>, tensor<8x4xf64>
}
