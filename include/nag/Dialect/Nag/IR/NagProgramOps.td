// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How a program is put together: repeated layers, kernels and their launches.
#ifndef NAG_PROGRAM_OPS_TD
#define NAG_PROGRAM_OPS_TD

include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "nag/Dialect/Nag/IR/NagBase.td"

def Nag_RepeatOp : Nag_Op<"repeat", [AttrSizedOperandSegments, AttrSizedResultSegments,
    DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "calls one layer function several times, layer by layer";
  let description = [{
    Iteration i calls `callee(carry..., stacked[i]..., shared...)`. A stacked operand holds one slice per iteration along its first
    dimension (the layers' parameters). The callee returns the next `carry` values and then one slice for each stacked
    result. With `reverse`, i runs from `count`-1 down to 0: the backward pass. 64 identical layers are one function and one op:
    they differentiate and compile in the time of one layer.

    `first` lets several repeats share one stack: iteration i takes slice `first`+i of the stacked operands, which then may hold more than
    `count` slices. Stacked results hold exactly `count`.

    Constraints: (C1) `callee` names a function; (C2) its arguments are the carry, one slice per stacked operand, the shared
    operands; (C3) its results are the carry and one slice per stacked result; (C4) stacked operands have at least `first` + `count`
    slices, stacked results `count`; (C5) `count` is positive and `first` not negative.

    ```mlir
    %y, %g = nag.repeat @layer 12 carry(%x) stacked(%w, %b) shared(%scale)
        : (!nag.stream<2x8x16xf32>), (tensor<12x16x16xf32>, tensor<12x16xf32>), (tensor<f32>)
        -> (!nag.stream<2x8x16xf32>), (tensor<12x2x8xf32>)
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$callee, I64Attr:$count, Variadic<Nag_StreamOrTensor>:$carry,
      Variadic<Nag_AnyTensor>:$stacked, Variadic<Nag_StreamOrTensor>:$shared,
      DefaultValuedAttr<I64Attr, "0">:$first, UnitAttr:$reverse);
  let results = (outs Variadic<Nag_StreamOrTensor>:$carry_results, Variadic<Nag_AnyTensor>:$stacked_results);
  let assemblyFormat = [{$callee $count `carry` `(` $carry `)` `stacked` `(` $stacked `)` `shared` `(` $shared `)` attr-dict `:`
    custom<TypeGroup>(type($carry)) `,` custom<TypeGroup>(type($stacked)) `,` custom<TypeGroup>(type($shared)) `->`
    custom<TypeGroup>(type($carry_results)) `,` custom<TypeGroup>(type($stacked_results))}];
}

def Nag_KernelOp : Nag_Op<"kernel", [IsolatedFromAbove, RecursiveMemoryEffects,
    SingleBlockImplicitTerminator<"::nag::YieldOp">]> {
  let summary = "ops that run as one kernel";
  let description = [{
    The unit of code generation: `-nag-fuse` forms it, an emitter turns it into one function of the CPU or one entry of a PTX
    module. The body's arguments stand for the operands; it yields the results.

    Constraints: (C1) the body has one argument per operand, of the same type; (C2) it yields values of the results' types.

    ```mlir
    %y = nag.kernel "residual"(%x, %f) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32> {
    ^bb0(%a: tensor<2x8xf32>, %b: tensor<2x8xf32>):
      %c = nag.residual_add %a, %b : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
      nag.yield %c : tensor<2x8xf32>
    }
    ```
  }];
  let arguments = (ins StrAttr:$name, Variadic<Nag_StreamOrTensor>:$inputs);
  let results = (outs Variadic<Nag_StreamOrTensor>:$outputs);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{$name `(` $inputs `)` attr-dict-with-keyword `:` functional-type($inputs, $outputs) $body}];
  let hasRegionVerifier = 1;
}

def Nag_LaunchOp : Nag_Op<"launch", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "runs a kernel function";
  let description = [{
    `kernel` names a function in destination-passing form: its arguments are the inputs and then one destination per result, and it
    returns the filled destinations. Which buffers they are is decided by `-nag-plan-buffers`.

    Constraints: (C1) `kernel` names a function; (C2) its arguments are the inputs' and then the outputs' types, its results
    the outputs' types.

    ```mlir
    %y = nag.launch @kernels::@residual(%x, %f) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
    ```
  }];
  let arguments = (ins SymbolRefAttr:$kernel, Variadic<Nag_AnyTensor>:$inputs);
  let results = (outs Variadic<Nag_AnyTensor>:$outputs);
  let assemblyFormat = "$kernel `(` $inputs `)` attr-dict `:` functional-type($inputs, $outputs)";
}

def Nag_CopyOp : Nag_Op<"copy", [Pure, SameOperandsAndResultType]> {
  let summary = "a tensor in a buffer of its own";
  let description = [{
    `-nag-plan-buffers` inserts it where a value must stand in two places, or where its place is taken.

    ```mlir
    %y = nag.copy %x : tensor<2x8xf32>
    ```
  }];
  let arguments = (ins Nag_AnyTensor:$input);
  let results = (outs Nag_AnyTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($result)";
}

#endif // NAG_PROGRAM_OPS_TD
