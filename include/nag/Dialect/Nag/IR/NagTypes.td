// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef NAG_TYPES_TD
#define NAG_TYPES_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinTypeInterfaces.td"
include "nag/Dialect/Nag/IR/NagDialect.td"

def Nag_StreamType : TypeDef<Nag_Dialect, "Stream"> {
  let mnemonic = "stream";
  let summary = "a residual stream: direction and log-norm lane (eq. 3-5)";
  let description = [{
    `!nag.stream<BxTxDxT>` stands for the residual vectors exp(s) * r: a direction `r`, `tensor<BxTxDxT>` with rms 1, and a
    log-norm `s`, `tensor<BxTxf32>` (f64 when the element type is f64). Lowering splits it into these two tensors.
    The rank is at least 2, every dimension is static and positive.

    ```mlir
    !nag.stream<16x128x256xf32>
    ```
  }];
  let parameters = (ins ArrayRefParameter<"int64_t">:$shape, "::mlir::Type":$elementType);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// tensor<BxTxDxT>, the direction.
    ::mlir::RankedTensorType getDirectionType() const;
    /// tensor<BxTxf32>, the log-norm lane (f64 for an f64 stream).
    ::mlir::RankedTensorType getLogNormType() const;
    /// D, the length of a row.
    int64_t getWidth() const { return getShape().back(); }
    /// B*T, the number of rows.
    int64_t getNumRows() const;
  }];
}

#endif // NAG_TYPES_TD
