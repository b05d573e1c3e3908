// RUN: nag-opt %s --convert-linalg-matmul-to-nag-gemm --canonicalize --cse --split-input-file | FileCheck %s

// Leading dimensions collapse; the fill becomes beta = 0; W^T is a transposed operand.
// CHECK-LABEL: func.func private @nag_gemm_f32(i64, i64, i64, i64, i64, f32, !llvm.ptr, i64, !llvm.ptr, i64, f32, !llvm.ptr, i64)
// CHECK-LABEL: func.func @linear(
// CHECK-SAME: %[[X:.*]]: memref<2x8x16xf32>, %[[W:.*]]: memref<64x16xf32>, %[[Y:.*]]: memref<2x8x64xf32>)
// CHECK-NOT: linalg
// CHECK-DAG: %[[PLAIN:.*]] = arith.constant 0 : i64
// CHECK-DAG: %[[TRANSPOSED:.*]] = arith.constant 1 : i64
// CHECK-DAG: %[[ALPHA:.*]] = arith.constant 1.000000e+00 : f32
// CHECK-DAG: %[[BETA:.*]] = arith.constant 0.000000e+00 : f32
// CHECK-DAG: %[[C16:.*]] = arith.constant 16 : i64
// CHECK-DAG: %[[C64:.*]] = arith.constant 64 : i64
// CHECK: call @nag_gemm_f32(%[[PLAIN]], %[[TRANSPOSED]], %[[C16]], %[[C64]], %[[C16]], %[[ALPHA]], %{{.*}}, %[[C16]], %{{.*}}, %[[C16]], %[[BETA]], %{{.*}}, %[[C64]])
func.func @linear(%x: memref<2x8x16xf32>, %w: memref<64x16xf32>, %y: memref<2x8x64xf32>) {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%y : memref<2x8x64xf32>)
  linalg.contract indexing_maps = [affine_map<(b, t, n, k) -> (b, t, k)>, affine_map<(b, t, n, k) -> (n, k)>,
                                   affine_map<(b, t, n, k) -> (b, t, n)>]
      ins(%x, %w : memref<2x8x16xf32>, memref<64x16xf32>) outs(%y : memref<2x8x64xf32>)
  return
}

// -----

// Without a fill the product adds up. A dynamic number of rows and any stride between rows are fine.
// CHECK-LABEL: func.func @strided
// CHECK-DAG: %[[ONE:.*]] = arith.constant 1.000000e+00 : f64
// CHECK-DAG: %[[LD:.*]] = arith.constant 40 : i64
// CHECK-DAG: %[[ROWS:.*]] = memref.dim
// CHECK-DAG: %[[M:.*]] = arith.index_cast %[[ROWS]]
// CHECK-DAG: %{{.*}}, %[[OFFSET:[a-z0-9_]+]], %{{[a-z0-9_]+}}:2, %{{.*}} = memref.extract_strided_metadata
// CHECK-DAG: arith.muli %[[OFFSET]], %c8
// CHECK: call @nag_gemm_f64(%{{.*}}, %{{.*}}, %[[M]], %{{.*}}, %{{.*}}, %[[ONE]], %{{.*}}, %[[LD]], %{{.*}}, %{{.*}}, %[[ONE]]
func.func @strided(%a: memref<?x8xf64, strided<[40, 1], offset: ?>>, %b: memref<8x16xf64>, %c: memref<?x16xf64>) {
  linalg.matmul ins(%a, %b : memref<?x8xf64, strided<[40, 1], offset: ?>>, memref<8x16xf64>) outs(%c : memref<?x16xf64>)
  return
}

// -----

// What is no product of matrices with contiguous rows stays.
// CHECK-LABEL: func.func @stays
// CHECK: linalg.matmul
// CHECK: linalg.matmul
// CHECK: linalg.batch_matmul
// CHECK-NOT: call
func.func @stays(%a: memref<4x8xf32, strided<[16, 2]>>, %b: memref<8x16xf32>, %c: memref<4x16xf32>, %h: memref<4x8xbf16>,
    %g: memref<8x16xbf16>, %p: memref<2x4x8xf32>, %q: memref<2x8x16xf32>, %r: memref<2x4x16xf32>) {
  linalg.matmul ins(%a, %b : memref<4x8xf32, strided<[16, 2]>>, memref<8x16xf32>) outs(%c : memref<4x16xf32>)
  linalg.matmul ins(%h, %g : memref<4x8xbf16>, memref<8x16xbf16>) outs(%c : memref<4x16xf32>)
  linalg.batch_matmul ins(%p, %q : memref<2x4x8xf32>, memref<2x8x16xf32>) outs(%r : memref<2x4x16xf32>)
  return
}
