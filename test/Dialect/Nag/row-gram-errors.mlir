// RUN: nag-opt %s --split-input-file --verify-diagnostics

func.func @gram_c1(%a: tensor<2x8xf32>, %b: tensor<2x4xf32>) {
  // expected-error@+1 {{(C1) expected row 1 of type 'tensor<2x8xf32>', but got 'tensor<2x4xf32>'}}
  %0 = nag.row_gram %a, %b [(0, 1)] : (tensor<2x8xf32>, tensor<2x4xf32>) -> tensor<2xf32>
  return
}

// -----

func.func @gram_c1_rank(%a: tensor<8xf32>) {
  // expected-error@+1 {{(C1) expected rows of rank 2 or more, but got rank 1}}
  %0 = nag.row_gram %a [(0, 0)] : (tensor<8xf32>) -> tensor<f32>
  return
}

// -----

func.func @gram_c2(%a: tensor<2x8xf32>) {
  // expected-error@+1 {{(C2) expected pairs of rows below 1, but got (0, 1)}}
  %0 = nag.row_gram %a [(0, 1)] : (tensor<2x8xf32>) -> tensor<2xf32>
  return
}

// -----

func.func @gram_c3_count(%a: tensor<2x8xf32>) {
  // expected-error@+1 {{(C3) expected 2 results, but got 1}}
  %0 = nag.row_gram %a [(0, 0), (0)] : (tensor<2x8xf32>) -> tensor<2xf32>
  return
}

// -----

func.func @gram_c3(%a: tensor<2x8xbf16>) {
  // expected-error@+1 {{(C3) expected sums of type 'tensor<2xf32>', but got 'tensor<2xbf16>'}}
  %0 = nag.row_gram %a [(0, 0)] : (tensor<2x8xbf16>) -> tensor<2xbf16>
  return
}

// -----

func.func @combine_c1(%a: tensor<2x8xf32>, %s: tensor<2xf32>) {
  // expected-error@+1 {{(C1) expected one coefficient for each of one or more rows, but got 1 rows and 2 coefficients}}
  %0 = nag.row_combine %a by %s, %s : (tensor<2x8xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<2x8xf32>
  return
}

// -----

func.func @combine_c2(%a: tensor<2x8xf32>, %s: tensor<2xf32>) {
  // expected-error@+1 {{(C2) expected row 1 of type 'tensor<2x8xf32>', but got 'tensor<2x4xf32>'}}
  %0 = nag.row_combine %a by %s : (tensor<2x8xf32>, tensor<2xf32>) -> tensor<2x4xf32>
  return
}

// -----

func.func @combine_c3(%a: tensor<2x8xf32>, %s: tensor<8xf32>) {
  // expected-error@+1 {{(C3) expected coefficients of type 'tensor<2xf32>', but got 'tensor<8xf32>'}}
  %0 = nag.row_combine %a by %s : (tensor<2x8xf32>, tensor<8xf32>) -> tensor<2x8xf32>
  return
}

// -----

func.func @scalars_c1(%s: tensor<2xf32>) {
  // expected-error@+1 {{(C1) expected body arguments of the operands' element types, but got a different list}}
  %0 = nag.row_scalars %s : (tensor<2xf32>) -> tensor<2xf32> {
  ^bb0(%x: f64):
    %y = arith.truncf %x : f64 to f32
    nag.yield %y : f32
  }
  return
}

// -----

func.func @scalars_c2(%s: tensor<2xf32>) {
  // expected-error@+1 {{(C2) expected to yield the results' element types, but got a different list}}
  %0 = nag.row_scalars %s : (tensor<2xf32>) -> tensor<2xf32> {
  ^bb0(%x: f32):
    nag.yield
  }
  return
}

// -----

func.func @scalars_c3(%s: tensor<2xf32>) {
  // expected-error@+1 {{(C3) expected lanes of type 'tensor<2xf32>', but got 'tensor<3xf32>'}}
  %0 = nag.row_scalars %s : (tensor<2xf32>) -> tensor<3xf32> {
  ^bb0(%x: f32):
    nag.yield %x : f32
  }
  return
}
