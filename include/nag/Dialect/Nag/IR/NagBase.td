// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What every op definition shares: type constraints and op classes.
#ifndef NAG_BASE_TD
#define NAG_BASE_TD

include "mlir/IR/OpBase.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "nag/Dialect/Nag/IR/NagAttributes.td"
include "nag/Dialect/Nag/IR/NagTypes.td"
include "nag/Interfaces/NagInterfaces.td"

def Nag_Float : AnyTypeOf<[F32, BF16, F64]>;
def Nag_Tensor : StaticShapeTensorOf<[Nag_Float]>;
def Nag_TokenTensor : StaticShapeTensorOf<[I32]>;
def Nag_AnyTensor : StaticShapeTensorOf<[Nag_Float, I32]>;
def Nag_Scalar : 0DTensorOf<[F32, F64]>;
def Nag_StreamOrTensor : AnyTypeOf<[Nag_StreamType, Nag_AnyTensor]>;

class Nag_Op<string mnemonic, list<Trait> traits = []> : Op<Nag_Dialect, mnemonic, traits>;

// An op without side effects whose result types follow from its operands.
class Nag_PureOp<string mnemonic, list<Trait> traits = []> : Nag_Op<mnemonic, !listconcat(traits,
    [Pure, InferTypeOpAdaptor, DeclareOpInterfaceMethods<CostOpInterface, ["getFlops"]>])> {
  let hasVerifier = 1;
}

class Nag_RowOp<string mnemonic, list<Trait> traits = []> : Nag_PureOp<mnemonic, !listconcat(traits,
    [DeclareOpInterfaceMethods<RowwiseOpInterface>])>;

// A row-wise op whose results may share memory with operands of their type.
class Nag_SharingRowOp<string mnemonic, list<Trait> traits = []> : Nag_PureOp<mnemonic, !listconcat(traits,
    [DeclareOpInterfaceMethods<RowwiseOpInterface, ["getSharedOperand"]>])>;

// A row-wise op whose operands and results all have one type.
class Nag_ElementwiseOp<string mnemonic, list<Trait> traits = []> : Nag_Op<mnemonic, !listconcat(traits,
    [Pure, SameOperandsAndResultType, DeclareOpInterfaceMethods<CostOpInterface, ["getFlops"]>,
     DeclareOpInterfaceMethods<RowwiseOpInterface, ["getSharedOperand", "getColumnSpan"]>])> {
  let extraClassDefinition = "int64_t $cppClass::getColumnSpan() { return 1; }";
}

// A row-wise op that needs a head's columns together.
class Nag_HeadwiseRowOp<string mnemonic, list<Trait> traits = []> : Nag_PureOp<mnemonic, !listconcat(traits,
    [DeclareOpInterfaceMethods<RowwiseOpInterface, ["getColumnSpan"]>])>;

class Nag_ContractionOp<string mnemonic, list<Trait> traits = [], list<string> costs = ["getFlops", "isContraction"]> :
    Nag_Op<mnemonic, !listconcat(traits, [Pure, InferTypeOpAdaptor, DeclareOpInterfaceMethods<CostOpInterface, costs>])> {
  let hasVerifier = 1;
}

// The op follows from inner products and linear combinations of rows.
def Nag_GramForm : DeclareOpInterfaceMethods<RowGramOpInterface>;
def Nag_PartialGramForm : DeclareOpInterfaceMethods<RowGramOpInterface, ["hasGramForm"]>;

def Nag_RowSpaces : DeclareOpInterfaceMethods<RowSpaceOpInterface>;

def Nag_Differentiable : DeclareOpInterfaceMethods<DifferentiableOpInterface>;

#endif // NAG_BASE_TD
