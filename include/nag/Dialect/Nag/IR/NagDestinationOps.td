// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ops that write their results into operands: what attention becomes on the way to the CPU, on tensors and then on buffers.
#ifndef NAG_DESTINATION_OPS_TD
#define NAG_DESTINATION_OPS_TD

include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "nag/Dialect/Nag/IR/NagBase.td"

def Nag_Buffer : AnyTypeOf<[StaticShapeTensorOf<[F32, F64]>, StaticShapeMemRefOf<[F32, F64]>]>;

def Nag_IndexBuffer : AnyTypeOf<[StaticShapeTensorOf<[I32]>, StaticShapeMemRefOf<[I32]>]>;
def Nag_AnyBuffer : AnyTypeOf<[StaticShapeTensorOf<[F32, F64, I32]>, StaticShapeMemRefOf<[F32, F64, I32]>]>;

// An op whose last `numOutputs` operands are overwritten as a whole; on tensors it returns them.
class Nag_DestinationOp<string mnemonic, int numOutputs, list<Trait> traits = []> : Nag_Op<mnemonic, !listconcat(traits,
    [DestinationStyleOpInterface, DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
     DeclareOpInterfaceMethods<BufferizableOpInterface,
         ["bufferizesToMemoryRead", "bufferizesToMemoryWrite", "getAliasingValues", "bufferize"]>])> {
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    mlir::MutableOperandRange getDpsInitsMutable() {
      return mlir::MutableOperandRange(*this, (*this)->getNumOperands() - }] # numOutputs # [{, }] # numOutputs # [{);
    }
  }];
}

class Nag_AttentionDestinationOp<string mnemonic, int numOutputs, list<Trait> traits = []> : Nag_DestinationOp<mnemonic, numOutputs,
    traits> {
  let extraClassDeclaration = [{
    mlir::MutableOperandRange getDpsInitsMutable() {
      return mlir::MutableOperandRange(*this, (*this)->getNumOperands() - }] # numOutputs # [{, }] # numOutputs # [{);
    }
    /// The length of one head's vectors.
    int64_t getHeadDim() {
      return llvm::cast<mlir::ShapedType>(getQuery().getType()).getShape().back() / getHeads();
    }
  }];
}

def Nag_StreamAttentionOp : Nag_AttentionDestinationOp<"stream_attention", 2> {
  let summary = "nag.attention in destination-passing form";
  let description = [{
    Writes the result and the log-sum-exp of nag.attention into the operands behind `into`. On buffers, `-convert-nag-to-vector` turns it into loops over
    tiles of queries and keys (Dao et al., 2022).

    Constraints: (C1) shapes as in nag.attention; (C2) tensors with one result per output, or buffers without results.

    ```mlir
    %0:2 = nag.stream_attention %q, %k, %v into %o, %lse {heads = 4, kv_heads = 2}
        : (tensor<2x8x64xf32>, tensor<2x8x32xf32>, tensor<2x8x32xf32>, tensor<2x8x64xf32>, tensor<2x4x8xf32>)
        -> (tensor<2x8x64xf32>, tensor<2x4x8xf32>)
    ```
  }];
  let arguments = (ins Nag_Buffer:$query, Nag_Buffer:$key, Nag_Buffer:$value, Variadic<Nag_IndexBuffer>:$route,
      Nag_Buffer:$output, Nag_Buffer:$lse, I64Attr:$heads, I64Attr:$kv_heads, OptionalAttr<I64Attr>:$window);
  let results = (outs Variadic<Nag_Tensor>:$results);
  let assemblyFormat = [{
    $query `,` $key `,` $value (`route` `(` $route^ `)`)? `into` $output `,` $lse attr-dict `:` functional-type(operands, results)}];
}

def Nag_StreamAttentionVJPOp : Nag_AttentionDestinationOp<"stream_attention_vjp", 3> {
  let summary = "nag.attention_vjp in destination-passing form";
  let description = [{
    Writes the results of nag.attention_vjp into the operands behind `into`.

    Constraints: (C1) shapes as in nag.attention_vjp; (C2) tensors with one result per output, or buffers without results.

    ```mlir
    nag.stream_attention_vjp %q, %k, %v, %o, %lse, %do into %dq, %dk, %dv {heads = 4, kv_heads = 2}
        : (memref<2x8x64xf32>, memref<2x8x32xf32>, memref<2x8x32xf32>, memref<2x8x64xf32>, memref<2x4x8xf32>,
           memref<2x8x64xf32>, memref<2x8x64xf32>, memref<2x8x32xf32>, memref<2x8x32xf32>) -> ()
    ```
  }];
  let arguments = (ins Nag_Buffer:$query, Nag_Buffer:$key, Nag_Buffer:$value, Nag_Buffer:$output, Nag_Buffer:$lse,
      Nag_Buffer:$output_grad, Variadic<Nag_IndexBuffer>:$route, Nag_Buffer:$query_grad, Nag_Buffer:$key_grad,
      Nag_Buffer:$value_grad, I64Attr:$heads, I64Attr:$kv_heads, OptionalAttr<I64Attr>:$window);
  let results = (outs Variadic<Nag_Tensor>:$results);
  let assemblyFormat = [{
    $query `,` $key `,` $value `,` $output `,` $lse `,` $output_grad (`route` `(` $route^ `)`)? `into` $query_grad `,` $key_grad `,` $value_grad
    attr-dict `:` functional-type(operands, results)}];
}

def Nag_RuntimeCallOp : Nag_Op<"runtime_call", [DestinationStyleOpInterface, AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
    DeclareOpInterfaceMethods<BufferizableOpInterface,
        ["bufferizesToMemoryRead", "bufferizesToMemoryWrite", "getAliasingValues", "bufferize"]>]> {
  let summary = "calls an entry point of the runtime that fills buffers";
  let description = [{
    `callee` names a C function of nag/Runtime/Kernels.h. It takes `sizes` as 64-bit integers, then the bare pointers of the inputs and of
    the outputs, which it overwrites as a whole. `-convert-nag-runtime-calls` makes the call.

    Constraints: (C1) tensors with one result per output, or buffers without results.

    ```mlir
    %0 = nag.runtime_call @nag_quantile_f32 [4, 1024] (%g, %rate) into (%out)
        : (tensor<4x2x512xf32>, tensor<f32>, tensor<4xf32>) -> tensor<4xf32>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$callee, DenseI64ArrayAttr:$sizes, Variadic<Nag_AnyBuffer>:$inputs,
      Variadic<Nag_AnyBuffer>:$outputs);
  let results = (outs Variadic<Nag_AnyTensor>:$results);
  let assemblyFormat = [{
    $callee $sizes `(` $inputs `)` `into` `(` $outputs `)` attr-dict `:` functional-type(operands, results)}];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    mlir::MutableOperandRange getDpsInitsMutable() { return getOutputsMutable(); }
  }];
}

#endif // NAG_DESTINATION_OPS_TD
