// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row-Gram algebra (docs/mathematics.md section 3.1): inner products of rows, scalars made of them, linear combinations of rows.
#ifndef NAG_ROW_GRAM_OPS_TD
#define NAG_ROW_GRAM_OPS_TD

include "nag/Dialect/Nag/IR/NagBase.td"

class Nag_GramOp<string mnemonic, list<Trait> traits = []> : Nag_Op<mnemonic, !listconcat(traits,
    [Pure, DeclareOpInterfaceMethods<CostOpInterface, ["getFlops"]>, DeclareOpInterfaceMethods<RowwiseOpInterface>])>;

def Nag_RowGramOp : Nag_GramOp<"row_gram"> {
  let summary = "inner products of rows with one another and with the row of ones";
  let description = [{
    One scalar per row and pair: `(i, j)` is the inner product of row operand i and row operand j, `(i)` the sum of row operand i. Everything
    that a linear combination of the rows needs to know of them (section 3.1) is among these sums.

    Canonicalization drops sums that nobody reads and rows that no sum reads, shares equal sums, moves the sums of a second nag.row_gram over the
    same rows into the first, and reads through a nag.row_combine whose terms do not cancel.

    Constraints: (C1) all rows have the same shape, of rank 2 or more, and the same compute type; (C2) every pair names one or two row
    operands; (C3) there is one result per pair, with one scalar per row in the compute type.

    ```mlir
    %rr, %rf, %sf = nag.row_gram %r, %f [(0, 0), (0, 1), (1)]
        : (tensor<2x8x16xf32>, tensor<2x8x16xf32>) -> (tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>)
    ```
  }];
  let arguments = (ins Variadic<Nag_Tensor>:$rows, DenseI64ArrayAttr:$left, DenseI64ArrayAttr:$right);
  let results = (outs Variadic<Nag_Tensor>:$sums);
  let assemblyFormat = [{
    $rows custom<GramPairs>($left, $right) attr-dict `:` functional-type($rows, $sums)}];
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
  let extraClassDeclaration = [{
    /// In `right`: the row of ones.
    static constexpr int64_t kOnes = -1;
  }];
}

def Nag_RowScalarsOp : Nag_GramOp<"row_scalars", [IsolatedFromAbove,
    SingleBlockImplicitTerminator<"::nag::YieldOp">]> {
  let summary = "functions of the scalars of each row";
  let description = [{
    The body computes scalars of a row from scalars of the same row, with arith and math: the coefficients of a nag.row_combine from the sums of
    a nag.row_gram.

    Constraints: (C1) the body has one argument per operand, of its element type; (C2) it yields one scalar per result, of its element type;
    (C3) all operands and results have the same shape.

    ```mlir
    %k = nag.row_scalars %rf, %rr : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32> {
    ^bb0(%a: f32, %b: f32):
      %0 = arith.divf %a, %b : f32
      nag.yield %0 : f32
    }
    ```
  }];
  let arguments = (ins Variadic<Nag_Tensor>:$lanes);
  let results = (outs Variadic<Nag_Tensor>:$scalars);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "($lanes^)? attr-dict-with-keyword `:` functional-type($lanes, $scalars) $body";
  let hasRegionVerifier = 1;
  let hasCanonicalizer = 1;
}

def Nag_RowCombineOp : Nag_GramOp<"row_combine", [AttrSizedOperandSegments]> {
  let summary = "a linear combination of rows with coefficients of their own for every row";
  let description = [{
    `y = sum_i coefficients[i] * rows[i] + constant`, in the compute type and rounded once.

    `cancels` says that the terms may nearly cancel, as those of a branch without its part along r do. The result is then computed from its
    own terms alone: canonicalization, which otherwise replaces a combination of combinations by one, and the sums of a combination by sums of its
    rows, leaves it as it is.

    Constraints: (C1) there is at least one row, and one coefficient per row; (C2) all rows and the result have the same shape, of rank 2 or more;
    (C3) coefficients and constant have one scalar per row in the compute type.

    ```mlir
    %y = nag.row_combine %r, %f by %a, %b plus %c {cancels} : (tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8xf32>,
        tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8x16xf32>
    ```
  }];
  let arguments = (ins Variadic<Nag_Tensor>:$rows, Variadic<Nag_Tensor>:$coefficients, Optional<Nag_Tensor>:$constant,
      UnitAttr:$cancels);
  let results = (outs Nag_Tensor:$result);
  let assemblyFormat = [{
    $rows `by` $coefficients (`plus` $constant^)? attr-dict `:` functional-type(operands, results)}];
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
  let extraClassDeclaration = [{
    /// Each column goes its own way.
    int64_t getColumnSpan() { return 1; }
  }];
}

#endif // NAG_ROW_GRAM_OPS_TD
