// RUN: nag-opt %s --split-input-file --nag-build-generation="batch=2 prompt=3 capacity=16" --verify-diagnostics
// RUN: nagc model -o %t.mlir
// RUN: not nag-opt %t.mlir --nag-build-generation="prompt=17 capacity=16" 2>&1 | FileCheck %s --check-prefix=PROMPT
// PROMPT: expected 'prompt' in [1, capacity = 16], but got 17
// RUN: not nag-opt %t.mlir --nag-build-generation="capacity=65537" 2>&1 | FileCheck %s --check-prefix=CAPACITY
// CAPACITY: expected 'capacity' in [1, 65536], but got 65537
// RUN: not nag-opt %t.mlir --nag-build-generation="batch=0" 2>&1 | FileCheck %s --check-prefix=BATCH
// BATCH: expected 'batch' of 1 or more, but got 0
// RUN: not nag-opt %t.mlir --nag-build-generation="budget=1.5" 2>&1 | FileCheck %s --check-prefix=BUDGET
// BUDGET: expected 'budget' in [0, 1], but got 1.5
// RUN: not nag-opt %t.mlir --nag-build-generation="budget=0.5" 2>&1 | FileCheck %s --check-prefix=RINGS
// RINGS: expected 'budget' only where keys are those of executed tokens (kv = routed), but got 0.5

// expected-error @+1 {{expected a function @logits, but got none}}
module {}

// -----

// expected-error @+1 {{expected a nag.repeat of layers, but got none}}
func.func @logits(%tokens: tensor<4x6xi32> {nag.name = "tokens"}, %e: tensor<8x4xf32>) -> tensor<4x6x4xf32> {
  %x = nag.embedding %tokens, %e : (tensor<4x6xi32>, tensor<8x4xf32>) -> tensor<4x6x4xf32>
  return %x : tensor<4x6x4xf32>
}

// -----

// expected-error @+1 {{expected one nag.attention per layer, but got 0}}
func.func private @layer(%x: tensor<4x6x4xf32>, %w: tensor<4x4xf32>) -> tensor<4x6x4xf32> {
  %v = nag.linear %x, %w : (tensor<4x6x4xf32>, tensor<4x4xf32>) -> tensor<4x6x4xf32>
  return %v : tensor<4x6x4xf32>
}
func.func @logits(%tokens: tensor<4x6xi32> {nag.name = "tokens"}, %e: tensor<8x4xf32>, %w: tensor<5x4x4xf32>) -> tensor<4x6x4xf32> {
  %x = nag.embedding %tokens, %e : (tensor<4x6xi32>, tensor<8x4xf32>) -> tensor<4x6x4xf32>
  %y = nag.repeat @layer 5 carry(%x) stacked(%w) shared() : (tensor<4x6x4xf32>), (tensor<5x4x4xf32>), () -> (tensor<4x6x4xf32>), ()
  return %y : tensor<4x6x4xf32>
}

// -----

func.func private @layer(%x: tensor<4x6x4xf32>, %w: tensor<4x4xf32>) -> tensor<4x6x4xf32> {
  %o, %lse = nag.attention %x, %x, %x {heads = 1, kv_heads = 1}
      : (tensor<4x6x4xf32>, tensor<4x6x4xf32>, tensor<4x6x4xf32>) -> (tensor<4x6x4xf32>, tensor<4x1x6xf32>)
  // expected-error @+1 {{has no counterpart in @prefill: expected a result type that follows from the operands}}
  %flat = tensor.collapse_shape %o [[0, 1], [2]] : tensor<4x6x4xf32> into tensor<24x4xf32>
  %y = tensor.expand_shape %flat [[0, 1], [2]] output_shape [4, 6, 4] : tensor<24x4xf32> into tensor<4x6x4xf32>
  return %y : tensor<4x6x4xf32>
}
func.func @logits(%tokens: tensor<4x6xi32> {nag.name = "tokens"}, %e: tensor<8x4xf32>, %w: tensor<5x4x4xf32>) -> tensor<4x6x4xf32> {
  %x = nag.embedding %tokens, %e : (tensor<4x6xi32>, tensor<8x4xf32>) -> tensor<4x6x4xf32>
  %y = nag.repeat @layer 5 carry(%x) stacked(%w) shared() : (tensor<4x6x4xf32>), (tensor<5x4x4xf32>), () -> (tensor<4x6x4xf32>), ()
  return %y : tensor<4x6x4xf32>
}
