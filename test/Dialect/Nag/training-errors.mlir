// RUN: nag-opt %s -split-input-file -verify-diagnostics

func.func @cross_entropy_c1(%z: tensor<2x8x32xf32>, %t: tensor<8xi32>) {
  // expected-error @+1 {{(C1) expected 'targets' of type 'tensor<2x8xi32>', but got 'tensor<8xi32>'}}
  %l = nag.cross_entropy %z, %t {vocab = 30} : (tensor<2x8x32xf32>, tensor<8xi32>) -> tensor<f32>
  return
}

// -----

func.func @cross_entropy_c2(%z: tensor<2x8x32xf32>, %t: tensor<2x8xi32>) {
  // expected-error @+1 {{(C2) expected 'vocab' in [1, 32], but got 33}}
  %l = nag.cross_entropy %z, %t {vocab = 33} : (tensor<2x8x32xf32>, tensor<2x8xi32>) -> tensor<f32>
  return
}

// -----

func.func @masked_mean_c1(%v: tensor<2x8xf32>, %t: tensor<16xi32>) {
  // expected-error @+1 {{(C1) expected 'targets' of type 'tensor<2x8xi32>', but got 'tensor<16xi32>'}}
  %m, %c = nag.masked_mean %v, %t : (tensor<2x8xf32>, tensor<16xi32>) -> (tensor<f32>, tensor<f32>)
  return
}

// -----

func.func @global_norm_c1() {
  // expected-error @+1 {{expected at least one operand}}
  %n = "nag.global_norm"() : () -> tensor<f32>
  return
}

// -----

