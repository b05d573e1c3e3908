// RUN: nag-opt %s --nag-fuse --nag-outline-kernels --nag-plan-buffers | FileCheck %s
// RUN: nag-opt %s --nag-fuse="gather-rows join-products epilogues" --nag-outline-kernels --nag-plan-buffers | FileCheck %s --check-prefix=GATHER
// RUN: nag-opt %s --nag-fuse="gather-rows join-products epilogues multi-tensor" | FileCheck %s --check-prefix=GRADIENTS

// Rows that are counted at run time: every kernel that has them takes the offsets, and so does one that is told by a
// later op alone. The rest of what was taken is the tensor itself; the rows are put into its memory.
// CHECK-LABEL: func.func @routed
// CHECK: %[[T:.*]] = nag.launch @kernels::@take_kernel(%arg0, %arg1, %arg2)
// CHECK: %[[H:.*]] = nag.launch @kernels::@linear_kernel(%[[T]], %arg3, %arg2)
// CHECK: nag.copy %arg0
// CHECK: nag.launch @kernels::@relu2_put_kernel
// A product that gathers them reads the tensor by the index instead: nothing makes the rows.
// GATHER-LABEL: func.func @routed
// It does not put its own over them, which other blocks still read.
// GATHER-NEXT: %[[H:.*]] = nag.launch @kernels::@linear_relu2_kernel(%arg0, %arg1, %arg2, %arg3)
// GATHER-NEXT: nag.copy %arg0
// GATHER-NEXT: nag.launch @kernels::@put_kernel
// GATHER-NEXT: return
func.func @routed(%x: tensor<2x8x16xf32>, %i: tensor<16xi32>, %o: tensor<3xi32>, %w: tensor<16x16xf32>) -> tensor<2x8x16xf32> {
  %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<16xi32>, tensor<3xi32>) -> (tensor<16x16xf32>, tensor<2x8x16xf32>)
  %h = nag.linear %r, %w : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
  %a = nag.relu2 %h : (tensor<16x16xf32>) -> tensor<16x16xf32>
  %y = nag.put %a, %rest, %i, %o : (tensor<16x16xf32>, tensor<2x8x16xf32>, tensor<16xi32>, tensor<3xi32>) -> tensor<2x8x16xf32>
  return %y : tensor<2x8x16xf32>
}

// Offsets that are a constant count all rows.
// CHECK-LABEL: func.func @fixed
// CHECK: nag.launch @kernels::@take_kernel_0
func.func @fixed(%x: tensor<2x8x16xf32>, %i: tensor<8xi32>) -> tensor<8x16xf32> {
  %o = arith.constant dense<[0, 4, 8]> : tensor<3xi32>
  %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<8xi32>, tensor<3xi32>) -> (tensor<8x16xf32>, tensor<2x8x16xf32>)
  return %r : tensor<8x16xf32>
}

// Rows are not put over a tensor that the same kernel still reads.
// CHECK-LABEL: func.func @read_elsewhere
// CHECK: nag.launch @kernels::@take_relu2_kernel
// CHECK: nag.launch @kernels::@put_kernel
// Where the same index names both, they are put where they were.
// GATHER-LABEL: func.func @read_elsewhere
// GATHER-NEXT: %[[X:.*]] = nag.copy %arg0
// GATHER-NEXT: nag.launch @kernels::@take_relu2_put_kernel(%[[X]], %arg1, %arg2)
// GATHER-NEXT: return
func.func @read_elsewhere(%x: tensor<2x8x16xf32>, %i: tensor<16xi32>, %o: tensor<3xi32>) -> tensor<2x8x16xf32> {
  %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<16xi32>, tensor<3xi32>) -> (tensor<16x16xf32>, tensor<2x8x16xf32>)
  %a = nag.relu2 %r : (tensor<16x16xf32>) -> tensor<16x16xf32>
  %y = nag.put %a, %rest, %i, %o : (tensor<16x16xf32>, tensor<2x8x16xf32>, tensor<16xi32>, tensor<3xi32>) -> tensor<2x8x16xf32>
  return %y : tensor<2x8x16xf32>
}

