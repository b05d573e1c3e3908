// RUN: nag-opt %s --nag-build-optimizer --split-input-file --verify-diagnostics

// expected-error @+1 {{expected a function @loss with a body, but got none}}
module {
}

// -----

module {
  // expected-error @+1 {{expected a nag.param argument of @loss, but got none}}
  func.func @loss(%x: tensor<f32>) -> tensor<f32> {
    return %x : tensor<f32>
  }
}

// -----

module {
  // expected-error @+1 {{expected the group 'matrix' of parameter 'w' in nag.groups, but got no groups}}
  func.func @loss(%w: tensor<4xf32> {nag.param = #nag.param<"w", init = <zeros>, group = "matrix">}) -> tensor<4xf32> {
    return %w : tensor<4xf32>
  }
}

// -----

module attributes {nag.groups = {
    gate = #nag.group<lr_scale = 1.0, weight_decay = 0.0, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-8>,
    other = #nag.group<lr_scale = 1.0, weight_decay = 0.0, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-8>}} {
  // expected-error @+1 {{expected the group 'matrix' of parameter 'w' in nag.groups, but got 'gate', 'other'}}
  func.func @loss(%w: tensor<4xf32> {nag.param = #nag.param<"w", init = <zeros>, group = "matrix">}) -> tensor<4xf32> {
    return %w : tensor<4xf32>
  }
}

// -----

module attributes {nag.groups = {
    all = #nag.group<lr_scale = 1.0, weight_decay = 0.0, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-8>}} {
  // expected-error @+1 {{expected one parameter named 'w', but got two}}
  func.func @loss(%v: tensor<4xf32> {nag.param = #nag.param<"w", init = <zeros>, group = "all">},
      %w: tensor<4xf32> {nag.param = #nag.param<"w", init = <zeros>, group = "all">}) -> tensor<4xf32> {
    return %w : tensor<4xf32>
  }
}

// -----

module attributes {nag.groups = {
    all = #nag.group<lr_scale = 1.0, weight_decay = 0.0, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-8>}} {
  // expected-error @+1 {{expected parameters that compute in 'f32', but got 'tensor<4xf64>' as 'w'}}
  func.func @loss(%v: tensor<4xbf16> {nag.param = #nag.param<"v", init = <zeros>, group = "all">},
      %w: tensor<4xf64> {nag.param = #nag.param<"w", init = <zeros>, group = "all">}) -> tensor<4xf64> {
    return %w : tensor<4xf64>
  }
}

// -----

module attributes {nag.groups = {
    all = #nag.group<lr_scale = 1.0, weight_decay = 0.0, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-8>}} {
  // expected-error @+1 {{expected rows in the constrained parameter 'h.{layer}.w', but got 'tensor<4xf32>'}}
  func.func @loss(%w: tensor<4xf32> {nag.param = #nag.param<"h.{layer}.w", init = <zeros>, group = "all",
      constraint = zero_mean>}) -> tensor<4xf32> {
    return %w : tensor<4xf32>
  }
}

// -----

module attributes {nag.groups = {
    all = #nag.group<lr_scale = 1.0, weight_decay = 0.0, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-8>}} {
  func.func @loss(%w: tensor<4xf32> {nag.param = #nag.param<"w", init = <zeros>, group = "all">}) -> tensor<4xf32> {
    return %w : tensor<4xf32>
  }
  // expected-error @+1 {{expected no symbol @apply, which this pass adds, but got one}}
  func.func @apply() {
    return
  }
}

// -----

module attributes {nag.groups = {
    all = #nag.group<lr_scale = 1.0, weight_decay = 0.0, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-8>}} {
  func.func @loss(%w: tensor<4xf32> {nag.param = #nag.param<"w", init = <zeros>, group = "all">}) -> tensor<f32> {
    %l = nag.squared_norm %w : (tensor<4xf32>) -> tensor<f32>
    return %l : tensor<f32>
  }
  // expected-error @+1 {{expected @gradients of type '(tensor<4xf32>) -> (tensor<f32>, tensor<4xf32>)', but got '(tensor<4xf32>) -> tensor<4xf32>'}}
  func.func @gradients(%w: tensor<4xf32>) -> tensor<4xf32> {
    return %w : tensor<4xf32>
  }
}
