// RUN: nag-opt %s --nag-fuse="join-products epilogues multi-tensor lane-columns=32" | FileCheck %s
// RUN: nag-opt %s --nag-fuse="join-products epilogues multi-tensor lane-columns=32 remarks" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

// Where lanes hold the sums of heads together, rotary embedding and norm run on
// them, beside the gate. What is not read elsewhere is not written.
// CHECK-LABEL: func.func @heads
// CHECK: %[[A:.*]]:3 = nag.kernel "linear_rotary_rms_norm_gate"
// CHECK-COUNT-3: nag.linear
// CHECK: nag.yield {{.*}} : tensor<2x8x16xf32>, tensor<2x8x32xf32>, tensor<2x8xf32>
// CHECK-NOT: nag.kernel
// REMARK-DAG: remark: joined 'linear{{.*}}' and 'rotary': saves 4{{[0-9]*}} bytes and 1 launch
// REMARK-DAG: remark: joined 'linear{{.*}}' and 'rms_norm': saves 4096 bytes and 1 launch
func.func @heads(%r: tensor<2x8x24xf32>, %wq: tensor<32x24xf32>, %wk: tensor<16x24xf32>, %wm: tensor<4x24xf32>,
    %c: tensor<8x8xf32>, %p: tensor<4xf32>, %s: tensor<f32>)
    -> (tensor<2x8x32xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>) {
  %q = nag.linear %r, %wq : (tensor<2x8x24xf32>, tensor<32x24xf32>) -> tensor<2x8x32xf32>
  %k = nag.linear %r, %wk : (tensor<2x8x24xf32>, tensor<16x24xf32>) -> tensor<2x8x16xf32>
  %z = nag.linear %r, %wm : (tensor<2x8x24xf32>, tensor<4x24xf32>) -> tensor<2x8x4xf32>
  %0 = nag.rotary %q, %c, %c {heads = 2} : (tensor<2x8x32xf32>, tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<2x8x32xf32>
  %1 = nag.rms_norm %0 {groups = 2} : (tensor<2x8x32xf32>) -> tensor<2x8x32xf32>
  %g = nag.gate %z, %p, %p, %s, %s
      : (tensor<2x8x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>) -> tensor<2x8xf32>
  return %1, %k, %g : tensor<2x8x32xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>
}

// Heads of 24 columns are no power of two; of 256, more than a tile has.
// CHECK-LABEL: func.func @apart
// CHECK: nag.kernel "linear"
// CHECK: nag.kernel "rms_norm"
// CHECK: nag.kernel "linear"
// CHECK: nag.kernel "rms_norm"
// REMARK-DAG: remark: kept 'linear' and 'rms_norm' apart: lanes do not hold as many columns as it needs together ({{.*}} bytes)
// REMARK-DAG: remark: kept 'linear' and 'rms_norm' apart: it needs more columns than a tile of the product has ({{.*}} bytes)
func.func @apart(%x: tensor<4x16xf32>, %w: tensor<48x16xf32>, %y: tensor<8x16xf32>, %v: tensor<512x16xf32>)
    -> (tensor<4x48xf32>, tensor<8x512xf32>) {
  %0 = nag.linear %x, %w : (tensor<4x16xf32>, tensor<48x16xf32>) -> tensor<4x48xf32>
  %1 = nag.rms_norm %0 {groups = 2} : (tensor<4x48xf32>) -> tensor<4x48xf32>
  %2 = nag.linear %y, %v : (tensor<8x16xf32>, tensor<512x16xf32>) -> tensor<8x512xf32>
  %3 = nag.rms_norm %2 {groups = 2} : (tensor<8x512xf32>) -> tensor<8x512xf32>
  return %1, %3 : tensor<4x48xf32>, tensor<8x512xf32>
}
