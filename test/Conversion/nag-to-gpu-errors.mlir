// RUN: not nag-opt %s -convert-nag-to-gpu=chip=sm_70 2>&1 | FileCheck %s --check-prefix=CHIP
// RUN: not nag-opt %s -convert-nag-to-gpu 2>&1 | FileCheck %s

// CHIP: error: expected the chip sm_80 or sm_90a, but got 'sm_70'
// CHECK: :[[#@LINE+4]]:10: error: 'nag.decode' op expected an op with a lowering to GPU kernels; run -nag-decompose and -nag-split-streams first
module @kernels attributes {nag.kernels} {
  func.func @decode_kernel(%r: tensor<2x8x16xf32>, %s: tensor<2x8xf32>, %w: tensor<32x16xf32>, %out: tensor<2x8x32xf32>) -> tensor<2x8x32xf32> attributes {nag.kernel} {
    %x = nag.make_stream %r, %s : <2x8x16xf32>
    %z = nag.decode %x, %w : (!nag.stream<2x8x16xf32>, tensor<32x16xf32>) -> tensor<2x8x32xf32>
    %d = bufferization.materialize_in_destination %z in %out : (tensor<2x8x32xf32>, tensor<2x8x32xf32>) -> tensor<2x8x32xf32>
    return %d : tensor<2x8x32xf32>
  }
}
