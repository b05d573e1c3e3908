// RUN: nag-opt %s --nag-split-streams | FileCheck %s

// CHECK-LABEL: func.func private @layer
// CHECK-SAME: (%[[R:.*]]: tensor<2x8x16xf32>, %[[S:.*]]: tensor<2x8xf32>, %[[W:.*]]: tensor<16x16xf32>, %[[G:.*]]: tensor<2x8xf32>) -> (tensor<2x8x16xf32>, tensor<2x8xf32>, tensor<2x8xf32>)
// CHECK: %[[X:.*]] = nag.make_stream %[[R]], %[[S]]
// CHECK: nag.linear %[[R]], %[[W]]
// CHECK: %[[Y:.*]] = nag.rotate %[[X]]
// CHECK-DAG: %[[YR:.*]] = nag.direction %[[Y]]
// CHECK-DAG: %[[YS:.*]] = nag.log_norm %[[Y]]
// CHECK: return %[[YR]], %[[YS]], %[[G]]
func.func private @layer(%x: !nag.stream<2x8x16xf32>, %w: tensor<16x16xf32>, %g: tensor<2x8xf32>)
    -> (!nag.stream<2x8x16xf32>, tensor<2x8xf32>) {
  %r = nag.direction %x : !nag.stream<2x8x16xf32>
  %f = nag.linear %r, %w : (tensor<2x8x16xf32>, tensor<16x16xf32>) -> tensor<2x8x16xf32>
  %y = nag.rotate %x, %f, %g : (!nag.stream<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>) -> !nag.stream<2x8x16xf32>
  return %y, %g : !nag.stream<2x8x16xf32>, tensor<2x8xf32>
}

// CHECK-LABEL: func.func @model
// CHECK-SAME: tensor<2x8x16xf32> {nag.name = "x"}
// CHECK-SAME: tensor<2x8xf32> {nag.name = "x.log_norm"}
// CHECK: %[[C:.*]]:2, %[[GATES:.*]] = nag.repeat @layer 3 carry(%{{.*}}, %{{.*}}) stacked(%{{.*}}) shared(%[[G:[^)]*]]) :
// CHECK-SAME: (tensor<2x8x16xf32>, tensor<2x8xf32>), (tensor<3x16x16xf32>), (tensor<2x8xf32>) -> (tensor<2x8x16xf32>, tensor<2x8xf32>), (tensor<3x2x8xf32>)
// CHECK: %{{.*}}:3 = call @layer(%[[C]]#0, %[[C]]#1, %{{.*}}, %[[G]])
// CHECK-NOT: !nag.stream
// CHECK: return %{{.*}}#0, %{{.*}}#1, %[[GATES]]
func.func @model(%x: !nag.stream<2x8x16xf32> {nag.name = "x"}, %w: tensor<3x16x16xf32>, %v: tensor<16x16xf32>,
    %g: tensor<2x8xf32>) -> (!nag.stream<2x8x16xf32>, tensor<3x2x8xf32>) {
  %y, %gates = nag.repeat @layer 3 carry(%x) stacked(%w) shared(%g)
      : (!nag.stream<2x8x16xf32>), (tensor<3x16x16xf32>), (tensor<2x8xf32>)
      -> (!nag.stream<2x8x16xf32>), (tensor<3x2x8xf32>)
  %z:2 = call @layer(%y, %v, %g) : (!nag.stream<2x8x16xf32>, tensor<16x16xf32>, tensor<2x8xf32>)
      -> (!nag.stream<2x8x16xf32>, tensor<2x8xf32>)
  return %z#0, %gates : !nag.stream<2x8x16xf32>, tensor<3x2x8xf32>
}