func.func @adamw_c1(%p: tensor<4xf32>, %g: tensor<5xf32>, %s: tensor<f32>) {
  // expected-error @+1 {{(C1) expected 'gradient' of type 'tensor<4xf32>', but got 'tensor<5xf32>'}}
  %a, %b, %c = nag.adamw %p, %p, %p, %g, %s, %s, %s group <lr_scale = 1.0, weight_decay = 0.0, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-8>
      : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<5xf32>, tensor<f32>, tensor<f32>, tensor<f32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @constrain_c1(%p: tensor<f32>) {
  // expected-error @+1 {{(C1) expected 'input' of rank 1 or more, but got rank 0}}
  %q = nag.constrain %p zero_mean : (tensor<f32>) -> tensor<f32>
  return
}

// -----

// expected-error @+1 {{expected beta1 in [0, 1), but got 1}}
module attributes {nag.groups = {matrix = #nag.group<lr_scale = 1.0, weight_decay = 0.0, beta1 = 1.0, beta2 = 0.95, eps = 1.0e-8>}} {}

// -----

// expected-error @+1 {{expected #nag.group for optimizer group 'matrix', but got 1}}
module attributes {nag.groups = {matrix = 1}} {}

// -----

// expected-error @+1 {{expected a dictionary in 'nag.config', but got 1}}
module attributes {nag.config = 1} {}

// -----

// expected-error @+2 {{failed to parse Nag_ParamAttr parameter 'init'}}
// expected-error @+1 {{expected 1 values of an initialisation 'normal', but got 0}}
func.func private @init(tensor<4xf32> {nag.param = #nag.param<"w", init = <normal>, group = "matrix">})

// -----

// expected-error @+2 {{failed to parse Nag_ParamAttr parameter 'init'}}
// expected-error @+1 {{expected a standard deviation of 0 or more, but got -1}}
func.func private @init_std(tensor<4xf32> {nag.param = #nag.param<"w", init = <normal, -1.0>, group = "matrix">})

// -----

// expected-error @+2 {{failed to parse Nag_ParamAttr parameter 'init'}}
// expected-error @+1 {{expected zeros, constant, normal, uniform or power, but got cauchy}}
func.func private @init_kind(tensor<4xf32> {nag.param = #nag.param<"w", init = <cauchy>, group = "matrix">})

// -----

// expected-error @+1 {{expected parameter 'w' of a float tensor type, but got 'tensor<4xi32>'}}
func.func private @param_type(tensor<4xi32> {nag.param = #nag.param<"w", init = <zeros>, group = "matrix">})

// -----

// expected-error @+1 {{expected a leading layer dimension of parameter 'h.{layer}.w', but got 'tensor<f32>'}}
func.func private @param_stack(tensor<f32> {nag.param = #nag.param<"h.{layer}.w", init = <zeros>, group = "matrix">})

// -----

// expected-error @+1 {{expected a stack for the 'power' initialisation of parameter 'alpha', but got 'tensor<4xf32>'}}
func.func private @param_power(tensor<4xf32> {nag.param = #nag.param<"alpha", init = <power, -0.5, 2.0, 1.0>, group = "gate">})

// -----

func.func @head_loss_c1(%x: tensor<2x16xf32>, %w: tensor<32x16xf32>, %t: tensor<3xi32>) {
  // expected-error@+1 {{(C1) expected 'targets' of type 'tensor<2xi32>', but got 'tensor<3xi32>'}}
  %0 = nag.head_loss %x, %w, %t {vocab = 30} : (tensor<2x16xf32>, tensor<32x16xf32>, tensor<3xi32>) -> tensor<2xf32>
  return
}

// -----

func.func @head_loss_c2(%x: tensor<2x16xf32>, %w: tensor<32x16xf32>, %t: tensor<2xi32>) {
  // expected-error@+1 {{(C2) expected 'vocab' in [1, 32], but got 33}}
  %0 = nag.head_loss %x, %w, %t {vocab = 33} : (tensor<2x16xf32>, tensor<32x16xf32>, tensor<2xi32>) -> tensor<2xf32>
  return
}

// -----

func.func @head_loss_c3(%x: tensor<2x16xf32>, %w: tensor<32x8xf32>, %t: tensor<2xi32>) {
  // expected-error@+1 {{(C3) expected 'weight' of type 'tensor<32x16xf32>', but got 'tensor<32x8xf32>'}}
  %0 = nag.head_loss %x, %w, %t {vocab = 30} : (tensor<2x16xf32>, tensor<32x8xf32>, tensor<2xi32>) -> tensor<2xf32>
  return
}

// -----

func.func @head_loss_c4(%x: tensor<2x16xf32>, %w: tensor<32x16xf32>, %t: tensor<2xi32>, %s: tensor<2xf64>) {
  // expected-error@+1 {{(C4) expected 'log_scale' of type 'tensor<2xf32>', but got 'tensor<2xf64>'}}
  %0 = nag.head_loss %x, %w, %t, %s {vocab = 30}
      : (tensor<2x16xf32>, tensor<32x16xf32>, tensor<2xi32>, tensor<2xf64>) -> tensor<2xf32>
  return
}

// -----

func.func @head_loss_vjp_c5(%x: tensor<2x16xf32>, %w: tensor<32x16xf32>, %t: tensor<2xi32>, %d: tensor<3xf32>) {
  // expected-error@+1 {{(C5) expected 'losses_grad' of type 'tensor<2xf32>', but got 'tensor<3xf32>'}}
  %0:3 = nag.head_loss_vjp %x, %w, %t, %d {vocab = 30}
      : (tensor<2x16xf32>, tensor<32x16xf32>, tensor<2xi32>, tensor<3xf32>)
      -> (tensor<2xf32>, tensor<2x16xf32>, tensor<32x16xf32>)
  return
}

// -----

func.func @head_loss_vjp_c6(%x: tensor<2x16xf32>, %w: tensor<32x16xf32>, %t: tensor<2xi32>, %d: tensor<2xf32>) {
  // expected-error@+1 {{(C6) expected 'input_grad' of type 'tensor<2x16xf32>', but got 'tensor<2x16xbf16>'}}
  %0:3 = nag.head_loss_vjp %x, %w, %t, %d {vocab = 30}
      : (tensor<2x16xf32>, tensor<32x16xf32>, tensor<2xi32>, tensor<2xf32>)
      -> (tensor<2xf32>, tensor<2x16xbf16>, tensor<32x16xf32>)
  return
}

// -----

func.func @head_loss_vjp_c7(%x: tensor<2x16xf32>, %w: tensor<32x16xf32>, %t: tensor<2xi32>, %d: tensor<2xf32>) {
  // expected-error@+1 {{(C7) expected 'weight_grad' of type 'tensor<32x16xf32>', but got 'tensor<32x16xbf16>'}}
  %0:3 = nag.head_loss_vjp %x, %w, %t, %d {vocab = 30}
      : (tensor<2x16xf32>, tensor<32x16xf32>, tensor<2xi32>, tensor<2xf32>)
      -> (tensor<2xf32>, tensor<2x16xf32>, tensor<32x16xbf16>)
  return
}
