// RUN: nag-opt %s --convert-nag-to-gpu --split-input-file --verify-diagnostics

func.func @f64(%x: tensor<8x16xf64>, %out: tensor<8x16xf64>) -> tensor<8x16xf64> attributes {nag.kernel} {
  // expected-error@+1 {{'nag.relu2' op expected f32, bf16 or integers on the GPU, but got 'tensor<8x16xf64>'}}
  %y = nag.relu2 %x : (tensor<8x16xf64>) -> tensor<8x16xf64>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8x16xf64>, tensor<8x16xf64>) -> tensor<8x16xf64>
  return %0 : tensor<8x16xf64>
}

// -----

func.func @constant(%x: tensor<2x2xf32>, %out: tensor<2x2xf32>) -> tensor<2x2xf32> attributes {nag.kernel} {
  %c = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  // expected-error@+1 {{'arith.addf' op expected constants of one value on the GPU}}
  %y = arith.addf %x, %c : tensor<2x2xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  return %0 : tensor<2x2xf32>
}

// -----

func.func @stream(%x: !nag.stream<2x4x8xf32>, %out: tensor<2x4x8xf32>) -> tensor<2x4x8xf32> attributes {nag.kernel} {
  %f = arith.constant dense<1.0> : tensor<2x4x8xf32>
  %g = arith.constant dense<1.0> : tensor<2x4xf32>
  // expected-error@+1 {{'nag.rotate' op expected streams to be split before, by -nag-split-streams}}
  %y = nag.rotate %x, %f, %g : (!nag.stream<2x4x8xf32>, tensor<2x4x8xf32>, tensor<2x4xf32>) -> !nag.stream<2x4x8xf32>
  %d = nag.direction %y : !nag.stream<2x4x8xf32>
  return %d : tensor<2x4x8xf32>
}

// -----

func.func @scores(%g: tensor<2x8xf64>, %i: tensor<12xi32>, %o: tensor<3xi32>) -> (tensor<12xi32>, tensor<3xi32>)
    attributes {nag.kernel} {
  // expected-error@+1 {{'nag.route' op expected f32 on the GPU, but got 'f64'}}
  %0, %1 = nag.route %g {routing = #nag.routing<capacity, rate = 0.25>} : (tensor<2x8xf64>) -> (tensor<12xi32>, tensor<3xi32>)
  %2 = bufferization.materialize_in_destination %0 in %i : (tensor<12xi32>, tensor<12xi32>) -> tensor<12xi32>
  %3 = bufferization.materialize_in_destination %1 in %o : (tensor<3xi32>, tensor<3xi32>) -> tensor<3xi32>
  return %2, %3 : tensor<12xi32>, tensor<3xi32>
}

// -----

func.func @no_columns(%x: tensor<8x0xf32>, %out: tensor<8x0xf32>) -> tensor<8x0xf32> attributes {nag.kernel} {
  // expected-error@+1 {{'nag.rms_norm' op expected tensors with elements, but got 'tensor<8x0xf32>'}}
  %y = nag.rms_norm %x : (tensor<8x0xf32>) -> tensor<8x0xf32>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8x0xf32>, tensor<8x0xf32>) -> tensor<8x0xf32>
  return %0 : tensor<8x0xf32>
}
