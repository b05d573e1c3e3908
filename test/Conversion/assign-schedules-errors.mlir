// RUN: nag-opt %s -nag-assign-schedules -split-input-file -verify-diagnostics

func.func @shared(%x: tensor<8x16xbf16>, %w: tensor<8x16xbf16>, %out: tensor<8x8xbf16>) -> tensor<8x8xbf16>
    attributes {nag.kernel, nag.schedule = #nag.schedule<gemm, tile = [256, 256, 64], warps = [4, 4], stages = 3>} {
  // expected-error@+1 {{'nag.linear' op expected a schedule with at most 166912 bytes of shared memory on sm_80, not 196608, but got #nag.schedule<gemm, tile = [256, 256, 64], warps = [4, 4], stages = 3>}}
  %y = nag.linear %x, %w : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x8xbf16>
  return %y : tensor<8x8xbf16>
}

// -----

func.func @family(%x: tensor<8x16xbf16>, %out: tensor<8x16xbf16>) -> tensor<8x16xbf16> attributes {nag.kernel} {
  // expected-error@+1 {{expected a #nag.schedule of the family rows as 'nag.schedule', but got #nag.schedule<attention, tile = [64, 64], warps = 4>}}
  %y = nag.relu2 %x {nag.schedule = #nag.schedule<attention, tile = [64, 64], warps = 4>} : (tensor<8x16xbf16>) -> tensor<8x16xbf16>
  return %y : tensor<8x16xbf16>
}

// -----

func.func @elements(%x: tensor<8x4096xf32>, %out: tensor<8x4096xf32>) -> tensor<8x4096xf32> attributes {nag.kernel} {
  // expected-error@+1 {{expected a schedule with at most 256 elements of a row in a thread, not 4096}}
  %y = nag.rms_norm %x {nag.schedule = #nag.schedule<rows, threads = 1, rows = 1, width = 4>} : (tensor<8x4096xf32>) -> tensor<8x4096xf32>
  return %y : tensor<8x4096xf32>
}

// -----

func.func @segments(%x: tensor<8x4096xf32>, %out: tensor<8x4096xf32>) -> tensor<8x4096xf32> attributes {nag.kernel} {
  // expected-error@+1 {{expected a schedule with 1 in 'segments' for ops that do not work element by element}}
  %y = nag.rms_norm %x {nag.schedule = #nag.schedule<rows, threads = 128, rows = 1, width = 4, segments = 2>}
      : (tensor<8x4096xf32>) -> tensor<8x4096xf32>
  return %y : tensor<8x4096xf32>
}

// -----

func.func @keep(%x: tensor<8x65536xf32>, %out: tensor<8x65536xf32>) -> tensor<8x65536xf32> attributes {nag.kernel} {
  // expected-error@+1 {{expected a schedule with 0 in 'keep' for rows that do not fit on the chip}}
  %y = nag.rms_norm %x {nag.schedule = #nag.schedule<rows, threads = 1024, rows = 1, width = 4, keep = 2>}
      : (tensor<8x65536xf32>) -> tensor<8x65536xf32>
  return %y : tensor<8x65536xf32>
}

// -----

func.func @rows(%q: tensor<2x128x128xbf16>, %o: tensor<2x128x128xbf16>, %l: tensor<2x2x128xf32>)
    -> (tensor<2x128x128xbf16>, tensor<2x2x128xf32>) attributes {nag.kernel} {
  // expected-error@+1 {{expected a schedule with 64 rows of tiles for 4 warps}}
  %y, %lse = nag.attention %q, %q, %q {heads = 2, kv_heads = 2, nag.schedule = #nag.schedule<attention, tile = [32, 64], warps = 4>}
      : (tensor<2x128x128xbf16>, tensor<2x128x128xbf16>, tensor<2x128x128xbf16>) -> (tensor<2x128x128xbf16>, tensor<2x2x128xf32>)
  return %y, %lse : tensor<2x128x128xbf16>, tensor<2x2x128xf32>
}
