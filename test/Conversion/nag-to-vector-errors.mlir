// RUN: nag-opt %s --convert-nag-to-vector --verify-diagnostics
// RUN: not nag-opt %s --convert-nag-to-vector="lanes=12" 2>&1 | FileCheck %s --check-prefix=LANES
// RUN: not nag-opt %s --convert-nag-to-vector="lanes=32 keys=32" 2>&1 | FileCheck %s --check-prefix=LANES

// LANES: expected 'lanes' to be a power of two from 8 on and a multiple of 'rows', and 'keys' a larger multiple of 'lanes', but got lanes =
func.func @tensors(%q: tensor<2x8x64xf32>, %k: tensor<2x8x32xf32>, %o: tensor<2x8x64xf32>, %lse: tensor<2x4x8xf32>) -> tensor<2x8x64xf32> {
  // expected-error @+1 {{expected buffers, but got tensors; bufferize it first}}
  %0:2 = nag.stream_attention %q, %k, %k into %o, %lse {heads = 4, kv_heads = 2}
      : (tensor<2x8x64xf32>, tensor<2x8x32xf32>, tensor<2x8x32xf32>, tensor<2x8x64xf32>, tensor<2x4x8xf32>)
      -> (tensor<2x8x64xf32>, tensor<2x4x8xf32>)
  return %0#0 : tensor<2x8x64xf32>
}
