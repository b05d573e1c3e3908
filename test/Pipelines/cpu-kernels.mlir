// RUN: nag-opt %s --nag-cpu-kernels | FileCheck %s

// A pointer per argument, no result, threads over the rows, no memory from the
// heap, vectors of 512 bits or twice that.
// CHECK-LABEL: llvm.func @rotate(
// CHECK-SAME: %{{[^:]*}}: !llvm.ptr, %{{[^:]*}}: !llvm.ptr, %{{[^:]*}}: !llvm.ptr, %{{[^:]*}}: !llvm.ptr, %{{[^:]*}}: !llvm.ptr, %{{[^:]*}}: !llvm.ptr) attributes {nag.kernel}
// CHECK-NOT: @malloc
// CHECK: omp.parallel
// CHECK: omp.wsloop nowait
// CHECK: vector<32xf32>
// CHECK: llvm.return
func.func @rotate(%r: tensor<2x512x64xf32>, %s: tensor<2x512xf32>, %f: tensor<2x512x64xf32>, %g: tensor<2x512xf32>,
    %out0: tensor<2x512x64xf32>, %out1: tensor<2x512xf32>) -> (tensor<2x512x64xf32>, tensor<2x512xf32>) attributes {nag.kernel} {
  %x = nag.make_stream %r, %s : !nag.stream<2x512x64xf32>
  %y = nag.rotate %x, %f, %g : (!nag.stream<2x512x64xf32>, tensor<2x512x64xf32>, tensor<2x512xf32>) -> !nag.stream<2x512x64xf32>
  %d = nag.direction %y : !nag.stream<2x512x64xf32>
  %l = nag.log_norm %y : !nag.stream<2x512x64xf32>
  %0 = bufferization.materialize_in_destination %d in %out0
      : (tensor<2x512x64xf32>, tensor<2x512x64xf32>) -> tensor<2x512x64xf32>
  %1 = bufferization.materialize_in_destination %l in %out1 : (tensor<2x512xf32>, tensor<2x512xf32>) -> tensor<2x512xf32>
  return %0, %1 : tensor<2x512x64xf32>, tensor<2x512xf32>
}
