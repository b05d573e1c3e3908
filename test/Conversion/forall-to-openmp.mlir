// RUN: nag-opt %s --convert-forall-to-openmp="min-work=4096" | FileCheck %s

// Scratch once per thread, before the loop.
// CHECK-LABEL: func.func @parallel
// CHECK: omp.parallel {
// CHECK-NEXT: memref.alloca() {{.*}} : memref<16xf32>
// CHECK: omp.wsloop nowait {
// CHECK-NEXT: omp.loop_nest (%{{.*}}) : index = (%{{.*}}) to (%{{.*}}) step (%{{.*}})
// CHECK-NOT: memref.alloc
func.func @parallel(%x: memref<512x16xf32>) {
  scf.forall (%i) in (512) {
    %buffer = memref.alloc() : memref<16xf32>
    %row = memref.subview %x[%i, 0] [1, 16] [1, 1] : memref<512x16xf32> to memref<16xf32, strided<[1], offset: ?>>
    linalg.copy ins(%row : memref<16xf32, strided<[1], offset: ?>>) outs(%buffer : memref<16xf32>)
    linalg.copy ins(%buffer : memref<16xf32>) outs(%row : memref<16xf32, strided<[1], offset: ?>>)
    memref.dealloc %buffer : memref<16xf32>
  }
  return
}

// Too little work for threads.
// CHECK-LABEL: func.func @sequential
// CHECK-NOT: omp
// CHECK: scf.for
func.func @sequential(%x: memref<8x16xf32>, %zero: f32) {
  scf.forall (%i) in (8) {
    %row = memref.subview %x[%i, 0] [1, 16] [1, 1] : memref<8x16xf32> to memref<16xf32, strided<[1], offset: ?>>
    linalg.fill ins(%zero : f32) outs(%row : memref<16xf32, strided<[1], offset: ?>>)
  }
  return
}
