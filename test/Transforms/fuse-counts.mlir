// RUN: nag-opt %s --nag-fuse="gather-rows join-products epilogues multi-tensor" --nag-outline-kernels | FileCheck %s

// Independent ops share a launch though not as many of their rows count: each that counts them says by which argument.
// CHECK-LABEL: func.func @rows
// CHECK-NEXT: {{.*}}nag.launch @kernels::@relu2_take_relu2_kernel(%arg0, %arg1, %arg2)
// CHECK-NEXT: return
func.func @rows(%x: tensor<2x8x16xf32>, %i: tensor<16xi32>, %o: tensor<3xi32>) -> (tensor<2x8x16xf32>, tensor<16x16xf32>) {
  %d = nag.relu2 %x : (tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
  %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<16xi32>, tensor<3xi32>) -> (tensor<16x16xf32>, tensor<2x8x16xf32>)
  %a = nag.relu2 %r : (tensor<16x16xf32>) -> tensor<16x16xf32>
  return %d, %a : tensor<2x8x16xf32>, tensor<16x16xf32>
}

// CHECK-LABEL: func.func @sums
// CHECK-NEXT: {{.*}}nag.launch @kernels::@weight_grad_kernel
// CHECK-NEXT: return
func.func @sums(%x: tensor<2x8x16xf32>, %g: tensor<16x4xf32>, %h: tensor<16x4xf32>, %i: tensor<16xi32>, %o: tensor<3xi32>,
                %j: tensor<16xi32>, %q: tensor<3xi32>) -> (tensor<4x16xf32>, tensor<4x16xf32>) {
  %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<16xi32>, tensor<3xi32>) -> (tensor<16x16xf32>, tensor<2x8x16xf32>)
  %s, %left = nag.take %x, %j, %q : (tensor<2x8x16xf32>, tensor<16xi32>, tensor<3xi32>) -> (tensor<16x16xf32>, tensor<2x8x16xf32>)
  %a = nag.weight_grad %g, %r : (tensor<16x4xf32>, tensor<16x16xf32>) -> tensor<4x16xf32>
  %b = nag.weight_grad %h, %s : (tensor<16x4xf32>, tensor<16x16xf32>) -> tensor<4x16xf32>
  return %a, %b : tensor<4x16xf32>, tensor<4x16xf32>
}

// The kernel that selects computes the threshold, whoever else reads it.
// CHECK-LABEL: func.func @dial
// CHECK-NEXT: {{.*}}nag.launch @kernels::@mulf_kernel
// CHECK-NEXT: {{.*}}nag.launch @kernels::@linear_gate_mulf_route_kernel
// CHECK-NEXT: return
func.func @dial(%x: tensor<2x8x16xf32>, %w: tensor<4x16xf32>, %b: tensor<4xf32>, %p: tensor<4xf32>, %beta: tensor<f32>, %alpha: tensor<f32>,
                %tau: tensor<f32>, %scale: tensor<f32>) -> (tensor<2x8xf32>, tensor<16xi32>, tensor<3xi32>, tensor<f32>) {
  %t = arith.mulf %tau, %scale : tensor<f32>
  %z = nag.linear %x, %w : (tensor<2x8x16xf32>, tensor<4x16xf32>) -> tensor<2x8x4xf32>
  %g = nag.gate %z, %b, %p, %beta, %alpha : (tensor<2x8x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>) -> tensor<2x8xf32>
  %i, %o = nag.route %g dial %t {routing = #nag.routing<threshold>} : (tensor<2x8xf32>, tensor<f32>) -> (tensor<16xi32>, tensor<3xi32>)
  return %g, %i, %o, %t : tensor<2x8xf32>, tensor<16xi32>, tensor<3xi32>, tensor<f32>
}

// Products of all rows are added to what others put, in one launch; what is put is there for them in memory.
// CHECK-LABEL: func.func @added
// CHECK-NEXT: {{.*}}:2 = nag.launch @kernels::@linear_put_addf_kernel
// CHECK-NEXT: return %{{.*}}#1
func.func @added(%x: tensor<2x8x16xf32>, %s: tensor<2x8x64xf32>, %w: tensor<64x16xf32>, %v: tensor<64x16xf32>, %i: tensor<16xi32>,
                 %o: tensor<3xi32>) -> tensor<2x8x64xf32> {
  %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<16xi32>, tensor<3xi32>) -> (tensor<16x16xf32>, tensor<2x8x16xf32>)
  %a = nag.linear %r, %w : (tensor<16x16xf32>, tensor<64x16xf32>) -> tensor<16x64xf32>
  %y = nag.put %a, %s, %i, %o : (tensor<16x64xf32>, tensor<2x8x64xf32>, tensor<16xi32>, tensor<3xi32>) -> tensor<2x8x64xf32>
  %b = nag.linear %x, %v : (tensor<2x8x16xf32>, tensor<64x16xf32>) -> tensor<2x8x64xf32>
  %z = arith.addf %b, %y : tensor<2x8x64xf32>
  return %z : tensor<2x8x64xf32>
}

// Not where they are added to what was there before as well: that is written over.
// CHECK-LABEL: func.func @base
// CHECK-NEXT: {{.*}}nag.launch @kernels::@linear_put_kernel
// CHECK-NEXT: {{.*}}nag.launch @kernels::@linear_addf_kernel
// CHECK-NEXT: return
func.func @base(%x: tensor<2x8x16xf32>, %s: tensor<2x8x64xf32>, %w: tensor<64x16xf32>, %v: tensor<64x16xf32>, %i: tensor<16xi32>,
                %o: tensor<3xi32>) -> tensor<2x8x64xf32> {
  %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<16xi32>, tensor<3xi32>) -> (tensor<16x16xf32>, tensor<2x8x16xf32>)
  %a = nag.linear %r, %w : (tensor<16x16xf32>, tensor<64x16xf32>) -> tensor<16x64xf32>
  %y = nag.put %a, %s, %i, %o : (tensor<16x64xf32>, tensor<2x8x64xf32>, tensor<16xi32>, tensor<3xi32>) -> tensor<2x8x64xf32>
  %b = nag.linear %x, %v : (tensor<2x8x16xf32>, tensor<64x16xf32>) -> tensor<2x8x64xf32>
  %c = arith.addf %b, %s : tensor<2x8x64xf32>
  %z = arith.addf %c, %y : tensor<2x8x64xf32>
  return %z : tensor<2x8x64xf32>
}

// CHECK: func.func @relu2_take_relu2_kernel(%arg0: {{[^,]*}}, %arg1: {{[^,]*}}, %arg2: tensor<3xi32> {bufferization.writable = false},
// CHECK: nag.relu2 %arg0 : (tensor<2x8x16xf32>)
// CHECK: nag.take %arg0, %arg1, %arg2 {nag.row_count = 2 : i64}
// CHECK: nag.relu2 {{.*}} {nag.row_count = 2 : i64}
// CHECK: func.func @weight_grad_kernel
// CHECK: nag.weight_grad {{.*}} {nag.row_count = [[A:[0-9]+]] : i64}
// CHECK: nag.weight_grad {{.*}} {nag.row_count =
// CHECK-NOT: nag.row_count = [[A]] :
// CHECK: func.func @linear_gate_mulf_route_kernel
