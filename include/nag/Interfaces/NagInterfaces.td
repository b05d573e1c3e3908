// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef NAG_INTERFACES_TD
#define NAG_INTERFACES_TD

include "mlir/IR/OpBase.td"

def DifferentiableOpInterface : OpInterface<"DifferentiableOpInterface"> {
  let description = [{
    An op that builds its own vector-Jacobian product (VJP), the step of reverse-mode differentiation.

    The cotangent of a tensor is a tensor of the same type. The cotangent of a `!nag.stream` is a pair: the cotangent of
    its direction and that of its log-norm lane. A null value stands for a cotangent that is zero.
  }];
  let cppNamespace = "::nag";
  let methods = [
    InterfaceMethod<[{
      Builds the ops that compute the operands' cotangents from those of the results. Returns one entry per operand, null
      where it is zero or the operand is not differentiable (an integer tensor, say). Values of the forward pass (operands
      and results of this op) may be used freely: the caller decides which are saved and which recomputed. At least one
      result cotangent is not null.
    }], "::llvm::SmallVector<::nag::Cotangent>", "buildVJP",
    (ins "::mlir::OpBuilder &":$builder, "::llvm::ArrayRef<::nag::Cotangent>":$resultCotangents)>
  ];
}

def CostOpInterface : OpInterface<"CostOpInterface"> {
  let description = [{
    An op that knows what it costs: floating-point operations, and the bytes it must read and write at least.
  }];
  let cppNamespace = "::nag";
  let methods = [
    InterfaceMethod<[{
      Floating-point operations of one execution: an add, a multiply, a comparison or a transcendental counts as one, a
      fused multiply-add as two.
    }], "int64_t", "getFlops">,
    InterfaceMethod<[{
      True when the op is a contraction over d or T (a GEMM, attention), whose result is saved for the backward pass
      rather than computed again.
    }], "bool", "isContraction", (ins), "", "return false;">,
    InterfaceMethod<[{
      Bytes that one execution must move at least: every operand read once, every result written once.
    }], "int64_t", "getCompulsoryBytes", (ins), "", "return ::nag::detail::operandAndResultBytes($_op);">,
    InterfaceMethod<[{
      The part of the operations that depends on which positions routed rows have, as attention does; nothing where `getFlops`
      is exact.
    }], "std::optional<::nag::PairCost>", "getPairCost", (ins), "", "return std::nullopt;">
  ];
}

def RowwiseOpInterface : OpInterface<"RowwiseOpInterface"> {
  let description = [{
    An op that treats every row of its operands alike and on its own. A row is the last dimension of a tensor; the
    dimensions before it count the rows. The op describes its work for one row; the emitters of the CPU and the GPU run
    that description over all rows, and ops over the same rows share one loop (and one pass over memory) when fused.

    How an operand or a result takes part is its role:
    - `Row`: a tensor `[rows..., d]`; the row program sees `tensor<d>` in the compute type (f32 for bf16).
    - `Lane`: a tensor `[rows...]` of one scalar per row; the row program sees that scalar.
    - `Stream`: a `!nag.stream`; the row program sees two values, the direction's `tensor<d>` and the log-norm's scalar.
    - `Whole`: an operand that all rows share (a parameter vector, a table, a rank-0 tensor); the program sees the tensor,
      or the scalar where the rank is 0.
    - `Sum`: a result that is the sum over all rows of what the program returns, a `tensor<c>` or a scalar; the order of
      summation is fixed, whatever the number of threads.
    - `Indexed`: an operand or result `[..., d]` or `[...]` with rows of its own number: the row program sees, and makes, the one that
      the operand `getIndexOperand` names. The other rows of an Indexed result are those of its base (`getBaseOperand`).
    - `Base`: an operand that the row program does not see, the base of an Indexed result.
  }];
  let cppNamespace = "::nag";
  let methods = [
    InterfaceMethod<"The number of rows; 0 for an op on scalars, which has none.", "int64_t", "getNumRows">,
    InterfaceMethod<"The role of operand `index`.", "::nag::RowRole", "getOperandRole", (ins "unsigned":$index)>,
    InterfaceMethod<"The role of result `index`.", "::nag::RowRole", "getResultRole", (ins "unsigned":$index)>,
    InterfaceMethod<[{
      Builds the computation for one row: linalg ops on `tensor<d>`, arith and math on scalars. `operands` holds what the
      roles say (a stream gives two consecutive values), `row` is the index of the row. Returns the results in the same way.
    }], "::llvm::SmallVector<::mlir::Value>", "buildRow",
    (ins "::mlir::ImplicitLocOpBuilder &":$builder, "::mlir::ValueRange":$operands, "::mlir::Value":$row)>,
    InterfaceMethod<[{
      How many adjacent columns the op needs together: 1 when it works element by element, the width of a head when it works
      head by head, 0 for the whole row. An op that needs few can run on a tile of a product.
    }], "int64_t", "getColumnSpan", (ins), "", "return 0;">,
    InterfaceMethod<[{
      The operand, of the same type, whose memory result `index` may overwrite: each of its elements is read for the last
      time, by this op, before the result's element in the same place is written. None by default.
    }], "std::optional<unsigned>", "getSharedOperand", (ins "unsigned":$index), "", "return std::nullopt;">,
    InterfaceMethod<[{
      True when each element of operand `index`, a row, is read for the last time by this op before an element of a result in the
      same place is written. By default for ops that work element by element, make no rows, or may overwrite the operand.
    }], "bool", "readsInPlace", (ins "unsigned":$index), "", [{
      auto op = ::llvm::cast<::nag::RowwiseOpInterface>($_op.getOperation());
      bool mayOverwrite = false;
      for (unsigned result = 0; result < op->getNumResults(); ++result)
        mayOverwrite |= op.getSharedOperand(result) == index;
      return !op.makesRows() || mayOverwrite || op.getColumnSpan() == 1;
    }]>,
    InterfaceMethod<[{
      The operand, one index per row, that names the rows of Indexed operands and results. None by default.
    }], "std::optional<unsigned>", "getIndexOperand", (ins), "", "return std::nullopt;">,
    InterfaceMethod<[{
      The operand, of the same type, whose other rows the Indexed result `index` keeps.
    }], "std::optional<unsigned>", "getBaseOperand", (ins "unsigned":$index), "", "return std::nullopt;">,
    InterfaceMethod<[{
      The operand that holds the offsets of routed rows (nag.route): only the first `offsets[B]` rows count, the others are
      unspecified. None by default: all rows count.
    }], "std::optional<unsigned>", "getOffsetsOperand", (ins), "", "return std::nullopt;">
  ];
  let extraClassDeclaration = [{
    /// True when a result has the role `Row`.
    bool makesRows() {
      for (unsigned result = 0; result < (*this)->getNumResults(); ++result)
        if (getResultRole(result) == ::nag::RowRole::Row)
          return true;
      return false;
    }
  }];
}

