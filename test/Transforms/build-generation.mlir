// RUN: nag-opt %s --nag-build-generation="batch=2 prompt=3 capacity=16" | FileCheck %s
// RUN: nagc model --set layers=4 --set window=SL --set seq=1024 -o - | nag-opt --nag-build-generation="batch=3 prompt=32 capacity=256" | FileCheck %s --check-prefix=MIXED
// RUN: nagc model --set window=20 -o - | nag-opt --nag-build-generation="batch=3 prompt=32 capacity=256" | FileCheck %s --check-prefix=RING
// RUN: nagc model --set layers=3 --set window=20 --mod-policy rate --mod-rate 0.25 --set mod_kv=routed -o %t.routed.mlir
// RUN: nag-opt %t.routed.mlir --nag-build-generation="batch=2 prompt=4 capacity=64" | FileCheck %s --check-prefix=SHARED
// RUN: nag-opt %t.routed.mlir --nag-build-generation="batch=2 prompt=4 capacity=16 budget=0.5" | FileCheck %s --check-prefix=BUDGET

// A layer's keys and values come out of it; what the logits do not need (the gate's copy %unused) stays behind.

// CHECK-LABEL: func.func @prefill(
// CHECK-SAME:      %[[T:[a-z0-9]+]]: tensor<2x3xi32> {nag.name = "tokens"}, %[[E:[a-z0-9]+]]: tensor<8x4xf32>
// CHECK-SAME:      -> (tensor<2x3x8xf32> {nag.name = "logits"}, tensor<5x2x3x4xf32> {nag.name = "prompt:keys"}, tensor<5x2x3x4xf32> {nag.name = "prompt:values"},
// CHECK-SAME:          tensor<16x2xf32> {nag.name = "rotary:cos"}, tensor<16x2xf32> {nag.name = "rotary:sin"})
// CHECK:         %[[X:.*]] = nag.embedding %[[T]], %[[E]]
// CHECK-DAG:     nag.rotary_table {base = 1.000000e+05 : f64} : tensor<16x2xf32>, tensor<16x2xf32>
// CHECK-DAG:     %[[C:.*]], %[[S:.*]] = nag.rotary_table {base = 1.000000e+05 : f64} : tensor<3x2xf32>, tensor<3x2xf32>
// CHECK:         nag.repeat @layer.prefill 5 carry(%[[X]]) stacked(%{{.*}}) shared(%[[C]], %[[S]])

// CHECK-LABEL: func.func private @layer.prefill(
// CHECK:         %[[V:.*]] = nag.linear
// CHECK:         %[[K:.*]] = nag.rotary %[[V]]
// CHECK:         %[[O:.*]], %{{.*}} = nag.attention %[[K]], %[[K]], %[[V]]
// CHECK-NOT:     nag.gelu
// CHECK:         return %[[O]], %[[K]], %[[V]]

// CHECK-LABEL: func.func @decode(
// CHECK-SAME:      %[[T:[a-z0-9]+]]: tensor<1x2xi32> {nag.name = "tokens"}
// CHECK-SAME:      %[[KC:[a-z0-9]+]]: tensor<5x2x16x4xf32> {nag.name = "cache:keys"}, %[[VC:[a-z0-9]+]]: tensor<5x2x16x4xf32> {nag.name = "cache:values"}
// CHECK-SAME:      %[[P:[a-z0-9]+]]: tensor<1x2xi32> {nag.name = "positions"}
// CHECK-SAME:      -> (tensor<1x2x8xf32> {nag.name = "logits"}, tensor<5x1x2x4xf32> {nag.name = "new:keys"}, tensor<5x1x2x4xf32> {nag.name = "new:values"})
// CHECK:         nag.embedding %[[P]], %{{.*}} : (tensor<1x2xi32>, tensor<16x2xf32>) -> tensor<1x2x2xf32>
// CHECK:         nag.repeat @layer.decode 5 carry(%{{.*}}) stacked(%{{.*}}, %[[KC]], %[[VC]]) shared(%{{.*}}, %{{.*}}, %[[P]])

// CHECK-LABEL: func.func private @layer.decode(
// CHECK-SAME:      %[[KL:[a-z0-9]*]]: tensor<2x16x4xf32>, %[[VL:[a-z0-9]*]]: tensor<2x16x4xf32>
// CHECK:         nag.cached_attention %[[K:.*]], %[[K]], %{{.*}}, %[[KL]], %[[VL]], %{{.*}} {heads = 1 : i64, kv_heads = 1 : i64}

// Two kinds of layers share the stacks; the cache holds everything, for one kind sees everything.
// MIXED-LABEL: func.func @decode(
// MIXED-SAME:  tensor<4x3x256x128xf32> {nag.name = "cache:keys"}
// MIXED:       nag.repeat @layer_short.decode 1
// MIXED:       tensor.concat dim(0)