// A product puts its rows over another tensor.
// GATHER-LABEL: func.func @put
// GATHER-NEXT: %[[C:.*]] = nag.copy %arg1
// GATHER-NEXT: nag.launch @kernels::@linear_put_kernel({{.*}}%[[C]]
// GATHER-NEXT: return
func.func @put(%x: tensor<16x16xf32>, %s: tensor<2x8x16xf32>, %i: tensor<16xi32>, %o: tensor<3xi32>, %w: tensor<16x16xf32>) -> tensor<2x8x16xf32> {
  %h = nag.linear %x, %w : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
  %y = nag.put %h, %s, %i, %o : (tensor<16x16xf32>, tensor<2x8x16xf32>, tensor<16xi32>, tensor<3xi32>) -> tensor<2x8x16xf32>
  return %y : tensor<2x8x16xf32>
}

// By another index, not.
// GATHER-LABEL: func.func @put_elsewhere
// GATHER: nag.launch @kernels::@take_relu2_kernel
// GATHER: nag.launch @kernels::@put_kernel
func.func @put_elsewhere(%x: tensor<2x8x16xf32>, %i: tensor<16xi32>, %j: tensor<16xi32>, %o: tensor<3xi32>) -> tensor<2x8x16xf32> {
  %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<16xi32>, tensor<3xi32>) -> (tensor<16x16xf32>, tensor<2x8x16xf32>)
  %a = nag.relu2 %r : (tensor<16x16xf32>) -> tensor<16x16xf32>
  %y = nag.put %a, %x, %j, %o : (tensor<16x16xf32>, tensor<2x8x16xf32>, tensor<16xi32>, tensor<3xi32>) -> tensor<2x8x16xf32>
  return %y : tensor<2x8x16xf32>
}

