// RUN: nag-opt %s --convert-linalg-matmul-to-nag-gemm --verify-diagnostics

// expected-error @+1 {{expected 'nag_gemm_f32' to be a function of type}}
func.func private @nag_gemm_f32(f32)

func.func @linear(%a: memref<4x8xf32>, %b: memref<8x16xf32>, %c: memref<4x16xf32>) {
  linalg.matmul ins(%a, %b : memref<4x8xf32>, memref<8x16xf32>) outs(%c : memref<4x16xf32>)
  return
}
