// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef NAG_DIALECT_TD
#define NAG_DIALECT_TD

include "mlir/IR/OpBase.td"

def Nag_Dialect : Dialect {
  let name = "nag";
  let cppNamespace = "::nag";
  let summary = "Norm-agnostic residual transformers";
  let description = [{
    Ops for training transformers whose residual stream keeps direction and log-norm apart (NAG, arXiv:2606.16112), and for
    the ordinary pre-norm transformer they are compared with. Values are immutable tensors; a residual stream is one value
    of type `!nag.stream`. Generic elementwise work is written with linalg, arith and math.

    Shapes in this reference: B sequences of T tokens, width D, N = B*T rows, C gate directions, H heads, V vocabulary.
    Element types are f32, bf16 or f64; reductions over a row are carried out in f32 for bf16. "Section" and "equation"
    refer to the paper as restated in docs/mathematics.md.
  }];
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let hasRegionArgAttrVerify = 1;
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
    "::mlir::tensor::TensorDialect", "::mlir::scf::SCFDialect"
  ];
}

#endif // NAG_DIALECT_TD