// Products of the same rows share a kernel, and so do the gradients of their weights.
// GATHER-LABEL: func.func @products
// GATHER: nag.launch @kernels::@linear_kernel
// GATHER-NEXT: nag.launch @kernels::@weight_grad_kernel
// GATHER-NEXT: return
func.func @products(%x: tensor<2x8x16xf32>, %i: tensor<8xi32>, %w: tensor<16x16xf32>, %v: tensor<16x16xf32>, %d: tensor<8x16xf32>)
    -> (tensor<8x16xf32>, tensor<8x16xf32>, tensor<16x16xf32>, tensor<16x16xf32>) {
  %o = arith.constant dense<[0, 4, 8]> : tensor<3xi32>
  %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<8xi32>, tensor<3xi32>) -> (tensor<8x16xf32>, tensor<2x8x16xf32>)
  %a = nag.linear %r, %w : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
  %b = nag.linear %r, %v : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
  %dw = nag.weight_grad %d, %r : (tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<16x16xf32>
  %dv = nag.weight_grad %a, %r : (tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<16x16xf32>
  return %a, %b, %dw, %dv : tensor<8x16xf32>, tensor<8x16xf32>, tensor<16x16xf32>, tensor<16x16xf32>
}

// The kernel of the product that makes the scores selects.
// GATHER-LABEL: func.func @selected
// GATHER-NEXT: nag.launch @kernels::@linear_gate_route_kernel
// GATHER-NEXT: return
func.func @selected(%x: tensor<2x8x16xf32>, %w: tensor<4x16xf32>, %b: tensor<4xf32>, %p: tensor<4xf32>, %beta: tensor<f32>,
                    %alpha: tensor<f32>, %tau: tensor<f32>) -> (tensor<2x8xf32>, tensor<16xi32>, tensor<3xi32>) {
  %z = nag.linear %x, %w : (tensor<2x8x16xf32>, tensor<4x16xf32>) -> tensor<2x8x4xf32>
  %g = nag.gate %z, %b, %p, %beta, %alpha : (tensor<2x8x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>) -> tensor<2x8xf32>
  %i, %o = nag.route %g dial %tau {routing = #nag.routing<threshold>} : (tensor<2x8xf32>, tensor<f32>) -> (tensor<16xi32>, tensor<3xi32>)
  return %g, %i, %o : tensor<2x8xf32>, tensor<16xi32>, tensor<3xi32>
}

// As many rows in all, but not as many that count: two kernels.
// CHECK-LABEL: func.func @counted_apart
// CHECK: nag.launch @kernels::@relu2_kernel(%arg0) {
// CHECK: nag.launch @kernels::@take_relu2_kernel
func.func @counted_apart(%x: tensor<2x8x16xf32>, %i: tensor<16xi32>, %o: tensor<3xi32>) -> (tensor<2x8x16xf32>, tensor<16x16xf32>) {
  %d = nag.relu2 %x : (tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
  %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<16xi32>, tensor<3xi32>) -> (tensor<16x16xf32>, tensor<2x8x16xf32>)
  %a = nag.relu2 %r : (tensor<16x16xf32>) -> tensor<16x16xf32>
  return %d, %a : tensor<2x8x16xf32>, tensor<16x16xf32>
}

// A rest that others read is zero rows put over a copy of the source.
// CHECK-LABEL: func.func @rest
// CHECK: %[[C:.*]] = nag.copy %arg0
// CHECK: nag.launch @kernels::@put_kernel{{.*}}(%{{.*}}, %[[C]], %arg1, %arg2)
func.func @rest(%x: tensor<2x8x16xf32>, %i: tensor<16xi32>, %o: tensor<3xi32>) -> (tensor<16x16xf32>, tensor<2x8x16xf32>) {
  %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<16xi32>, tensor<3xi32>) -> (tensor<16x16xf32>, tensor<2x8x16xf32>)
  return %r, %rest : tensor<16x16xf32>, tensor<2x8x16xf32>
}
// CHECK: func.func @take_kernel({{.*}}, %arg2: tensor<3xi32> {bufferization.writable = false, nag.row_count}
// CHECK: func.func @linear_kernel({{.*}}, %arg2: tensor<3xi32> {bufferization.writable = false, nag.row_count}
// CHECK: func.func @relu2_put_kernel({{.*}} {nag.shares = [[I:[0-9]+]] : i64, nag.updates = [[I]] : i64})
// CHECK: func.func @take_kernel_0({{.*}}, %arg2: tensor<3xi32> {bufferization.writable = false}, %arg3

// A product that puts its rows has blocks of its own beside the weight's gradient; not where that reads what they are put over.
// GRADIENTS-LABEL: func.func @put_beside
// GRADIENTS: nag.kernel "linear_weight_grad_put"
// GRADIENTS-NOT: nag.kernel
func.func @put_beside(%d: tensor<16x16xf32>, %x: tensor<16x16xf32>, %s: tensor<2x8x16xf32>, %i: tensor<16xi32>, %o: tensor<3xi32>, %w: tensor<16x16xf32>)
    -> (tensor<2x8x16xf32>, tensor<16x16xf32>) {
  %h = nag.linear %d, %w {transpose_weight} : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
  %y = nag.put %h, %s, %i, %o : (tensor<16x16xf32>, tensor<2x8x16xf32>, tensor<16xi32>, tensor<3xi32>) -> tensor<2x8x16xf32>
  %g = nag.weight_grad %d, %x : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
  return %y, %g : tensor<2x8x16xf32>, tensor<16x16xf32>
}
// GRADIENTS-LABEL: func.func @put_over_factor
// GRADIENTS-COUNT-2: nag.kernel
func.func @put_over_factor(%d: tensor<2x8x16xf32>, %s: tensor<2x8x16xf32>, %i: tensor<16xi32>, %o: tensor<3xi32>, %w: tensor<16x16xf32>)
    -> (tensor<2x8x16xf32>, tensor<16x16xf32>) {
  %h = nag.linear %d, %w {transpose_weight} : (tensor<2x8x16xf32>, tensor<16x16xf32>) -> tensor<2x8x16xf32>
  %r = tensor.collapse_shape %h [[0, 1], [2]] : tensor<2x8x16xf32> into tensor<16x16xf32>
  %y = nag.put %r, %s, %i, %o : (tensor<16x16xf32>, tensor<2x8x16xf32>, tensor<16xi32>, tensor<3xi32>) -> tensor<2x8x16xf32>
  %g = nag.weight_grad %d, %s : (tensor<2x8x16xf32>, tensor<2x8x16xf32>) -> tensor<16x16xf32>
  return %y, %g : tensor<2x8x16xf32>, tensor<16x16xf32>
}
