// RUN: nag-opt %s -split-input-file -verify-diagnostics

// expected-error@+1 {{expected a family of schedules, one of gemm, attention, attention_vjp, cached_attention, embedding_vjp, rows, row_parts, but got sort}}
func.func private @S1_family() attributes {nag.schedule = #nag.schedule<sort, tile = [64, 64]>}

// -----

// expected-error@+1 {{expected the fields tile, warps, each once, but got 'stages'}}
func.func private @S1_field() attributes {nag.schedule = #nag.schedule<attention, tile = [64, 64], stages = 2>}

// -----

// expected-error@+1 {{expected the fields tile, warps, each once, but got 'warps'}}
func.func private @S1_twice() attributes {nag.schedule = #nag.schedule<attention, tile = [64, 64], warps = 4, warps = 4>}

// -----

// expected-error@+1 {{expected a field 'stages' in a schedule of the family gemm, but it is missing}}
func.func private @S1_missing() attributes {nag.schedule = #nag.schedule<gemm, tile = [64, 64, 16], warps = [1, 1]>}

// -----

// expected-error@+1 {{expected 3 integers in 'tile', but got 2}}
func.func private @S1_count() attributes {nag.schedule = #nag.schedule<gemm, tile = [64, 64], warps = [1, 1], stages = 2>}

// -----

// expected-error@+1 {{expected powers of two from 1 to 256 in 'tile', but got 96}}
func.func private @S2_tile() attributes {nag.schedule = #nag.schedule<gemm, tile = [96, 64, 16], warps = [1, 1], stages = 2>}

// -----

// expected-error@+1 {{expected powers of two from 1 to 32 in 'warps', but got 3}}
func.func private @S2_warps() attributes {nag.schedule = #nag.schedule<gemm, tile = [64, 64, 16], warps = [3, 1], stages = 2>}

// -----

func.func private @S2_zero() attributes {
    // expected-error@+1 {{expected powers of two from 1 to 256 in 'query_tile', but got 0}}
    nag.schedule = #nag.schedule<attention_vjp, key_tile = [64, 32], key_warps = 4, query_tile = [0, 64], query_warps = 4>}

// -----

// expected-error@+1 {{expected at most 32 'warps', each with a part of the tile, but got [8, 8]}}
func.func private @S3_warps() attributes {nag.schedule = #nag.schedule<gemm, tile = [64, 64, 16], warps = [8, 8], stages = 2>}

// -----

// expected-error@+1 {{expected at most 32 'warps', each with a part of the tile, but got [16, 1]}}
func.func private @S3_part() attributes {nag.schedule = #nag.schedule<gemm, tile = [8, 64, 16], warps = [16, 1], stages = 2>}

// -----

// expected-error@+1 {{expected integers from 2 to 16 in 'stages', but got 1}}
func.func private @S4_stages() attributes {nag.schedule = #nag.schedule<gemm, tile = [64, 64, 16], warps = [1, 1], stages = 1>}

// -----

// expected-error@+1 {{expected integers from 1 to 65535 in 'split_k', but got 0}}
func.func private @S4_split() attributes {nag.schedule = #nag.schedule<gemm, tile = [64, 64, 16], warps = [1, 1], stages = 2, split_k = 0>}

// -----

// expected-error@+1 {{expected integers from 0 to 2 in 'keep', but got 3}}
func.func private @S4_keep() attributes {nag.schedule = #nag.schedule<rows, threads = 32, rows = 1, width = 8, keep = 3>}

// -----

// expected-error@+1 {{expected 'threads' that are a power of two up to 32 or a multiple of it, but got 48}}
func.func private @S5_threads() attributes {nag.schedule = #nag.schedule<rows, threads = 48, rows = 1, width = 8>}

// -----

// expected-error@+1 {{expected 1 in 'rows' where a row has more than 32 'threads', but got 2}}
func.func private @S5_rows() attributes {nag.schedule = #nag.schedule<rows, threads = 64, rows = 2, width = 8>}

// -----

// expected-error@+1 {{expected at most 1024 as 'threads' x 'rows', but got 32 x 64}}
func.func private @S5_block() attributes {nag.schedule = #nag.schedule<rows, threads = 32, rows = 64, width = 8>}

// -----

// expected-error@+1 {{expected 'threads' that are a power of two up to 32 or a multiple of it, but got 48}}
func.func private @S6_parts() attributes {nag.schedule = #nag.schedule<row_parts, threads = 48>}

// -----

// expected-error@+1 {{expected powers of two from 32 to 1024 in 'threads', but got 16}}
func.func private @S6_threads() attributes {nag.schedule = #nag.schedule<embedding_vjp, threads = 16, sort = 0>}

// -----

// expected-error@+1 {{expected integers from 0 to 1 in 'sort', but got 2}}
func.func private @S6_sort() attributes {nag.schedule = #nag.schedule<embedding_vjp, threads = 128, sort = 2>}

// -----

// expected-error@+1 {{expected powers of two from 1 to 32 in 'warps', but got 3}}
func.func private @S2_cached() attributes {nag.schedule = #nag.schedule<cached_attention, warps = 3>}
