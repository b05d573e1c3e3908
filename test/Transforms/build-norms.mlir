// RUN: nag-opt %s --nag-build-norms | FileCheck %s
// RUN: nagc model --residual prenorm --set layers=4 --set window=SL --set seq=1024 -o - | nag-opt --nag-build-norms | FileCheck %s --check-prefix=MODEL

// The embedding's norm, then one for each addition of each layer; what only the logits needed stays behind.

// CHECK-LABEL: func.func private @layer.norms(
// CHECK-SAME:      -> (tensor<4x6x8xf32>, tensor<2x4x6xf32>)
// CHECK:         %[[A:.*]] = nag.residual_add
// CHECK:         nag.encode %[[A]]
// CHECK:         %[[B:.*]] = nag.residual_add %[[A]]
// CHECK:         nag.encode %[[B]]
// CHECK:         %[[C:.*]] = tensor.concat dim(0)
// CHECK:         return %[[B]], %[[C]]

// CHECK-LABEL: func.func @logits(
// CHECK:         nag.repeat @layer 5

// CHECK-LABEL: func.func @norms(
// CHECK-SAME:      %[[T:.*]]: tensor<4x6xi32> {nag.name = "tokens"}
// CHECK-SAME:      -> (tensor<11x4x6xf32> {nag.name = "norms"})
// CHECK:         %[[X:.*]] = nag.embedding %[[T]]
// CHECK:         %[[E:.*]] = nag.encode %[[X]], %{{.*}}
// CHECK:         %[[N:.*]] = nag.log_norm %[[E]]
// CHECK:         %[[FIRST:.*]] = tensor.expand_shape %[[N]] {{\[}}[0, 1], [2]] {{.*}} into tensor<1x4x6xf32>
// CHECK:         %{{.*}}, %[[S:.*]] = nag.repeat @layer.norms 5 carry(%[[X]]) stacked(%{{.*}}) shared() {{.*}} -> (tensor<4x6x8xf32>), (tensor<5x2x4x6xf32>)
// CHECK:         %[[ALL:.*]] = tensor.collapse_shape %[[S]] {{\[}}[0, 1], [2], [3]] {{.*}} into tensor<10x4x6xf32>
// CHECK-NOT:     nag.linear
// CHECK:         %[[R:.*]] = tensor.concat dim(0) %[[FIRST]], %[[ALL]]
// CHECK:         return %[[R]]

// Layers of two kinds, in three runs.
// MODEL-LABEL: func.func @norms(
// MODEL-SAME:      -> (tensor<9x16x1024xf32> {nag.name = "norms"})
// MODEL:         nag.repeat @layer_short.norms 1
// MODEL:         nag.repeat @layer.norms 1
// MODEL:         nag.repeat @layer_short.norms 1
// MODEL:         nag.repeat @layer.norms 1

func.func private @layer(%x: tensor<4x6x8xf32>, %w: tensor<8x8xf32>) -> tensor<4x6x8xf32> {
  %f = nag.linear %x, %w : (tensor<4x6x8xf32>, tensor<8x8xf32>) -> tensor<4x6x8xf32>
  %y = nag.residual_add %x, %f : (tensor<4x6x8xf32>, tensor<4x6x8xf32>) -> tensor<4x6x8xf32>
  %g = nag.gelu %y : (tensor<4x6x8xf32>) -> tensor<4x6x8xf32>
  %z = nag.residual_add %y, %g : (tensor<4x6x8xf32>, tensor<4x6x8xf32>) -> tensor<4x6x8xf32>
  return %z : tensor<4x6x8xf32>
}

func.func @logits(%tokens: tensor<4x6xi32> {nag.name = "tokens"}, %e: tensor<7x8xf32>, %w: tensor<5x8x8xf32>)
    -> (tensor<4x6x7xf32> {nag.name = "logits"}) {
  %x = nag.embedding %tokens, %e : (tensor<4x6xi32>, tensor<7x8xf32>) -> tensor<4x6x8xf32>
  %y = nag.repeat @layer 5 carry(%x) stacked(%w) shared() : (tensor<4x6x8xf32>), (tensor<5x8x8xf32>), () -> (tensor<4x6x8xf32>), ()
  %l = nag.linear %y, %e : (tensor<4x6x8xf32>, tensor<7x8xf32>) -> tensor<4x6x7xf32>
  return %l : tensor<4x6x7xf32>
}
