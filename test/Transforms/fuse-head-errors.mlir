// RUN: not nag-opt %s --nag-fuse-head=chunks=4 2>&1 | FileCheck %s --check-prefix=OPTION
// RUN: nag-opt %s --nag-fuse-head --verify-diagnostics | FileCheck %s

// OPTION: no such option chunks

// What is not a head and its loss stays: a product with the weight transposed, one token or none, a log-sum-exp that is read, products that others read.
// CHECK-NOT: nag.head_loss
func.func @transposed(%x: tensor<4x16xf32>, %w: tensor<16x32xf32>, %t: tensor<4xi32>) -> tensor<4xf32> {
  %0 = nag.linear %x, %w {transpose_weight} : (tensor<4x16xf32>, tensor<16x32xf32>) -> tensor<4x32xf32>
  %losses, %lse = nag.token_loss %0, %t {vocab = 32} : (tensor<4x32xf32>, tensor<4xi32>) -> (tensor<4xf32>, tensor<4xf32>)
  return %losses : tensor<4xf32>
}
func.func @one_token(%x: tensor<16xf32>, %w: tensor<32x16xf32>, %t: tensor<i32>) -> tensor<f32> {
  %0 = nag.linear %x, %w : (tensor<16xf32>, tensor<32x16xf32>) -> tensor<32xf32>
  %losses, %lse = nag.token_loss %0, %t {vocab = 32} : (tensor<32xf32>, tensor<i32>) -> (tensor<f32>, tensor<f32>)
  return %losses : tensor<f32>
}
func.func @no_tokens(%x: tensor<0x16xf32>, %w: tensor<32x16xf32>, %t: tensor<0xi32>) -> tensor<0xf32> {
  %0 = nag.linear %x, %w : (tensor<0x16xf32>, tensor<32x16xf32>) -> tensor<0x32xf32>
  %losses, %lse = nag.token_loss %0, %t {vocab = 32} : (tensor<0x32xf32>, tensor<0xi32>) -> (tensor<0xf32>, tensor<0xf32>)
  return %losses : tensor<0xf32>
}
func.func @lse(%x: tensor<4x16xf32>, %w: tensor<32x16xf32>, %t: tensor<4xi32>) -> tensor<4xf32> {
  %0 = nag.linear %x, %w : (tensor<4x16xf32>, tensor<32x16xf32>) -> tensor<4x32xf32>
  %losses, %lse = nag.token_loss %0, %t {vocab = 32} : (tensor<4x32xf32>, tensor<4xi32>) -> (tensor<4xf32>, tensor<4xf32>)
  return %lse : tensor<4xf32>
}
func.func @products(%x: tensor<4x16xf32>, %w: tensor<32x16xf32>, %t: tensor<4xi32>, %s: tensor<4xf32>)
    -> (tensor<4xf32>, tensor<4x32xf32>) {
  %0 = nag.linear %x, %w : (tensor<4x16xf32>, tensor<32x16xf32>) -> tensor<4x32xf32>
  %1 = nag.temper %0, %s {factor = 0.5} : (tensor<4x32xf32>, tensor<4xf32>) -> tensor<4x32xf32>
  %losses, %lse = nag.token_loss %1, %t {vocab = 32} : (tensor<4x32xf32>, tensor<4xi32>) -> (tensor<4xf32>, tensor<4xf32>)
  return %losses, %0 : tensor<4xf32>, tensor<4x32xf32>
}
