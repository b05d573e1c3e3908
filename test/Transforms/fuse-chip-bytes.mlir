// RUN: nag-opt %s --nag-fuse="chip-bytes=4096 remarks" -o - 2>&1 | FileCheck %s --check-prefix=HELD
// RUN: nag-opt %s --nag-fuse="chip-bytes=4096 shared-bytes=2048" | FileCheck %s --check-prefix=ANEW
// RUN: nag-opt %s --nag-fuse="chip-bytes=4096 shared-bytes=2047 remarks" -o - 2>&1 | FileCheck %s --check-prefix=HELD

// Three rows of 512 f32 are 6144 bytes: one from memory, of 2048, and two that ops make for others, which may be computed for every use.
// HELD: remark: kept 'temper' and 'gelu' apart: their rows do not fit on the chip
// HELD-COUNT-2: nag.kernel
// ANEW-COUNT-1: nag.kernel "temper_gelu"
// ANEW-NOT: nag.kernel
func.func @rows(%x: tensor<8x512xf32>, %s: tensor<8xf32>) -> tensor<8x512xf32> {
  %0 = nag.temper %x, %s : (tensor<8x512xf32>, tensor<8xf32>) -> tensor<8x512xf32>
  %1 = nag.temper %0, %s : (tensor<8x512xf32>, tensor<8xf32>) -> tensor<8x512xf32>
  %2 = nag.gelu %1 : (tensor<8x512xf32>) -> tensor<8x512xf32>
  return %2 : tensor<8x512xf32>
}
