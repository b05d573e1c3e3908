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
    attributes {nag.kernel, nag.schedule = {tile = [128, 128, 16], warps = [1, 1], stages = 2}} {
  // expected-error@+1 {{'nag.linear' op expected a schedule with warps that compute 16 or 32 rows and 32 or 64 columns, but got {stages = 2 : i64, tile = [128, 128, 16], warps = [1, 1]}}}
  %y = nag.linear %x, %w : (tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x8xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  return %0 : tensor<8x8xf32>
}

// -----

func.func @registers(%x: tensor<8x16xbf16>, %w: tensor<8x16xbf16>, %out: tensor<8x8xbf16>) -> tensor<8x8xbf16>
    attributes {nag.kernel, nag.schedule = {tile = [128, 64, 16], warps = [1, 1], stages = 2}} {
  // expected-error@+1 {{expected a schedule with warps that compute a multiple of 16 rows and of 32 columns, at most 4096 sums}}
  %y = nag.linear %x, %w : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x8xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8x8xbf16>, tensor<8x8xbf16>) -> tensor<8x8xbf16>
  return %0 : tensor<8x8xbf16>
}

// -----

func.func @depth(%x: tensor<8x16xbf16>, %w: tensor<8x16xbf16>, %out: tensor<8x8xbf16>) -> tensor<8x8xbf16>
    attributes {nag.kernel, nag.schedule = {tile = [32, 32, 8], warps = [1, 1], stages = 2}} {
  // expected-error@+1 {{expected a schedule with a tile of k from 16 to 128}}
  %y = nag.linear %x, %w : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x8xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8x8xbf16>, tensor<8x8xbf16>) -> tensor<8x8xbf16>
  return %0 : tensor<8x8xbf16>
}

// -----

func.func @shared(%x: tensor<8x16xbf16>, %w: tensor<8x16xbf16>, %out: tensor<8x8xbf16>) -> tensor<8x8xbf16>
    attributes {nag.kernel, nag.schedule = {tile = [256, 256, 64], warps = [4, 4], stages = 3}} {
  // expected-error@+1 {{expected a schedule with at most 166912 bytes of shared memory}}
  %y = nag.linear %x, %w : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x8xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8x8xbf16>, tensor<8x8xbf16>) -> tensor<8x8xbf16>
  return %0 : tensor<8x8xbf16>
}

// -----

func.func @attribute(%x: tensor<8x16xbf16>, %w: tensor<8x16xbf16>, %out: tensor<8x8xbf16>) -> tensor<8x8xbf16> attributes {nag.kernel} {
  // expected-error@+1 {{expected a dictionary as 'nag.schedule', but got "fast"}}
  %y = nag.linear %x, %w {nag.schedule = "fast"} : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x8xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8x8xbf16>, tensor<8x8xbf16>) -> tensor<8x8xbf16>
  return %0 : tensor<8x8xbf16>
}

// -----

func.func @sizes(%x: tensor<8x16xbf16>, %w: tensor<8x16xbf16>, %out: tensor<8x8xbf16>) -> tensor<8x8xbf16> attributes {nag.kernel} {
  // expected-error@+1 {{expected 3 integers as 'tile' of 'nag.schedule', but got {stages = 2 : i64, tile = [64, 64], warps = [1, 1]}}}
  %y = nag.linear %x, %w {nag.schedule = {tile = [64, 64], warps = [1, 1], stages = 2}} : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x8xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8x8xbf16>, tensor<8x8xbf16>) -> tensor<8x8xbf16>
  return %0 : tensor<8x8xbf16>
}

// -----

func.func @missing(%x: tensor<8x16xbf16>, %w: tensor<8x16xbf16>, %out: tensor<8x8xbf16>) -> tensor<8x8xbf16> attributes {nag.kernel} {
  // expected-error@+1 {{expected 1 integers as 'stages' of 'nag.schedule'}}
  %y = nag.linear %x, %w {nag.schedule = {tile = [64, 64, 16], warps = [1, 1]}} : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x8xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8x8xbf16>, tensor<8x8xbf16>) -> tensor<8x8xbf16>
  return %0 : tensor<8x8xbf16>
}

// -----

func.func @power(%x: tensor<8x16xbf16>, %w: tensor<8x16xbf16>, %out: tensor<8x8xbf16>) -> tensor<8x8xbf16> attributes {nag.kernel} {
  // expected-error@+1 {{expected a schedule with powers of two up to 256 as 'tile' and 'warps', but got}}
  %y = nag.linear %x, %w {nag.schedule = {tile = [96, 64, 16], warps = [1, 1], stages = 2}} : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x8xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8x8xbf16>, tensor<8x8xbf16>) -> tensor<8x8xbf16>
  return %0 : tensor<8x8xbf16>
}

// -----

func.func @threads(%x: tensor<8x16xbf16>, %w: tensor<8x16xbf16>, %out: tensor<8x8xbf16>) -> tensor<8x8xbf16> attributes {nag.kernel} {
  // expected-error@+1 {{expected a schedule with at most 32 'warps', each with a part of the tile, but got}}
  %y = nag.linear %x, %w {nag.schedule = {tile = [64, 64, 16], warps = [8, 8], stages = 2}} : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x8xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8x8xbf16>, tensor<8x8xbf16>) -> tensor<8x8xbf16>
  return %0 : tensor<8x8xbf16>
}

// -----

func.func @stages(%x: tensor<8x16xbf16>, %w: tensor<8x16xbf16>, %out: tensor<8x8xbf16>) -> tensor<8x8xbf16> attributes {nag.kernel} {
  // expected-error@+1 {{expected a schedule with 2 to 16 'stages', but got}}
  %y = nag.linear %x, %w {nag.schedule = {tile = [64, 64, 16], warps = [1, 1], stages = 1}} : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x8xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8x8xbf16>, tensor<8x8xbf16>) -> tensor<8x8xbf16>
  return %0 : tensor<8x8xbf16>
}

// -----

func.func @split(%x: tensor<8x16xbf16>, %w: tensor<8x16xbf16>, %out: tensor<8x8xbf16>) -> tensor<8x8xbf16> attributes {nag.kernel} {
  // expected-error@+1 {{expected a schedule with a 'split_k' from 1 to 65535, but got}}
  %y = nag.linear %x, %w {nag.schedule = {tile = [64, 64, 16], warps = [1, 1], stages = 2, split_k = 0}} : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x8xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8x8xbf16>, tensor<8x8xbf16>) -> tensor<8x8xbf16>
  return %0 : tensor<8x8xbf16>
}
