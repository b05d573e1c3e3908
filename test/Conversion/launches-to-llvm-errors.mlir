// RUN: nag-opt %s --split-input-file --verify-diagnostics -convert-nag-launches-to-llvm

module @kernels {
  func.func @copy_kernel(%x: memref<8xf32>, %y: memref<8xf32>) attributes {nag.kernel} {
    // expected-error @+1 {{expected an op of a host function: a launch, a gpu.alloc, a reshape}}
    memref.copy %x, %y : memref<8xf32> to memref<8xf32>
    return
  }
}
