// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Register-to-register instructions ("leaves"): what the decoder asks for, and
// one selector per instruction set they are compiled for.
#ifndef PTXVM_EXEC_LEAF_LEAF_H
#define PTXVM_EXEC_LEAF_LEAF_H

#include "../../Parse/Types.h"
#include "../Lanes.h"

namespace ptxvm {

enum class Op : uint8_t {
  // Integer.
  Add,
  Sub,
  Mul,
  MulHi,
  MulWide,
  Mad,
  MadHi,
  MadWide,
  MadSat,
  Mul24Lo,
  Mul24Hi,
  Mad24Lo,
  Mad24Hi,
  AddSat,
  SubSat,
  Div,
  Rem,
  Min,
  Max,
  MinRelu, // of s32 and s16x2, not below 0
  MaxRelu,
  Abs,
  Neg,
  Sad,
  AddC, // carry in and out by Inst::flags
  SubC,
  MadC,
  MadHiC,
  Dp4a, // type: of a; type2: of b
  Dp2aLo,
  Dp2aHi,
  // Bits.
  And,
  Or,
  Xor,
  Not,
  Cnot,
  Lop3,
  Shl,
  Shr,
  FunnelLeftClamp,
  FunnelLeftWrap,
  FunnelRightClamp,
  FunnelRightWrap,
  Permute, // mode in Inst::op
  BitExtract,
  BitInsert,
  FindBit,
  FindBitShift,
  Reverse,
  PopCount,
  LeadingZeros,
  BitMaskClamp,
  BitMaskWrap,
  // Floating point.
  Fma,
  MinNan,
  MaxNan,
  MinXorsign,
  MaxXorsign,
  Copysign,
  Reciprocal,
  ReciprocalApprox,
  RsqrtApprox,
  Sqrt,
  Exp2,
  Log2,
  Sin,
  Cos,
  Tanh,
  TestFinite,
  TestInfinite,
  TestNumber,
  TestNan,
  TestNormal,
  TestSubnormal,
  // Data movement.
  Move,
  MovePredicate,
  Broadcast, // a uniform value
  Select,
  SelectSign, // slct
  Pack,
  Unpack,
  // Predicates.
  PredAnd,
  PredOr,
  PredXor,
  PredNot,
  // Comparison: operator in Inst::op, combination in Inst::flags.
  SetPredicate,
  SetValue,
  // Conversions.
  Convert,
  ConvertPack, // cvt.pack
  ConvertPair  // two f32 into a packed register
};

/// Comparison operators, as in setp.
enum class Compare : uint8_t {
  Eq,
  Ne,
  Lt,
  Le,
  Gt,
  Ge,
  Equ,
  Neu,
  Ltu,
  Leu,
  Gtu,
  Geu,
  Num,
  Nan
};

/// Bits of Inst::flags for floating-point leaves.
namespace leaf {
inline constexpr uint8_t saturate = 1;      // .sat
inline constexpr uint8_t relu = 2;          // .relu
inline constexpr uint8_t carryIn = 4;       // addc, subc, madc
inline constexpr uint8_t carryOut = 8;      // .cc
inline constexpr uint8_t toIntegral = 16;   // .rni and its kin
inline constexpr uint8_t satFinite = 32;    // .satfinite
inline constexpr uint8_t awayFromZero = 64; // .rna
// For comparisons: how the predicate operand joins in.
inline constexpr uint8_t combineMask = 3; // 0 none, 1 and, 2 or, 3 xor
inline constexpr uint8_t combineInvert = 4;
inline constexpr uint8_t hasSecondPredicate = 8;
} // namespace leaf

struct LeafQuery {
  Op op;
  Type type = Type::None;  // of the operation
  Type type2 = Type::None; // source of conversions, result of set
  uint8_t dstSize = 0;     // register bytes, where they are not the type's
  uint8_t srcSize = 0;
};

/// The handler, or null when the operation does not exist for the type.
Handler selectLeaf(const LeafQuery &query);
/// Runs Inst::inner with the rounding mode and flushing Inst asks for.
Handler floatModeHandler();
/// The handler of an MmaKind.
Handler selectMmaHandler(uint8_t kind);

namespace generic {
Handler selectInteger(const LeafQuery &query);
Handler selectBits(const LeafQuery &query);
Handler selectFloat(const LeafQuery &query);
Handler selectHalf(const LeafQuery &query);
Handler selectCompare(const LeafQuery &query);
Handler selectMove(const LeafQuery &query);
Handler selectConvert(const LeafQuery &query);
Handler selectMma(uint8_t kind);
} // namespace generic
namespace avx2 {
Handler selectInteger(const LeafQuery &query);
Handler selectBits(const LeafQuery &query);
Handler selectFloat(const LeafQuery &query);
Handler selectHalf(const LeafQuery &query);
Handler selectCompare(const LeafQuery &query);
Handler selectMove(const LeafQuery &query);
Handler selectConvert(const LeafQuery &query);
Handler selectMma(uint8_t kind);
} // namespace avx2

} // namespace ptxvm

#endif // PTXVM_EXEC_LEAF_LEAF_H
