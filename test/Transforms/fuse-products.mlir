// RUN: nag-opt %s --split-input-file --nag-fuse="join-products epilogues multi-tensor" | FileCheck %s
// RUN: nag-opt %s --split-input-file --nag-fuse="join-products epilogues keep-products" | FileCheck %s --check-prefix=KEEP
// RUN: nag-opt %s --split-input-file --nag-fuse="join-products remarks" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

// Products of one operand are one kernel, with what follows head by head. The
// attention is another.
// CHECK-LABEL: func.func @queries_and_keys
// CHECK: %[[A:.*]]:3 = nag.kernel "linear_rotary_rms_norm_gate"
// CHECK-COUNT-3: nag.linear
// CHECK: nag.rotary
// CHECK: nag.gate
// CHECK: nag.kernel "attention"
// CHECK-NOT: nag.kernel
// REMARK: remark: joined 'linear' and 'linear': saves 1024 bytes and 1 launch
// REMARK: remark: kept {{.*}} apart: products take no row-wise ops
// With keep-products, the three products are results, too.
// KEEP: nag.kernel "linear_rotary_rms_norm_gate"
// KEEP: nag.yield {{.*}} : tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8x4xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>
func.func @queries_and_keys(%r: tensor<2x8x16xf32>, %wq: tensor<16x16xf32>, %wk: tensor<16x16xf32>,
    %wm: tensor<4x16xf32>, %c: tensor<8x4xf32>, %p: tensor<4xf32>, %s: tensor<f32>)
    -> (tensor<2x8x16xf32>, tensor<2x2x8xf32>, tensor<2x8xf32>) {
  %q = nag.linear %r, %wq : (tensor<2x8x16xf32>, tensor<16x16xf32>) -> tensor<2x8x16xf32>
  %k = nag.linear %r, %wk : (tensor<2x8x16xf32>, tensor<16x16xf32>) -> tensor<2x8x16xf32>
  %z = nag.linear %r, %wm : (tensor<2x8x16xf32>, tensor<4x16xf32>) -> tensor<2x8x4xf32>
  %0 = nag.rotary %q, %c, %c {heads = 2} : (tensor<2x8x16xf32>, tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<2x8x16xf32>
  %1 = nag.rms_norm %0 {groups = 2} : (tensor<2x8x16xf32>) -> tensor<2x8x16xf32>
  %g = nag.gate %z, %p, %p, %s, %s
      : (tensor<2x8x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32>) -> tensor<2x8xf32>
  %o, %lse = nag.attention %1, %k, %k {heads = 2, kv_heads = 2}
      : (tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8x16xf32>) -> (tensor<2x8x16xf32>, tensor<2x2x8xf32>)
  return %o, %lse, %g : tensor<2x8x16xf32>, tensor<2x2x8xf32>, tensor<2x8xf32>
}

// -----

// The operand's cotangent: one product over all terms, added to what is there. Their weights' cotangents read the same, in the same kernel;
// where products keep their results, in another.
// CHECK-LABEL: func.func @cotangents
// CHECK: nag.kernel "linear_weight_grad_addf"
// CHECK-COUNT-2: nag.linear
// CHECK-COUNT-2: nag.weight_grad
// CHECK-NOT: nag.kernel
// KEEP-LABEL: func.func @cotangents
// KEEP: nag.kernel "linear_addf"
// KEEP: nag.kernel "weight_grad"
func.func @cotangents(%x: tensor<2x8x16xf32>, %d: tensor<2x8x16xf32>, %dq: tensor<2x8x8xf32>, %dz: tensor<2x8x4xf32>,
    %wq: tensor<8x16xf32>, %wz: tensor<4x16xf32>) -> (tensor<2x8x16xf32>, tensor<8x16xf32>, tensor<4x16xf32>) {
  %0 = nag.linear %dq, %wq {transpose_weight} : (tensor<2x8x8xf32>, tensor<8x16xf32>) -> tensor<2x8x16xf32>
  %1 = nag.linear %dz, %wz {transpose_weight} : (tensor<2x8x4xf32>, tensor<4x16xf32>) -> tensor<2x8x16xf32>
  %2 = arith.addf %0, %1 : tensor<2x8x16xf32>
  %3 = arith.addf %d, %2 : tensor<2x8x16xf32>
  %4 = nag.weight_grad %dq, %x : (tensor<2x8x8xf32>, tensor<2x8x16xf32>) -> tensor<8x16xf32>
  %5 = nag.weight_grad %dz, %x : (tensor<2x8x4xf32>, tensor<2x8x16xf32>) -> tensor<4x16xf32>
  return %3, %4, %5 : tensor<2x8x16xf32>, tensor<8x16xf32>, tensor<4x16xf32>
}

// -----

// Both gradients of a product, the weight's added to that of rows before; not where units of two kinds multiply them.
// CHECK-LABEL: func.func @gradients
// CHECK: nag.kernel "linear_weight_grad_accumulate"
// CHECK-NOT: nag.kernel
// KEEP-LABEL: func.func @gradients
// KEEP: nag.kernel "linear"
// KEEP: nag.kernel "weight_grad_accumulate"
func.func @gradients(%x: tensor<8x16xf32>, %dy: tensor<8x4xf32>, %w: tensor<4x16xf32>, %a: tensor<4x16xf32>)
    -> (tensor<8x16xf32>, tensor<4x16xf32>) {
  %0 = nag.linear %dy, %w {transpose_weight} : (tensor<8x4xf32>, tensor<4x16xf32>) -> tensor<8x16xf32>
  %1 = nag.weight_grad %dy, %x : (tensor<8x4xf32>, tensor<8x16xf32>) -> tensor<4x16xf32>
  %2 = nag.accumulate %a, %1 : (tensor<4x16xf32>, tensor<4x16xf32>) -> tensor<4x16xf32>
  return %0, %2 : tensor<8x16xf32>, tensor<4x16xf32>
}
// CHECK-LABEL: func.func @of_two_types
// CHECK: nag.kernel "linear"
// CHECK: nag.kernel "weight_grad"
func.func @of_two_types(%x: tensor<8x16xf32>, %dy: tensor<8x4xbf16>, %w: tensor<4x16xbf16>)
    -> (tensor<8x16xbf16>, tensor<4x16xf32>) {
  %0 = nag.linear %dy, %w {transpose_weight} : (tensor<8x4xbf16>, tensor<4x16xbf16>) -> tensor<8x16xbf16>
  %1 = nag.weight_grad %dy, %x : (tensor<8x4xbf16>, tensor<8x16xf32>) -> tensor<4x16xf32>
  return %0, %1 : tensor<8x16xbf16>, tensor<4x16xf32>
}

// -----

// A sum over rows of a product meets the accumulator element by element.
// CHECK-LABEL: func.func @accumulated
// CHECK: nag.kernel "weight_grad_accumulate"
// CHECK-NOT: nag.kernel
func.func @accumulated(%a: tensor<4x16xf32>, %d: tensor<2x8x4xf32>, %x: tensor<2x8x16xf32>) -> tensor<4x16xf32> {
  %0 = nag.weight_grad %d, %x : (tensor<2x8x4xf32>, tensor<2x8x16xf32>) -> tensor<4x16xf32>
  %1 = nag.accumulate %a, %0 : (tensor<4x16xf32>, tensor<4x16xf32>) -> tensor<4x16xf32>
  return %1 : tensor<4x16xf32>
}

// -----

// What needs whole rows, or sums over all of them, is a kernel of its own, and no
// product waits for row-wise work in its kernel.
// CHECK-LABEL: func.func @apart
// CHECK: nag.kernel "linear_relu2"
// CHECK: nag.kernel "linear"
// CHECK: nag.kernel "rms_norm_squared_norm"
// CHECK-NOT: nag.kernel
func.func @apart(%x: tensor<8x256xf32>, %w: tensor<256x256xf32>) -> (tensor<8x256xf32>, tensor<f32>) {
  %0 = nag.linear %x, %w : (tensor<8x256xf32>, tensor<256x256xf32>) -> tensor<8x256xf32>
  %1 = nag.relu2 %0 : (tensor<8x256xf32>) -> tensor<8x256xf32>
  %2 = nag.linear %1, %w : (tensor<8x256xf32>, tensor<256x256xf32>) -> tensor<8x256xf32>
  %3 = nag.rms_norm %2 : (tensor<8x256xf32>) -> tensor<8x256xf32>
  %4 = nag.squared_norm %3 : (tensor<8x256xf32>) -> tensor<f32>
  return %3, %4 : tensor<8x256xf32>, tensor<f32>
}

// -----

// The optimizer: one kernel per group of attributes, whatever the tensors' shapes.
// CHECK-LABEL: func.func @optimizer
// CHECK: nag.kernel "squared_norm"
// CHECK-COUNT-2: nag.squared_norm
// CHECK: nag.kernel "accumulate"
// CHECK-COUNT-2: nag.accumulate
// CHECK: nag.kernel "constrain"
// CHECK-NOT: nag.kernel
func.func @optimizer(%a: tensor<4x16xf32>, %b: tensor<3xf32>, %c: tensor<4x16xf32>, %d: tensor<3xf32>,
    %e: tensor<5x7xf32>) -> (tensor<f32>, tensor<f32>, tensor<4x16xf32>, tensor<3xf32>, tensor<5x7xf32>) {
  %0 = nag.squared_norm %a : (tensor<4x16xf32>) -> tensor<f32>
  %1 = nag.squared_norm %b : (tensor<3xf32>) -> tensor<f32>
  %2 = nag.accumulate %c, %c : (tensor<4x16xf32>, tensor<4x16xf32>) -> tensor<4x16xf32>
  %3 = nag.accumulate %d, %d : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xf32>
  %4 = nag.constrain %e zero_mean : (tensor<5x7xf32>) -> tensor<5x7xf32>
  return %0, %1, %2, %3, %4 : tensor<f32>, tensor<f32>, tensor<4x16xf32>, tensor<3xf32>, tensor<5x7xf32>
}

// -----

// Conversions go with the ops that read and make their rows, whatever the number of readers: bf16 joins as f32 does.
// CHECK-LABEL: func.func @bf16
// CHECK: nag.kernel "linear_relu2_addf"
// CHECK-COUNT-3: nag.linear
// CHECK-NEXT: arith.extf
// CHECK-NEXT: nag.relu2
// CHECK-NEXT: arith.truncf
// CHECK-COUNT-2: arith.extf
// CHECK-NEXT: arith.addf
// CHECK: nag.kernel "linear"
// CHECK-NEXT: ^bb0
// CHECK-NEXT: nag.linear
// CHECK-NEXT: nag.yield
// CHECK: nag.kernel "rotate"
// CHECK-SAME: : (tensor<2x8x16xbf16>, tensor<2x8x16xf32>, tensor<2x8xf32>, tensor<2x8xf32>)
func.func @bf16(%x: tensor<2x8x16xbf16>, %w: tensor<64x16xbf16>, %u: tensor<16x64xbf16>, %v: tensor<16x16xbf16>, %k: tensor<2x8x16xbf16>,
                %r: tensor<2x8x16xf32>, %s: tensor<2x8xf32>, %g: tensor<2x8xf32>)
    -> (tensor<2x8x64xbf16>, tensor<2x8x16xf32>, tensor<2x8x16xf32>) {
  %h = nag.linear %x, %w : (tensor<2x8x16xbf16>, tensor<64x16xbf16>) -> tensor<2x8x64xbf16>
  %h32 = arith.extf %h : tensor<2x8x64xbf16> to tensor<2x8x64xf32>
  %a32 = nag.relu2 %h32 : (tensor<2x8x64xf32>) -> tensor<2x8x64xf32>
  %a = arith.truncf %a32 : tensor<2x8x64xf32> to tensor<2x8x64xbf16>
  %f = nag.linear %a, %u : (tensor<2x8x64xbf16>, tensor<16x64xbf16>) -> tensor<2x8x16xbf16>
  %f32 = arith.extf %f : tensor<2x8x16xbf16> to tensor<2x8x16xf32>
  %p = nag.linear %x, %v : (tensor<2x8x16xbf16>, tensor<16x16xbf16>) -> tensor<2x8x16xbf16>
  %q = nag.linear %k, %v : (tensor<2x8x16xbf16>, tensor<16x16xbf16>) -> tensor<2x8x16xbf16>
  %p32 = arith.extf %p : tensor<2x8x16xbf16> to tensor<2x8x16xf32>
  %q32 = arith.extf %q : tensor<2x8x16xbf16> to tensor<2x8x16xf32>
  %sum = arith.addf %p32, %q32 : tensor<2x8x16xf32>
  %z = nag.make_stream %r, %s : !nag.stream<2x8x16xf32>
  %y = nag.rotate %z, %f32, %g : (!nag.stream<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>) -> !nag.stream<2x8x16xf32>
  %d = nag.direction %y : !nag.stream<2x8x16xf32>
  return %a, %sum, %d : tensor<2x8x64xbf16>, tensor<2x8x16xf32>, tensor<2x8x16xf32>
}

// -----

// Sums over the rows of several chunks: each is added by the kernel of the later one, so that what a chunk reads is not kept for the next.
// CHECK-LABEL: func.func @chunks
// CHECK: %[[A:.*]] = nag.kernel "weight_grad"(%[[D0:.*]], %[[X0:.*]]) :
// CHECK: nag.kernel "weight_grad_accumulate"(%[[D1:.*]], %[[X1:.*]], %[[A]])
func.func @chunks(%d0: tensor<8x4xf32>, %x0: tensor<8x16xf32>, %d1: tensor<8x4xf32>, %x1: tensor<8x16xf32>) -> tensor<4x16xf32> {
  %0 = nag.weight_grad %d0, %x0 : (tensor<8x4xf32>, tensor<8x16xf32>) -> tensor<4x16xf32>
  %1 = nag.weight_grad %d1, %x1 : (tensor<8x4xf32>, tensor<8x16xf32>) -> tensor<4x16xf32>
  %2 = nag.accumulate %0, %1 : (tensor<4x16xf32>, tensor<4x16xf32>) -> tensor<4x16xf32>
  return %2 : tensor<4x16xf32>
}
