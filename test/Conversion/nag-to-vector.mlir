// RUN: nag-opt %s --convert-nag-to-vector --canonicalize --cse | FileCheck %s

// 128 queries are 8 tiles of 16; pairs of equal work: 2 sequences x 4 heads x 4 pairs.
// CHECK-LABEL: func.func @forward
// CHECK: scf.forall (%[[I:.*]]) in (32)
// CHECK: func.call @attention_tiles(%{{.*}}, %[[I]])
// CHECK-NOT: nag.
func.func @forward(%q: memref<2x128x128xf32>, %k: memref<2x128x64xf32>, %v: memref<2x128x64xf32>, %o: memref<2x128x128xf32>,
    %lse: memref<2x4x128xf32>) {
  nag.stream_attention %q, %k, %v into %o, %lse {heads = 4, kv_heads = 2}
      : (memref<2x128x128xf32>, memref<2x128x64xf32>, memref<2x128x64xf32>, memref<2x128x128xf32>, memref<2x4x128xf32>)
      -> ()
  return
}

// One iteration per sequence and key-value head.
// CHECK-LABEL: func.func @backward
// CHECK: scf.forall (%[[I:.*]]) in (4)
// CHECK: func.call @attention_vjp_heads(%{{.*}}, %[[I]])
func.func @backward(%q: memref<2x128x128xf32>, %k: memref<2x128x64xf32>, %v: memref<2x128x64xf32>, %o: memref<2x128x128xf32>,
    %lse: memref<2x4x128xf32>, %do: memref<2x128x128xf32>, %dq: memref<2x128x128xf32>, %dk: memref<2x128x64xf32>,
    %dv: memref<2x128x64xf32>) {
  nag.stream_attention_vjp %q, %k, %v, %o, %lse, %do into %dq, %dk, %dv {heads = 4, kv_heads = 2}
      : (memref<2x128x128xf32>, memref<2x128x64xf32>, memref<2x128x64xf32>, memref<2x128x128xf32>, memref<2x4x128xf32>, memref<2x128x128xf32>, memref<2x128x128xf32>, memref<2x128x64xf32>, memref<2x128x64xf32>)
      -> ()
  return
}

// The largest buffer holds the scores of 128 keys and 16 queries, whatever T is.
// CHECK-LABEL: func.func private @attention_tiles
// CHECK-DAG: memref.alloca() {alignment = 64 : i64} : memref<32x16xf32>
// CHECK-DAG: memref.alloca() {alignment = 64 : i64} : memref<128x16xf32>
// CHECK: vector.shuffle
// CHECK: %[[STATE:.*]]:2 = scf.for
// CHECK: vector.fma
// CHECK: arith.divf
