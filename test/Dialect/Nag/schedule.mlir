// RUN: nag-opt %s | nag-opt | FileCheck %s
// RUN: nag-opt %s -emit-bytecode | nag-opt | FileCheck %s

// Fields in any order; those that are 1 need not stand.
// CHECK: @gemm() attributes {nag.schedule = #nag.schedule<gemm, tile = [64, 64, 32], warps = [2, 2], stages = 4, split_k = 8>}
func.func private @gemm() attributes {nag.schedule = #nag.schedule<gemm, split_k = 8, stages = 4, warps = [2, 2], tile = [64, 64, 32]>}
// CHECK: @whole() attributes {nag.schedule = #nag.schedule<gemm, tile = [64, 64, 32], warps = [2, 2], stages = 4>}
func.func private @whole() attributes {nag.schedule = #nag.schedule<gemm, tile = [64, 64, 32], warps = [2, 2], stages = 4, split_k = 1>}
// CHECK: @attention() attributes {nag.schedule = #nag.schedule<attention, tile = [64, 32], warps = 4>}
func.func private @attention() attributes {nag.schedule = #nag.schedule<attention, tile = [64, 32], warps = 4>}
// CHECK: @attention_vjp() attributes {nag.schedule = #nag.schedule<attention_vjp, key_tile = [64, 32], key_warps = 4, query_tile = [32, 64], query_warps = 2>}
func.func private @attention_vjp() attributes {
    nag.schedule = #nag.schedule<attention_vjp, key_tile = [64, 32], key_warps = 4, query_tile = [32, 64], query_warps = 2>}
// CHECK: @rows() attributes {nag.schedule = #nag.schedule<rows, threads = 1024, rows = 1, width = 8, passes = 3, keep = 0>}
func.func private @rows() attributes {nag.schedule = #nag.schedule<rows, threads = 1024, rows = 1, width = 8, passes = 3, keep = 0>}
// CHECK: @others() attributes {nag.schedule = [#nag.schedule<cached_attention, warps = 8>, #nag.schedule<embedding_vjp, threads = 64, sort = 1>, #nag.schedule<row_parts, threads = 96>]}
func.func private @others() attributes {
    nag.schedule = [#nag.schedule<cached_attention, warps = 8>, #nag.schedule<embedding_vjp, sort = 1, threads = 64>, #nag.schedule<row_parts, threads = 96>]}
