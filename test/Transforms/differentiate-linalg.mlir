// RUN: nag-opt %s --nag-differentiate="function=f seeded" --canonicalize | FileCheck %s

// A generic op by each of its operands: the body's derivative, element by element; what an operand's map leaves out is
// summed up.

// CHECK-DAG:   #[[ID:.*]] = affine_map<(d0, d1) -> (d0, d1)>
// CHECK-DAG:   #[[COLUMN:.*]] = affine_map<(d0, d1) -> (d1)>
// CHECK-LABEL: func.func @f.gradients(
// CHECK-SAME:      %[[Z:[^:]*]]: tensor<8x4xf32>, %[[B:[^:]*]]: tensor<4xf32>, %[[DY:[^:]*]]: tensor<8x4xf32>
// CHECK:         %[[ZERO:.*]] = arith.constant dense<0.0{{.*}}> : tensor<4xf32>
// dz = dy b (1 - tanh(z)^2)
// CHECK:         %[[DZ:.*]] = linalg.generic {{.*}}["parallel", "parallel"]} ins(%[[Z]], %[[B]], %{{.*}}, %[[DY]]
// CHECK-NEXT:    ^bb0(%[[A:.*]]: f32, %[[C:.*]]: f32, %{{.*}}: f32, %[[D:.*]]: f32, %{{.*}}: f32):
// CHECK-NEXT:      %[[T:.*]] = math.tanh %[[A]]
// CHECK-NEXT:      %[[DT:.*]] = arith.mulf %[[D]], %[[C]]
// CHECK-NEXT:      %[[TT:.*]] = arith.mulf %[[T]], %[[T]]
// CHECK-NEXT:      %[[P:.*]] = arith.mulf %[[DT]], %[[TT]]
// CHECK-NEXT:      %[[R:.*]] = arith.subf %[[DT]], %[[P]]
// CHECK-NEXT:      linalg.yield %[[R]]
// db = the sum over rows of dy tanh(z)
// CHECK:         %[[PART:.*]] = linalg.generic
// CHECK:         %[[DB:.*]] = linalg.generic {indexing_maps = [#[[ID]], #[[COLUMN]]], iterator_types = ["reduction", "parallel"]} ins(%[[PART]]
// CHECK-SAME:      outs(%[[ZERO]]
// CHECK:           arith.addf
// CHECK:         return %[[DZ]], %[[DB]]
#id = affine_map<(i, j) -> (i, j)>
#column = affine_map<(i, j) -> (j)>
func.func @f(%z: tensor<8x4xf32>, %b: tensor<4xf32>) -> tensor<8x4xf32> {
  %e = tensor.empty() : tensor<8x4xf32>
  %y = linalg.generic {indexing_maps = [#id, #column, #id], iterator_types = ["parallel", "parallel"]}
      ins(%z, %b : tensor<8x4xf32>, tensor<4xf32>) outs(%e : tensor<8x4xf32>) {
  ^bb0(%a: f32, %c: f32, %out: f32):
    %s = math.tanh %a : f32
    %t = arith.mulf %s, %c : f32
    linalg.yield %t : f32
  } -> tensor<8x4xf32>
  return %y : tensor<8x4xf32>
}
