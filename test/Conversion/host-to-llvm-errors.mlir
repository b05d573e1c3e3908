// RUN: nag-opt %s --split-input-file --verify-diagnostics --convert-nag-host-to-llvm

// expected-error @+1 {{expected a memory plan (run -nag-plan-buffers)}}
func.func @unplanned(%x: tensor<8x16xf32>) {
  return
}

// -----

func.func @unlowered(%x: tensor<8x16xf32>) attributes {nag.workspace_bytes = 512} {
  // expected-error @+1 {{expected a kernel lowered to an llvm.func, but @kernels::@f is none}}
  %a = nag.launch @kernels::@f(%x) {nag.slots = [#nag.slot<workspace at 0>]} : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return
}
module @kernels attributes {nag.kernels} {
  func.func private @f(tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
}

// -----

func.func @descriptors(%x: tensor<8x16xf32>) attributes {nag.workspace_bytes = 512} {
  // expected-error @+1 {{expected a kernel that takes 2 pointers, but got 1 arguments}}
  %a = nag.launch @kernels::@f(%x) {nag.slots = [#nag.slot<workspace at 0>]} : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return
}
module @kernels attributes {nag.kernels} {
  llvm.func @f(!llvm.ptr)
}