// Where every layer has a window, the cache is a ring of that size.
// RING-LABEL: func.func @decode(
// RING-SAME:  tensor<4x3x20x128xf32> {nag.name = "cache:keys"}

// Keys of executed tokens: 20 + 15 + 20 rows for three layers, the one in the middle routed.
// SHARED-LABEL: func.func @prefill(
// SHARED-SAME:  tensor<3x8x128xf32> {nag.name = "prompt:keys"}, tensor<3x8x128xf32> {nag.name = "prompt:values"}, tensor<3x8xi32> {nag.name = "prompt:tokens"}, tensor<3xi32> {nag.name = "reach"}
// SHARED-DAG:   arith.constant dense<20> : tensor<3xi32>
// SHARED-DAG:   arith.constant dense<{{.*}}[0, 1, 2, 3, 4, 5, 6, 7]{{.*}}> : tensor<1x8xi32>
// SHARED-LABEL: func.func private @layer_routed.prefill(
// SHARED:       %[[I:.*]], %{{.*}} = nag.route
// SHARED:       return %{{.*}}, %{{.*}}, %{{.*}}, %[[I]] : !nag.stream<2x4x128xf32>, tensor<8x128xf32>, tensor<8x128xf32>, tensor<8xi32>
// SHARED-LABEL: func.func @decode(
// SHARED-SAME:  %[[KC:[a-z0-9]+]]: tensor<2x55x128xf32> {nag.name = "cache:keys"}, %[[VC:[a-z0-9]+]]: tensor<2x55x128xf32> {nag.name = "cache:values"}
// SHARED-SAME:  %[[R:[a-z0-9]+]]: tensor<3x2x20xi32> {nag.name = "cache:rows"}, %[[C:[a-z0-9]+]]: tensor<3x1x2xi32> {nag.name = "cache:counts"}, %{{.*}}: tensor<1x2xi32> {nag.name = "positions"}
// SHARED:       nag.repeat @layer_routed.decode 1 carry(%{{.*}}) stacked({{.*}}, %[[R]], %[[C]]) shared({{.*}}, %[[KC]], %[[VC]])
// SHARED-LABEL: func.func private @layer_routed.decode(
// SHARED:       nag.cached_attention %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} route(%{{.*}}, %{{.*}}) rows(%{{.*}}) {heads = 4 : i64, kv_heads = 4 : i64}

// Half of three layers' 16 rows.
// BUDGET-LABEL: func.func @decode(
// BUDGET-SAME:  tensor<2x24x128xf32> {nag.name = "cache:keys"}
func.func private @layer(%x: tensor<4x6x4xf32>, %w: tensor<4x4xf32>, %cos: tensor<6x2xf32>, %sin: tensor<6x2xf32>)
    -> (tensor<4x6x4xf32>, tensor<4x6x4xf32>) {
  %v = nag.linear %x, %w : (tensor<4x6x4xf32>, tensor<4x4xf32>) -> tensor<4x6x4xf32>
  %k = nag.rotary %v, %cos, %sin {heads = 1} : (tensor<4x6x4xf32>, tensor<6x2xf32>, tensor<6x2xf32>) -> tensor<4x6x4xf32>
  %o, %lse = nag.attention %k, %k, %v {heads = 1, kv_heads = 1}
      : (tensor<4x6x4xf32>, tensor<4x6x4xf32>, tensor<4x6x4xf32>) -> (tensor<4x6x4xf32>, tensor<4x1x6xf32>)
  %unused = nag.gelu %o : (tensor<4x6x4xf32>) -> tensor<4x6x4xf32>
  return %o, %unused : tensor<4x6x4xf32>, tensor<4x6x4xf32>
}
func.func @logits(%tokens: tensor<4x6xi32> {nag.name = "tokens"}, %e: tensor<8x4xf32> {nag.name = "e"}, %w: tensor<5x4x4xf32> {nag.name = "w"})
    -> (tensor<4x6x8xf32> {nag.name = "logits"}) {
  %x = nag.embedding %tokens, %e : (tensor<4x6xi32>, tensor<8x4xf32>) -> tensor<4x6x4xf32>
  %cos, %sin = nag.rotary_table {base = 1.0e5} : tensor<6x2xf32>, tensor<6x2xf32>
  %y, %all = nag.repeat @layer 5 carry(%x) stacked(%w) shared(%cos, %sin)
      : (tensor<4x6x4xf32>), (tensor<5x4x4xf32>), (tensor<6x2xf32>, tensor<6x2xf32>) -> (tensor<4x6x4xf32>), (tensor<5x4x6x4xf32>)
  %z = nag.linear %y, %e : (tensor<4x6x4xf32>, tensor<8x4xf32>) -> tensor<4x6x8xf32>
  return %z : tensor<4x6x8xf32>
}
