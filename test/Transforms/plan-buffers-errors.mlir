// RUN: nag-opt %s --split-input-file --verify-diagnostics --nag-plan-buffers
// RUN: not nag-opt %s --nag-plan-buffers=skew=-8 2>&1 | FileCheck %s --check-prefix=SKEW
// SKEW: error: expected 'skew' to be 0 bytes or more, but got -8

func.func @unformed(%x: tensor<8x16xf32>, %w: tensor<4x16xf32>) -> tensor<8x4xf32> {
  // expected-error @+1 {{expected only launches, calls, contiguous views and constants on tensors outside of kernels}}
  %y = nag.linear %x, %w : (tensor<8x16xf32>, tensor<4x16xf32>) -> tensor<8x4xf32>
  return %y : tensor<8x4xf32>
}

// -----

// expected-error @+1 {{expected no recursion, but it calls itself}}
func.func private @f(%x: tensor<8xf32>) -> tensor<8xf32> {
  %y = func.call @f(%x) : (tensor<8xf32>) -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

// expected-error @+1 {{expected a tensor of static shape, with elements, as argument 0, but got 'f32'}}
func.func @scalar(%x: f32) {
  return
}

// -----

// expected-error @+1 {{expected a tensor of static shape, with elements, as argument 1, but got 'tensor<4x0xf32>'}}
func.func @empty(%x: tensor<4xf32>, %w: tensor<4x0xf32>) {
  return
}

// -----

// expected-error @+1 {{expected result 'p' of its argument's type 'tensor<8xf32>', but got 'tensor<4xf32>'}}
func.func @renamed(%p: tensor<8xf32> {nag.name = "p"}, %q: tensor<4xf32>) -> (tensor<4xf32> {nag.name = "p"}) {
  return %q : tensor<4xf32>
}

// -----

// expected-error @+1 {{expected one argument of the name 'p', but got two}}
func.func @twice(%p: tensor<8xf32> {nag.name = "p"}, %q: tensor<8xf32> {nag.name = "p"}) {
  return
}

// -----

// expected-error @+1 {{expected one block, but got 0}}
func.func private @outside(tensor<8xf32>) -> tensor<8xf32>
