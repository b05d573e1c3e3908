// RUN: nag-opt %s --nag-fuse --nag-outline-kernels | FileCheck %s

// Two layers of one shape share a kernel; a third of another shape does not.
// CHECK-LABEL: func.func @layers
// CHECK: %[[A:.*]] = nag.launch @kernels::@linear_kernel(
// CHECK: %[[B:.*]] = nag.launch @kernels::@linear_kernel(%[[A]]
// CHECK: nag.launch @kernels::@linear_kernel_0(%[[B]]
// CHECK: module @kernels attributes {nag.kernels}
// CHECK: func.func @linear_kernel(%[[X:.*]]: tensor<8x16xf32> {bufferization.writable = false},
// CHECK-SAME: %[[W:.*]]: tensor<16x16xf32> {bufferization.writable = false}, %[[OUT:.*]]: tensor<8x16xf32>)
// CHECK-SAME: -> tensor<8x16xf32> attributes {nag.kernel}
// CHECK-NEXT: %[[Y:.*]] = nag.linear %[[X]], %[[W]]
// CHECK-NEXT: %[[R:.*]] = bufferization.materialize_in_destination %[[Y]] in %[[OUT]]
// CHECK-NEXT: return %[[R]]
// CHECK: func.func @linear_kernel_0(
// CHECK-NOT: func.func
func.func @layers(%x: tensor<8x16xf32>, %u: tensor<16x16xf32>, %v: tensor<16x16xf32>,
    %w: tensor<4x16xf32>) -> tensor<8x4xf32> {
  %a = nag.linear %x, %u : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
  %b = nag.linear %a, %v : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
  %c = nag.linear %b, %w : (tensor<8x16xf32>, tensor<4x16xf32>) -> tensor<8x4xf32>
  return %c : tensor<8x4xf32>
}
