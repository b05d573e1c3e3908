// RUN: nag-opt %s --convert-linalg-to-vector-loops="vector-bits=256" --split-input-file | FileCheck %s

#row = affine_map<(d) -> (d)>
#one = affine_map<(d) -> ()>

// What 16 lanes do not divide is done in 8, 4, 2 and 1.
// CHECK-LABEL: func.func @add
// CHECK: scf.for %{{.*}} = %{{.*}} to %{{.*}} step %{{.*}} {
// CHECK: vector.load %{{.*}} : memref<43xf32>, vector<16xf32>
// CHECK: arith.addf %{{.*}} : vector<16xf32>
// CHECK: vector.store %{{.*}} : memref<43xf32>, vector<16xf32>
// CHECK: vector.load %{{.*}} : memref<43xf32>, vector<8xf32>
// CHECK-NOT: vector<4xf32>
// CHECK: vector.store %{{.*}} : memref<43xf32>, vector<2xf32>
// CHECK: vector.store %{{.*}} : memref<43xf32>, vector<1xf32>
func.func @add(%x: memref<43xf32>, %y: memref<43xf32>) {
  linalg.generic {indexing_maps = [#row, #row], iterator_types = ["parallel"]} ins(%x : memref<43xf32>) outs(%y : memref<43xf32>) {
  ^bb0(%a: f32, %b: f32):
    %c = arith.addf %a, %b : f32
    linalg.yield %c : f32
  }
  return
}

// -----

#row = affine_map<(d) -> (d)>
#one = affine_map<(d) -> ()>

// A partial sum per lane, added up at the end.
// CHECK-LABEL: func.func @sum
// CHECK: %[[LANES:.*]] = scf.for {{.*}} iter_args({{.*}}) -> (vector<16xf32>)
// CHECK: %[[SUM:.*]] = vector.reduction <add>, %[[LANES]], %{{.*}} fastmath<reassoc> : vector<16xf32> into f32
// CHECK: memref.store %[[SUM]]
func.func @sum(%x: memref<64xf32>, %y: memref<f32>) {
  linalg.generic {indexing_maps = [#row, #one], iterator_types = ["reduction"]} ins(%x : memref<64xf32>) outs(%y : memref<f32>) {
  ^bb0(%a: f32, %b: f32):
    %c = arith.addf %a, %b : f32
    linalg.yield %c : f32
  }
  return
}

// -----

// Rows that do not lie together stay.
// CHECK-LABEL: func.func @column
// CHECK: linalg.generic
func.func @column(%x: memref<64xf32, strided<[2]>>, %y: memref<64xf32>) {
  linalg.generic {indexing_maps = [affine_map<(d) -> (d)>, affine_map<(d) -> (d)>], iterator_types = ["parallel"]}
      ins(%x : memref<64xf32, strided<[2]>>) outs(%y : memref<64xf32>) {
  ^bb0(%a: f32, %b: f32):
    linalg.yield %a : f32
  }
  return
}
