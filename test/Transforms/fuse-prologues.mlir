// RUN: nag-opt %s --split-input-file --nag-fuse="prologues gather-rows join-products epilogues multi-tensor" | FileCheck %s
// RUN: nag-opt %s --mlir-disable-threading --split-input-file --nag-fuse="prologues gather-rows join-products epilogues multi-tensor remarks" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK
// RUN: nag-opt %s --split-input-file --nag-fuse="gather-rows join-products epilogues multi-tensor" | FileCheck %s --check-prefix=OFF
// RUN: nag-opt %s --split-input-file --nag-fuse="prologues tile-columns=8" | FileCheck %s --check-prefix=SMALL

// An activation of what is saved anyway: both products compute it as they load, and nothing writes it.
// CHECK-LABEL: func.func @saved
// CHECK: nag.kernel "relu2_linear"(%arg0, %arg1)
// CHECK-NEXT: ^bb0(%[[Z:.*]]: tensor<2x8x16xf32>, %[[W:.*]]: tensor<16x16xf32>):
// CHECK-NEXT: %[[H:.*]] = nag.relu2 %[[Z]]
// CHECK-NEXT: nag.linear %[[H]], %[[W]]
// CHECK: nag.kernel "relu2_weight_grad"(%arg0, %arg2)
// CHECK: nag.relu2
// CHECK-NOT: nag.kernel
// OFF-LABEL: func.func @saved
// OFF: nag.kernel "relu2"
// REMARK: remark: joined 'relu2' and the loads of 'linear', 'weight_grad' (1024 bytes)
// With tiles of few columns, each element is computed too often.
// SMALL-LABEL: func.func @saved
// SMALL: nag.kernel "relu2"
func.func @saved(%z: tensor<2x8x16xf32>, %w: tensor<16x16xf32>, %d: tensor<2x8x16xf32>) -> (tensor<2x8x16xf32>, tensor<16x16xf32>) {
  %h = nag.relu2 %z : (tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
  %y = nag.linear %h, %w : (tensor<2x8x16xf32>, tensor<16x16xf32>) -> tensor<2x8x16xf32>
  %dw = nag.weight_grad %d, %h : (tensor<2x8x16xf32>, tensor<2x8x16xf32>) -> tensor<16x16xf32>
  return %y, %dw : tensor<2x8x16xf32>, tensor<16x16xf32>
}

// -----

// What a product makes and returns is in memory; what nothing else reads would be there for the prologue alone.
// CHECK-LABEL: func.func @training
// CHECK: %[[Z:.*]] = nag.kernel "linear"
// CHECK: nag.kernel "relu2_linear"(%[[Z]],
// REMARK: remark: joined 'relu2' and the loads of 'linear' (1024 bytes)
func.func @training(%x: tensor<2x8x16xf32>, %w: tensor<16x16xf32>) -> (tensor<2x8x16xf32>, tensor<2x8x16xf32>) {
  %z = nag.linear %x, %w : (tensor<2x8x16xf32>, tensor<16x16xf32>) -> tensor<2x8x16xf32>
  %h = nag.relu2 %z : (tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
  %y = nag.linear %h, %w : (tensor<2x8x16xf32>, tensor<16x16xf32>) -> tensor<2x8x16xf32>
  return %z, %y : tensor<2x8x16xf32>, tensor<2x8x16xf32>
}

// CHECK-LABEL: func.func @evaluation
// CHECK: nag.kernel "linear_relu2"
// CHECK: nag.kernel "linear"
// REMARK: remark: kept 'relu2' out of the loads of 'linear': what it reads would be in memory for that alone (1024 bytes)
func.func @evaluation(%x: tensor<2x8x16xf32>, %w: tensor<16x16xf32>) -> tensor<2x8x16xf32> {
  %z = nag.linear %x, %w : (tensor<2x8x16xf32>, tensor<16x16xf32>) -> tensor<2x8x16xf32>
  %h = nag.relu2 %z : (tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
  %y = nag.linear %h, %w : (tensor<2x8x16xf32>, tensor<16x16xf32>) -> tensor<2x8x16xf32>
  return %y : tensor<2x8x16xf32>
}

// -----

// Stored as bf16, computed in f32: the conversions go along. A conversion alone would change the elements' size.
// CHECK-LABEL: func.func @bf16
// CHECK: nag.kernel "relu2_linear"(%arg0, %arg1)
// CHECK: arith.extf
// CHECK-NEXT: nag.relu2
// CHECK-NEXT: arith.truncf
// CHECK-NEXT: nag.linear
// CHECK: nag.kernel "truncf"
// CHECK: nag.kernel "linear"
func.func @bf16(%z: tensor<2x8x16xbf16>, %w: tensor<16x16xbf16>, %x: tensor<2x8x16xf32>) -> (tensor<2x8x16xbf16>, tensor<2x8x16xbf16>) {
  %0 = arith.extf %z : tensor<2x8x16xbf16> to tensor<2x8x16xf32>
  %1 = nag.relu2 %0 : (tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
  %h = arith.truncf %1 : tensor<2x8x16xf32> to tensor<2x8x16xbf16>
  %y = nag.linear %h, %w : (tensor<2x8x16xbf16>, tensor<16x16xbf16>) -> tensor<2x8x16xbf16>
  %2 = arith.truncf %x : tensor<2x8x16xf32> to tensor<2x8x16xbf16>
  %3 = nag.linear %2, %w : (tensor<2x8x16xbf16>, tensor<16x16xbf16>) -> tensor<2x8x16xbf16>
  return %y, %3 : tensor<2x8x16xbf16>, tensor<2x8x16xbf16>
}

// -----

// A scalar for each row goes along; a second tensor of rows does not, and neither does what others read.
// CHECK-LABEL: func.func @combined
// CHECK: nag.kernel "row_combine_linear"(%arg0, %arg1, %arg2)
// REMARK: remark: joined 'row_combine' and the loads of 'linear' (1024 bytes)
func.func @combined(%x: tensor<2x8x16xf32>, %a: tensor<2x8xf32>, %w: tensor<16x16xf32>) -> tensor<2x8x16xf32> {
  %0 = nag.row_combine %x by %a : (tensor<2x8x16xf32>, tensor<2x8xf32>) -> tensor<2x8x16xf32>
  %1 = nag.linear %0, %w : (tensor<2x8x16xf32>, tensor<16x16xf32>) -> tensor<2x8x16xf32>
  return %1 : tensor<2x8x16xf32>
}

// CHECK-LABEL: func.func @two_rows
// CHECK: nag.kernel "row_combine"
// CHECK: nag.kernel "linear"
// REMARK: remark: kept 'row_combine' out of the loads of 'linear': it reads rows of several tensors, and a product would load each of them once for all its columns (1024 bytes)
func.func @two_rows(%x: tensor<2x8x16xf32>, %r: tensor<2x8x16xf32>, %a: tensor<2x8xf32>, %w: tensor<16x16xf32>) -> tensor<2x8x16xf32> {
  %2 = nag.row_combine %x, %r by %a, %a : (tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8x16xf32>
  %3 = nag.linear %2, %w : (tensor<2x8x16xf32>, tensor<16x16xf32>) -> tensor<2x8x16xf32>
  return %3 : tensor<2x8x16xf32>
}

// CHECK-LABEL: func.func @returned
// CHECK: nag.kernel "relu2"
// CHECK: nag.kernel "linear"
// REMARK: remark: kept 'relu2' out of the loads of 'linear'{{.*}}: others read what it makes (1024 bytes)
func.func @returned(%z: tensor<2x8x16xf32>, %w: tensor<16x16xf32>) -> (tensor<2x8x16xf32>, tensor<2x8x16xf32>) {
  %h = nag.relu2 %z : (tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
  %y = nag.linear %h, %w : (tensor<2x8x16xf32>, tensor<16x16xf32>) -> tensor<2x8x16xf32>
  return %h, %y : tensor<2x8x16xf32>, tensor<2x8x16xf32>
}

// CHECK-LABEL: func.func @many_columns
// CHECK: nag.kernel "relu2"
// REMARK: remark: kept 'relu2' out of the loads of 'linear': to compute it for each tile of the other operand takes as long as 5461 bytes of memory (1024 bytes)
func.func @many_columns(%z: tensor<2x8x16xf32>, %w: tensor<4096x16xf32>) -> tensor<2x8x4096xf32> {
  %h = nag.relu2 %z : (tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
  %y = nag.linear %h, %w : (tensor<2x8x16xf32>, tensor<4096x16xf32>) -> tensor<2x8x4096xf32>
  return %y : tensor<2x8x4096xf32>
}

// -----

// Rows are found by an index, then changed.
// CHECK-LABEL: func.func @routed
// CHECK: nag.kernel "relu2_linear"(%arg0, %arg1, %arg2, %arg3)
// CHECK: %[[ROWS:.*]], %{{.*}} = nag.take
// CHECK-NEXT: %[[H:.*]] = nag.relu2 %[[ROWS]]
// CHECK-NEXT: nag.linear %[[H]]
// CHECK-NOT: nag.kernel
func.func @routed(%x: tensor<2x8x16xf32>, %i: tensor<16xi32>, %o: tensor<3xi32>, %w: tensor<16x16xf32>) -> tensor<16x16xf32> {
  %r, %rest = nag.take %x, %i, %o : (tensor<2x8x16xf32>, tensor<16xi32>, tensor<3xi32>) -> (tensor<16x16xf32>, tensor<2x8x16xf32>)
  %h = nag.relu2 %r : (tensor<16x16xf32>) -> tensor<16x16xf32>
  %y = nag.linear %h, %w : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
  return %y : tensor<16x16xf32>
}

// -----

// Queries and keys of one scaled row are one kernel.
// CHECK-LABEL: func.func @shared
// CHECK: nag.kernel "row_combine_linear"
// CHECK: nag.row_combine
// CHECK: nag.row_combine
// CHECK: nag.linear
// CHECK: nag.linear
// CHECK-NOT: nag.kernel
func.func @shared(%x: tensor<2x8x16xf32>, %a: tensor<2x8xf32>, %q: tensor<16x16xf32>, %k: tensor<16x16xf32>)
    -> (tensor<2x8x16xf32>, tensor<2x8x16xf32>) {
  %0 = nag.row_combine %x by %a : (tensor<2x8x16xf32>, tensor<2x8xf32>) -> tensor<2x8x16xf32>
  %1 = nag.linear %0, %q : (tensor<2x8x16xf32>, tensor<16x16xf32>) -> tensor<2x8x16xf32>
  %2 = nag.linear %0, %k : (tensor<2x8x16xf32>, tensor<16x16xf32>) -> tensor<2x8x16xf32>
  return %1, %2 : tensor<2x8x16xf32>, tensor<2x8x16xf32>
}
