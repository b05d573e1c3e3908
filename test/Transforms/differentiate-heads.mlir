// RUN: nag-opt %s --nag-differentiate="function=heads seeded recompute=cheap" | FileCheck %s

// The norm of heads is differentiated by its result and one number per head:
// what went into it is read by nobody. What the forward pass reads rounded only,
// the backward pass reads rounded, too.
// CHECK-LABEL: func.func @heads.gradients
// CHECK:         %[[Q:.*]] = nag.linear %{{.*}} -> tensor<8x32xf32>
// CHECK-NEXT:    %[[N:.*]] = nag.rms_norm %[[Q]]
// CHECK-NEXT:    %[[T:.*]] = arith.truncf %[[N]]
// CHECK-NEXT:    %[[I:.*]] = nag.inverse_rms %[[Q]] {groups = 2 : i64} : (tensor<8x32xf32>) -> tensor<8x2xf32>
// CHECK-NOT:     %[[Q]]
// CHECK:         %[[W:.*]] = arith.extf %[[T]]
// CHECK-NEXT:    nag.rms_norm_vjp %[[W]], %{{.*}}, %[[I]] {factor = 1.200000e+00 : f64, groups = 2 : i64}
func.func @heads(%x: tensor<8x16xf32>, %w: tensor<32x16xf32>, %v: tensor<4x32xbf16>) -> tensor<8x4xbf16> {
  %q = nag.linear %x, %w : (tensor<8x16xf32>, tensor<32x16xf32>) -> tensor<8x32xf32>
  %n = nag.rms_norm %q {groups = 2, factor = 1.2} : (tensor<8x32xf32>) -> tensor<8x32xf32>
  %t = arith.truncf %n : tensor<8x32xf32> to tensor<8x32xbf16>
  %y = nag.linear %t, %v : (tensor<8x32xbf16>, tensor<4x32xbf16>) -> tensor<8x4xbf16>
  return %y : tensor<8x4xbf16>
}