def RowSpaceOpInterface : OpInterface<"RowSpaceOpInterface"> {
  let description = [{
    An op that is not row-wise and tells which of its operands and results have the same rows. With nag.route, the number of rows that
    count is known at run time only; it is found by following these ties (`-nag-fuse`). For a row-wise op its roles say this.
  }];
  let cppNamespace = "::nag";
  let methods = [
    InterfaceMethod<[{
      Sets of values with the same rows. A set whose rows are counted by the op itself names the offsets that count them.
    }], "::llvm::SmallVector<::nag::RowSpace>", "getRowSpaces">
  ];
}

def RowProductOpInterface : OpInterface<"RowProductOpInterface"> {
  let description = [{
    A matrix product whose rows are independent of one another, or that sums over them. It is described by roles as a row-wise op is
    (RowwiseOpInterface): a row of `nag.linear` follows from the same row of its input and the whole weight, and `nag.weight_grad` is a sum
    over rows. So products and row-wise ops can run in one kernel, and it is known when they cannot.
  }];
  let cppNamespace = "::nag";
  let methods = [
    InterfaceMethod<"The number of rows.", "int64_t", "getNumRows">,
    InterfaceMethod<"The role of operand `index`.", "::nag::RowRole", "getOperandRole", (ins "unsigned":$index)>,
    InterfaceMethod<"The role of result `index`.", "::nag::RowRole", "getResultRole", (ins "unsigned":$index)>,
    InterfaceMethod<[{
      The operand whose rows several products may share in one kernel: each tile of it is loaded once for all of them.
    }], "unsigned", "getSharedRowOperand">
  ];
}

def RowGramOpInterface : OpInterface<"RowGramOpInterface"> {
  let description = [{
    A row-wise op whose results are linear combinations of its rows and of the row of ones, with coefficients that are
    functions of the rows' inner products and of scalars per row (docs/mathematics.md section 3.1). The op states this form once; its row program
    (`buildRow`) and the ops nag.row_gram, nag.row_scalars and nag.row_combine (`-nag-lower-to-row-gram`) both follow from it.
  }];
  let cppNamespace = "::nag";
  let methods = [
    InterfaceMethod<"True when the op, with its attributes, is of this kind.", "bool", "hasGramForm", (ins), "", "return true;">,
    InterfaceMethod<[{
      Builds the form. `operands` and the results are what the roles of RowwiseOpInterface say, rows as nag::GramRow, lanes as
      nag::Scalar; a stream counts as two.
    }], "::llvm::SmallVector<::nag::GramValue>", "buildGramForm",
    (ins "::nag::GramBuilder &":$gram, "::llvm::ArrayRef<::nag::GramValue>":$operands)>
  ];
}

#endif // NAG_INTERFACES_TD
