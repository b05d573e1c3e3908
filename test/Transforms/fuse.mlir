// RUN: nag-opt %s --split-input-file --nag-fuse | FileCheck %s

// Contractions and other ops are kernels of their own; views, constants and
// calls stay on the host.
// CHECK-LABEL: func.func @alone
// CHECK-SAME: (%[[X:.*]]: tensor<2x8x16xf32>, %[[W:.*]]: tensor<4x16x16xf32>)
// CHECK: %[[S:.*]] = tensor.extract_slice %[[W]]
// CHECK: %[[Y:.*]] = nag.kernel "linear"(%[[X]], %[[S]])
// CHECK-NEXT: ^bb0(%[[A:.*]]: tensor<2x8x16xf32>, %[[B:.*]]: tensor<16x16xf32>):
// CHECK-NEXT: %[[C:.*]] = nag.linear %[[A]], %[[B]]
// CHECK-NEXT: nag.yield %[[C]]
// CHECK: %[[Z:.*]] = nag.kernel "linear"(%[[Y]], %[[S]])
// CHECK: tensor.collapse_shape %[[Z]]
func.func @alone(%x: tensor<2x8x16xf32>, %w: tensor<4x16x16xf32>) -> tensor<16x16xf32> {
  %s = tensor.extract_slice %w[1, 0, 0] [1, 16, 16] [1, 1, 1] : tensor<4x16x16xf32> to tensor<16x16xf32>
  %y = nag.linear %x, %s : (tensor<2x8x16xf32>, tensor<16x16xf32>) -> tensor<2x8x16xf32>
  %z = nag.linear %y, %s : (tensor<2x8x16xf32>, tensor<16x16xf32>) -> tensor<2x8x16xf32>
  %r = tensor.collapse_shape %z [[0, 1], [2]] : tensor<2x8x16xf32> into tensor<16x16xf32>
  return %r : tensor<16x16xf32>
}

// -----

// A scattered slice copies: it is a kernel. A destination is filled in the
// kernel that uses it.
// CHECK-LABEL: func.func @upstream
// CHECK: nag.kernel "extract_slice"
// CHECK: %[[M:.*]] = nag.kernel "fill_matmul"
// CHECK: tensor.empty
// CHECK: arith.constant 0.0
// CHECK: linalg.fill
// CHECK: linalg.matmul
// CHECK: return %[[M]]
func.func @upstream(%x: tensor<8x32xf32>, %w: tensor<16x4xf32>) -> tensor<8x4xf32> {
  %zero = arith.constant 0.0 : f32
  %s = tensor.extract_slice %x[0, 16] [8, 16] [1, 1] : tensor<8x32xf32> to tensor<8x16xf32>
  %e = tensor.empty() : tensor<8x4xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<8x4xf32>) -> tensor<8x4xf32>
  %m = linalg.matmul ins(%s, %w : tensor<8x16xf32>, tensor<16x4xf32>) outs(%f : tensor<8x4xf32>) -> tensor<8x4xf32>
  return %m : tensor<8x4xf32>
}

// -----

// Row-wise ops join where one reads the other's rows or both read the same; the
// contraction between them does not, and a sum over rows ends a kernel.
// CHECK-LABEL: func.func @rows
// CHECK: %[[A:.*]]:2 = nag.kernel "relu2_residual_add_gelu"(%arg0, %arg1)
// CHECK: nag.yield %{{.*}}, %{{.*}} : tensor<8x16xf32>, tensor<8x16xf32>
// CHECK: %[[B:.*]] = nag.kernel "linear"(%[[A]]#0, %arg2)
// CHECK: %[[C:.*]]:2 = nag.kernel "residual_add_squared_norm"(%[[B]], %arg0)
// CHECK: nag.kernel "clip_factor"(%[[C]]#1, %arg3)
func.func @rows(%x: tensor<8x16xf32>, %y: tensor<8x16xf32>, %w: tensor<16x16xf32>, %n: tensor<f32>)
    -> (tensor<8x16xf32>, tensor<f32>, tensor<8x16xf32>) {
  %a = nag.relu2 %x : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %b = nag.residual_add %a, %y : (tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
  %c = nag.linear %b, %w : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
  %d = nag.residual_add %c, %x : (tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
  %s = nag.squared_norm %d : (tensor<8x16xf32>) -> tensor<f32>
  %f, %g = nag.clip_factor %s, %n, %n : (tensor<f32>, tensor<f32>, tensor<f32>) -> (tensor<f32>, tensor<f32>)
  %e = nag.gelu %y : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %d, %f, %e : tensor<8x16xf32>, tensor<f32>, tensor<8x16xf32>
}

// -----

// No stream crosses a kernel's border.
// CHECK-LABEL: func.func @stream
// CHECK: nag.kernel "rotate"(%arg0, %arg1, %arg2, %arg3) : (tensor<2x8x16xf32>, tensor<2x8xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>) -> (tensor<2x8xf32>, tensor<2x8x16xf32>)
// CHECK: nag.make_stream
// CHECK: nag.rotate
// CHECK-DAG: nag.direction
// CHECK-DAG: nag.log_norm
func.func @stream(%r: tensor<2x8x16xf32>, %s: tensor<2x8xf32>, %f: tensor<2x8x16xf32>, %g: tensor<2x8xf32>)
    -> (tensor<2x8x16xf32>, tensor<2x8xf32>, tensor<2x8x16xf32>) {
  %x = nag.make_stream %r, %s : !nag.stream<2x8x16xf32>
  %y = nag.rotate %x, %f, %g : (!nag.stream<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>) -> !nag.stream<2x8x16xf32>
  %a = nag.direction %y : !nag.stream<2x8x16xf32>
  %c = nag.direction %y : !nag.stream<2x8x16xf32>
  %b = nag.log_norm %y : !nag.stream<2x8x16xf32>
  return %a, %b, %c : tensor<2x8x16xf32>, tensor<2x8xf32>, tensor<2x8x16xf32>
}

// -----

// That two read one number is no reason to be one kernel.
// CHECK-LABEL: func.func @one_number
// CHECK: nag.kernel "masked_mean_vjp"
// CHECK: nag.kernel "masked_mean_vjp"
func.func @one_number(%a: tensor<8xi32>, %b: tensor<8xi32>, %n: tensor<f32>, %s: tensor<f32>) -> (tensor<8xf32>, tensor<8xf32>) {
  %0 = nag.masked_mean_vjp %a, %n, %s : (tensor<8xi32>, tensor<f32>, tensor<f32>) -> tensor<8xf32>
  %1 = nag.masked_mean_vjp %b, %n, %s : (tensor<8xi32>, tensor<f32>, tensor<f32>) -> tensor<8xf32>
  return %0, %1 : tensor<8xf32>, tensor<8xf32>
}
