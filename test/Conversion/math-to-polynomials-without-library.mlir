// RUN: nag-opt %s --convert-math-to-polynomials=without-library=true | FileCheck %s
// RUN: nag-opt %s --convert-math-to-polynomials | FileCheck %s --check-prefix=LIBRARY

// f32 functions by way of f64; no function is left that a library would have to provide.
// CHECK-LABEL: func.func @functions
// CHECK-NOT: math.
// CHECK: arith.extf {{.*}} : vector<4xf32> to vector<4xf64>
// CHECK: llvm.call_intrinsic "llvm.roundeven"
// CHECK: arith.truncf {{.*}} : vector<4xf64> to vector<4xf32>
// CHECK-NOT: math.
// LIBRARY-LABEL: func.func @functions
// LIBRARY: math.sin
// LIBRARY: math.cos
// LIBRARY: math.powf
// LIBRARY: math.rsqrt
// LIBRARY: math.exp {{.*}} : f64
func.func @functions(%x: vector<4xf32>, %y: f64) -> (vector<4xf32>, f64) {
  %a = math.sin %x : vector<4xf32>
  %b = math.cos %a : vector<4xf32>
  %c = math.powf %b, %x : vector<4xf32>
  %d = math.rsqrt %c : vector<4xf32>
  %e = math.exp %y : f64
  return %d, %e : vector<4xf32>, f64
}

// CHECK-LABEL: func.func @instructions
// CHECK: llvm.call_intrinsic "llvm.sqrt"(%{{.*}}) : (f32) -> f32
// CHECK: llvm.call_intrinsic "llvm.fabs"(%{{.*}}) : (f32) -> f32
func.func @instructions(%x: f32) -> f32 {
  %a = math.sqrt %x : f32
  %b = math.absf %a : f32
  return %b : f32
}
