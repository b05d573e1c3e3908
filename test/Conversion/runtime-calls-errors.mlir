// RUN: nag-opt %s --convert-nag-runtime-calls --split-input-file --verify-diagnostics

func.func @on_tensors(%g: tensor<4x8xf32>, %rate: tensor<f32>, %out: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{expected buffers, but got tensors; bufferize it first}}
  %0 = nag.runtime_call @nag_quantile_f32 [4, 8] (%g, %rate) into (%out)
      : (tensor<4x8xf32>, tensor<f32>, tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

// expected-error @+1 {{expected 'nag_quantile_f32' to be a function of type}}
func.func private @nag_quantile_f32(f32)

func.func @other_type(%g: memref<4x8xf32>, %rate: memref<f32>, %out: memref<4xf32>) {
  nag.runtime_call @nag_quantile_f32 [4, 8] (%g, %rate) into (%out) : (memref<4x8xf32>, memref<f32>, memref<4xf32>) -> ()
  return
}
