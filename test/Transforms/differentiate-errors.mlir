// RUN: nag-opt %s --nag-differentiate --split-input-file --verify-diagnostics

// expected-error@+1 {{expected a function '@loss' to differentiate, but the module has none}}
module {}

// -----

// expected-error@+1 {{expected an argument of '@loss' with 'nag.param', but got none}}
func.func @loss(%x: tensor<f32>) -> tensor<f32> {
  return %x : tensor<f32>
}

// -----

// expected-error@+1 {{expected a rank-0 float tensor as the first result of '@loss', but got 'tensor<4xf32>'}}
func.func @loss(%x: tensor<4xf32> {nag.param = #nag.param<"x", init = <zeros>, group = "m">}) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}

// -----

func.func @loss(%x: tensor<f32> {nag.param = #nag.param<"x", init = <zeros>, group = "m">}) -> tensor<f32> {
  return %x : tensor<f32>
}
// expected-error@+1 {{expected no '@gradients' before differentiation, but got one}}
func.func private @gradients()

// -----

// An op of this dialect that -nag-decompose splits first.

func.func @loss(%z: tensor<8x16xf32> {nag.param = #nag.param<"z", init = <zeros>, group = "m">}, %t: tensor<8xi32>) -> tensor<f32> {
  // expected-error@+1 {{'nag.cross_entropy' op is on the path of the derivative of '@loss', but has none (DifferentiableOpInterface)}}
  %l = nag.cross_entropy %z, %t {vocab = 16} : (tensor<8x16xf32>, tensor<8xi32>) -> tensor<f32>
  return %l : tensor<f32>
}

// -----

func.func private @f(%x: tensor<f32>) -> tensor<f32> {
  // expected-error@+1 {{'func.call' op calls '@f' recursively, which has no derivative}}
  %y = call @f(%x) : (tensor<f32>) -> tensor<f32>
  return %y : tensor<f32>
}
func.func @loss(%x: tensor<f32> {nag.param = #nag.param<"x", init = <zeros>, group = "m">}) -> tensor<f32> {
  %y = call @f(%x) : (tensor<f32>) -> tensor<f32>
  return %y : tensor<f32>
}

// -----

// expected-error@+1 {{expected one block in the body of '@external' to differentiate it, but got 0}}
func.func private @external(%x: tensor<f32>) -> tensor<f32>
func.func @loss(%x: tensor<f32> {nag.param = #nag.param<"x", init = <zeros>, group = "m">}) -> tensor<f32> {
  %y = call @external(%x) : (tensor<f32>) -> tensor<f32>
  return %y : tensor<f32>
}

// -----

func.func @loss(%z: tensor<8x16xf32> {nag.param = #nag.param<"z", init = <zeros>, group = "m">}, %t: tensor<8xi32>) -> tensor<f32> {
  // expected-error@+1 {{'nag.token_loss' op has no derivative of its result 'lse', but the differentiated results depend on it}}
  %l, %lse = nag.token_loss %z, %t {vocab = 16} : (tensor<8x16xf32>, tensor<8xi32>) -> (tensor<8xf32>, tensor<8xf32>)
  %m, %c = nag.masked_mean %lse, %t : (tensor<8xf32>, tensor<8xi32>) -> (tensor<f32>, tensor<f32>)
  return %m : tensor<f32>
}

// -----

func.func @loss(%x: tensor<8xf32> {nag.param = #nag.param<"x", init = <zeros>, group = "m">}) -> tensor<f32> {
  %zero = arith.constant dense<0.0> : tensor<f32>
  // expected-error@+1 {{'linalg.generic' op expected parallel loops of static size to differentiate, but got others}}
  %y = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> ()>], iterator_types = ["reduction"]}
      ins(%x : tensor<8xf32>) outs(%zero : tensor<f32>) {
  ^bb0(%a: f32, %s: f32):
    %n = arith.addf %a, %s : f32
    linalg.yield %n : f32
  } -> tensor<f32>
  return %y : tensor<f32>
}
