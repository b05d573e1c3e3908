// RUN: nag-opt %s --convert-nag-runtime-calls | FileCheck %s

// CHECK: func.func private @nag_quantile_f32(i64, i64, !llvm.ptr, !llvm.ptr, !llvm.ptr)
// CHECK-LABEL: func.func @quantile
// CHECK-DAG: %[[S:.*]] = arith.constant 4 : i64
// CHECK-DAG: %[[N:.*]] = arith.constant 8 : i64
// CHECK: call @nag_quantile_f32(%[[S]], %[[N]], %{{.*}}, %{{.*}}, %{{.*}}) : (i64, i64, !llvm.ptr, !llvm.ptr, !llvm.ptr) -> ()
// CHECK-NOT: nag.runtime_call
func.func @quantile(%g: memref<4x8xf32>, %rate: memref<f32>, %out: memref<4xf32>) {
  nag.runtime_call @nag_quantile_f32 [4, 8] (%g, %rate) into (%out) : (memref<4x8xf32>, memref<f32>, memref<4xf32>) -> ()
  return
}
