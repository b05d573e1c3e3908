module {
  func.func @loss(%x: tensor<4x8xf32>, %w: tensor<2x9xf32>) -> tensor<f32> {
    // The weight does not fit the input.
    %y = nag.linear %x, %w : (tensor<4x8xf32>, tensor<2x9xf32>) -> tensor<4x2xf32>
    %l = nag.squared_norm %y : (tensor<4x2xf32>) -> tensor<f32>
    return %l : tensor<f32>
  }
}
