// RUN: nag-opt %s -split-input-file -verify-diagnostics

func.func @repeat_c1(%x: tensor<8xf32>) {
  // expected-error @+1 {{(C1) expected the name of a function, but got @layer}}
  %y = nag.repeat @layer 2 carry(%x) stacked() shared() : (tensor<8xf32>), (), () -> (tensor<8xf32>), ()
  return
}

// -----

func.func private @layer(tensor<8xf32>, tensor<8x8xf32>) -> tensor<8xf32>
func.func @repeat_c2(%x: tensor<8xf32>, %w: tensor<2x8x4xf32>) {
  // expected-error @+1 {{(C2) expected 'tensor<8x4xf32>' as number 1 of the callee's arguments, but got 'tensor<8x8xf32>'}}
  %y = nag.repeat @layer 2 carry(%x) stacked(%w) shared() : (tensor<8xf32>), (tensor<2x8x4xf32>), () -> (tensor<8xf32>), ()
  return
}

// -----

func.func private @layer(tensor<8xf32>) -> tensor<8xf32>
func.func @repeat_c3(%x: tensor<8xf32>) {
  // expected-error @+1 {{(C3) expected a callee with 2 results, but got 1}}
  %y, %z = nag.repeat @layer 2 carry(%x) stacked() shared() : (tensor<8xf32>), (), () -> (tensor<8xf32>), (tensor<2x8xf32>)
  return
}

// -----

func.func private @layer(tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
func.func @repeat_c4(%x: tensor<8xf32>, %w: tensor<2x8xf32>) {
  // expected-error @+1 {{(C4) expected a stacked operand with at least 3 slices, but got 'tensor<2x8xf32>'}}
  %y = nag.repeat @layer 2 carry(%x) stacked(%w) shared() {first = 1} : (tensor<8xf32>), (tensor<2x8xf32>), () -> (tensor<8xf32>), ()
  return
}

// -----

func.func private @layer(tensor<8xf32>) -> tensor<8xf32>
func.func @repeat_c5(%x: tensor<8xf32>) {
  // expected-error @+1 {{(C5) expected a positive count and 'first' of 0 or more, but got 0 and 0}}
  %y = nag.repeat @layer 0 carry(%x) stacked() shared() : (tensor<8xf32>), (), () -> (tensor<8xf32>), ()
  return
}

// -----

func.func @kernel_c1(%x: tensor<8xf32>) {
  // expected-error @+1 {{(C1) expected body arguments of the operands' types, but got a different list}}
  %y = nag.kernel "k"(%x) : (tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%a: tensor<4xf32>):
    %b = tensor.empty() : tensor<8xf32>
    nag.yield %b : tensor<8xf32>
  }
  return
}

// -----

func.func @kernel_c2(%x: tensor<8xf32>) {
  // expected-error @+1 {{(C2) expected to yield values of the results' types, but got a different list}}
  %y = nag.kernel "k"(%x) : (tensor<8xf32>) -> tensor<4xf32> {
  ^bb0(%a: tensor<8xf32>):
    nag.yield %a : tensor<8xf32>
  }
  return
}

// -----

func.func @launch_c1(%x: tensor<8xf32>) {
  // expected-error @+1 {{(C1) expected the name of a function, but got @kernels::@k}}
  %y = nag.launch @kernels::@k(%x) : (tensor<8xf32>) -> tensor<8xf32>
  return
}

// -----

module @kernels {
  func.func private @k(tensor<8xf32>, tensor<4xf32>) -> tensor<4xf32>
}
func.func @launch_c2(%x: tensor<8xf32>) {
  // expected-error @+1 {{(C2) expected 'tensor<8xf32>' as number 1 of the callee's arguments, but got 'tensor<4xf32>'}}
  %y = nag.launch @kernels::@k(%x) : (tensor<8xf32>) -> tensor<8xf32>
  return
}
