// RUN: nag-opt %s -convert-nag-to-gpu -split-input-file -verify-diagnostics

func.func @f64(%x: tensor<8x16xf64>, %w: tensor<8x16xf64>, %out: tensor<8x8xf64>) -> tensor<8x8xf64> attributes {nag.kernel} {
  // expected-error@+1 {{'nag.linear' op expected f32 or bf16 for a GPU kernel, but got 'f64'}}
  %y = nag.linear %x, %w : (tensor<8x16xf64>, tensor<8x16xf64>) -> tensor<8x8xf64>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8x8xf64>, tensor<8x8xf64>) -> tensor<8x8xf64>
  return %0 : tensor<8x8xf64>
}

// -----

func.func @empty(%x: tensor<8x0xf32>, %w: tensor<8x0xf32>, %out: tensor<8x8xf32>) -> tensor<8x8xf32> attributes {nag.kernel} {
  // expected-error@+1 {{'nag.linear' op expected a sum of at least one product for a GPU kernel}}
  %y = nag.linear %x, %w : (tensor<8x0xf32>, tensor<8x0xf32>) -> tensor<8x8xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  return %0 : tensor<8x8xf32>
}

// -----

func.func @warps(%x: tensor<8x16xf32>, %w: tensor<8x16xf32>, %out: tensor<8x8xf32>) -> tensor<8x8xf32>
    attributes {nag.kernel, nag.schedule = #nag.schedule<gemm, tile = [128, 128, 16], warps = [1, 1], stages = 2>} {
  // expected-error@+1 {{'nag.linear' op expected a schedule with warps that compute 16 or 32 rows and 32 or 64 columns, or 16 and 128, but got #nag.schedule<gemm, tile = [128, 128, 16], warps = [1, 1], stages = 2>}}
  %y = nag.linear %x, %w : (tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x8xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  return %0 : tensor<8x8xf32>
}

// -----

func.func @registers(%x: tensor<8x16xbf16>, %w: tensor<8x16xbf16>, %out: tensor<8x8xbf16>) -> tensor<8x8xbf16>
    attributes {nag.kernel, nag.schedule = #nag.schedule<gemm, tile = [128, 64, 16], warps = [1, 1], stages = 2>} {
  // expected-error@+1 {{expected a schedule with warps that compute a multiple of 16 rows and of 32 columns, at most 4096 sums}}
  %y = nag.linear %x, %w : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x8xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8x8xbf16>, tensor<8x8xbf16>) -> tensor<8x8xbf16>
  return %0 : tensor<8x8xbf16>
}

// -----

func.func @depth(%x: tensor<8x16xbf16>, %w: tensor<8x16xbf16>, %out: tensor<8x8xbf16>) -> tensor<8x8xbf16>
    attributes {nag.kernel, nag.schedule = #nag.schedule<gemm, tile = [32, 32, 8], warps = [1, 1], stages = 2>} {
  // expected-error@+1 {{expected a schedule with a tile of k from 16 to 128}}
  %y = nag.linear %x, %w : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x8xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8x8xbf16>, tensor<8x8xbf16>) -> tensor<8x8xbf16>
  return %0 : tensor<8x8xbf16>
}

// -----

func.func @shared(%x: tensor<8x16xbf16>, %w: tensor<8x16xbf16>, %out: tensor<8x8xbf16>) -> tensor<8x8xbf16>
    attributes {nag.kernel, nag.schedule = #nag.schedule<gemm, tile = [256, 256, 64], warps = [4, 4], stages = 3>} {
  // expected-error@+1 {{expected a schedule with at most 166912 bytes of shared memory on sm_80, not}}
  %y = nag.linear %x, %w : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x8xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8x8xbf16>, tensor<8x8xbf16>) -> tensor<8x8xbf16>
  return %0 : tensor<8x8xbf16>
}

// -----

func.func @attribute(%x: tensor<8x16xbf16>, %w: tensor<8x16xbf16>, %out: tensor<8x8xbf16>) -> tensor<8x8xbf16> attributes {nag.kernel} {
  // expected-error@+1 {{expected a #nag.schedule of the family gemm as 'nag.schedule', but got "fast"}}
  %y = nag.linear %x, %w {nag.schedule = "fast"} : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x8xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8x8xbf16>, tensor<8x8xbf16>) -> tensor<8x8xbf16>
  return %0 : tensor<8x8xbf16>
}

// -----

func.func @heads(%x: tensor<8x16xbf16>, %w: tensor<128x16xbf16>, %out: tensor<8x128xbf16>) -> tensor<8x128xbf16>
    attributes {nag.kernel, nag.schedule = #nag.schedule<gemm, tile = [64, 64, 16], warps = [2, 2], stages = 2>} {
  // expected-error@+1 {{expected a schedule with warps that compute 64 columns, which an op behind the product needs together, but got}}
  %y = nag.linear %x, %w : (tensor<8x16xbf16>, tensor<128x16xbf16>) -> tensor<8x128xbf16>
  %n = nag.rms_norm %y {groups = 2} : (tensor<8x128xbf16>) -> tensor<8x128xbf16>
  %0 = bufferization.materialize_in_destination %n in %out : (tensor<8x128xbf16>, tensor<8x128xbf16>) -> tensor<8x128xbf16>
  return %0 : tensor<8x128xbf16>
}
