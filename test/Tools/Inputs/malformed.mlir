module {
  func.func @loss(%x: tensor<4x8xf32>) -> tensor<f32> {
    %y = nag.squared_norm %x :
    return %y : tensor<f32>
  }
}
