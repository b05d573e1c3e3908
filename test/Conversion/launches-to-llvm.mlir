// RUN: nag-opt %s -convert-nag-launches-to-llvm | FileCheck %s

// Scratch buffers follow each other at multiples of 256 bytes; the module needs as much as its largest kernel.
// CHECK: module @kernels attributes {gpu.container_module, nag.scratch_bytes = 512 : i64}
module @kernels attributes {gpu.container_module} {
  // CHECK-DAG: llvm.mlir.global external @nag_gpu_context() {{.*}} : i8
  // CHECK-DAG: llvm.func @nag_gpu_launch(!llvm.ptr, i64, !llvm.ptr, !llvm.ptr)
  // CHECK-DAG: llvm.func @nag_gpu_scratch(!llvm.ptr) -> !llvm.ptr
  gpu.module @device {
    gpu.func @first(%x: memref<8xf32>) kernel {
      gpu.return
    }
    gpu.func @second(%x: memref<8xf32>, %y: memref<64xf32>) kernel {
      gpu.return
    }
  }

  // CHECK-LABEL: llvm.func @two_kernel(%arg0: !llvm.ptr) attributes {nag.kernel}
  // CHECK: %[[NEAR:.*]] = llvm.call @nag_gpu_scratch
  // CHECK: llvm.call @nag_gpu_scratch
  // CHECK: %[[NEXT:.*]] = llvm.mlir.constant(256 : i64) : i64
  // CHECK: llvm.getelementptr %{{.*}}[%[[NEXT]]]
  // The second kernel, number 1, with 3 x 2 x 1 blocks of 128 threads and 4096 bytes of shared memory.
  // CHECK: llvm.mlir.constant(3 : i64)
  // CHECK: llvm.mlir.constant(128 : i64)
  // CHECK: llvm.mlir.constant(4096 : i64)
  // CHECK: %[[NUMBER:.*]] = llvm.mlir.constant(1 : i64) : i64
  // CHECK: llvm.call @nag_gpu_launch(%{{.*}}, %[[NUMBER]], %{{.*}}, %{{.*}})
  // CHECK: llvm.return
  func.func @two_kernel(%x: memref<8xf32>) attributes {nag.kernel} {
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c3 = arith.constant 3 : index
    %c128 = arith.constant 128 : index
    %shared = arith.constant 4096 : i32
    %a = gpu.alloc () : memref<8xf32>
    %b = gpu.alloc () : memref<64xf32>
    gpu.launch_func @device::@second blocks in (%c3, %c2, %c1) threads in (%c128, %c1, %c1)
        dynamic_shared_memory_size %shared args(%x : memref<8xf32>, %b : memref<64xf32>)
    return
  }
}
