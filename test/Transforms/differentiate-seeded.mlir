// RUN: nag-opt %s --split-input-file --nag-differentiate="function=f seeded" --canonicalize | FileCheck %s

// Integers carry no derivative; an argument is named by its name, else by its index: arg<i>.

// CHECK-LABEL: func.func @f.gradients(
// CHECK-SAME:      %{{.*}}: tensor<8xi32>, %[[X:.*]]: tensor<8x16xf32> {nag.name = "x"}, %[[W:.*]]: tensor<4x16xf32>,
// CHECK-SAME:      %[[DY:.*]]: tensor<8x4xf32> {nag.name = "cotangent:1"})
// CHECK-SAME:      -> (tensor<8x16xf32> {nag.name = "grad:x"}, tensor<4x16xf32> {nag.name = "grad:arg2"})
// CHECK-DAG:     %[[DX:.*]] = nag.linear %[[DY]], %[[W]] {transpose_weight}
// CHECK-DAG:     %[[DW:.*]] = nag.weight_grad %[[DY]], %[[X]]
// CHECK:         return %[[DX]], %[[DW]]
func.func @f(%t: tensor<8xi32>, %x: tensor<8x16xf32> {nag.name = "x"}, %w: tensor<4x16xf32>)
    -> (tensor<8xi32>, tensor<8x4xf32>) {
  %y = nag.linear %x, %w : (tensor<8x16xf32>, tensor<4x16xf32>) -> tensor<8x4xf32>
  return %t, %y : tensor<8xi32>, tensor<8x4xf32>
}

// -----

// An argument returned directly, a result returned twice, a value used several times.

// CHECK-LABEL: func.func @f.gradients(
// CHECK-SAME:      %[[X:.*]]: tensor<8xf32>, %[[A:.*]]: tensor<8xf32> {nag.name = "cotangent:0"},
// CHECK-SAME:      %[[B:.*]]: tensor<8xf32> {nag.name = "cotangent:1"}, %[[C:.*]]: tensor<8xf32> {nag.name = "cotangent:2"})
// CHECK:         %[[BC:.*]] = arith.addf %[[B]], %[[C]]
// CHECK:         %[[D:.*]] = arith.mulf %[[BC]], %[[X]]
// CHECK:         %[[AD:.*]] = arith.addf %[[A]], %[[D]]
// CHECK:         %[[SUM:.*]] = arith.addf %[[AD]], %[[D]]
// CHECK:         return %[[SUM]]
func.func @f(%x: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>, tensor<8xf32>) {
  %y = arith.mulf %x, %x : tensor<8xf32>
  return %x, %y, %y : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>
}

// -----

// The cotangent of a stream is two tensors; a part that is zero is not added.

// CHECK-LABEL: func.func @f.gradients(
// CHECK-SAME:      %[[X:.*]]: !nag.stream<2x16xf32>, %[[F:.*]]: tensor<2x16xf32>, %[[G:.*]]: tensor<2xf32>,
// CHECK-SAME:      %[[DR:.*]]: tensor<2x16xf32> {nag.name = "cotangent:0.direction"},
// CHECK-SAME:      %[[DS:.*]]: tensor<2xf32> {nag.name = "cotangent:0.log_norm"})
// CHECK-SAME:      -> (tensor<2x16xf32> {nag.name = "grad:arg0.direction"}, tensor<2xf32> {nag.name = "grad:arg0.log_norm"},
// CHECK-SAME:          tensor<2x16xf32> {nag.name = "grad:arg1"}, tensor<2xf32> {nag.name = "grad:arg2"})
// CHECK:         %[[R:.*]] = nag.direction %[[X]]
// CHECK:         %[[DX:.*]], %[[DF:.*]], %[[DG:.*]] = nag.rotate_vjp %[[R]], %[[F]], %[[G]], %[[DR]], %[[DS]] {eps = 0.{{.*}} : f64}
// CHECK:         return %[[DX]], %[[DS]], %[[DF]], %[[DG]]
func.func @f(%x: !nag.stream<2x16xf32>, %f: tensor<2x16xf32>, %g: tensor<2xf32>) -> !nag.stream<2x16xf32> {
  %y = nag.rotate %x, %f, %g {eps = 0.0} : (!nag.stream<2x16xf32>, tensor<2x16xf32>, tensor<2xf32>) -> !nag.stream<2x16xf32>
  return %y : !nag.stream<2x16xf32>
}

// -----

// The gate is symmetric in alpha and scale, also where alpha is bf16 and scale f32.

// CHECK-LABEL: func.func @f.gradients(
// CHECK-SAME:      %[[ALPHA:[^ ,]*]]: tensor<bf16>, %[[SCALE:[^ ,]*]]: tensor<f32>, %[[DG:[^ ,]*]]: tensor<2x8xf32>
// CHECK:         nag.gate_vjp {{.*}}, %[[ALPHA]], %[[DG]] scale %[[SCALE]]
// CHECK:         %[[WIDE:.*]] = arith.extf %[[ALPHA]]
// CHECK:         %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %[[DSCALE:.*]] = nag.gate_vjp {{.*}}, %[[SCALE]], %[[DG]] scale %[[WIDE]]
// CHECK:         return {{.*}}, %[[DSCALE]] :
func.func @f(%z: tensor<2x8x4xbf16>, %b: tensor<4xbf16>, %p: tensor<4xbf16>, %beta: tensor<bf16>, %alpha: tensor<bf16>,
    %scale: tensor<f32>) -> tensor<2x8xf32> {
  %g = nag.gate %z, %b, %p, %beta, %alpha scale %scale
      : (tensor<2x8x4xbf16>, tensor<4xbf16>, tensor<4xbf16>, tensor<bf16>, tensor<bf16>, tensor<f32>) -> tensor<2x8xf32>
  return %g : tensor<2x8xf32>
}
