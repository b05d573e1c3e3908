// RUN: nag-opt %s --convert-forall-to-openmp --verify-diagnostics

func.func @tensors(%x: tensor<8xf32>, %zero: f32) -> tensor<8xf32> {
  // expected-error @+1 {{expected buffers, but got tensors; bufferize it first}}
  %y = scf.forall (%i) in (8) shared_outs(%o = %x) -> (tensor<8xf32>) {
    %s = tensor.from_elements %zero : tensor<1xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %s into %o[%i] [1] [1] : tensor<1xf32> into tensor<8xf32>
    }
  }
  return %y : tensor<8xf32>
}
