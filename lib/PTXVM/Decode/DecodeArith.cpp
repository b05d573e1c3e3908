// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Integer and floating-point arithmetic.
#include "Decoder.h"

namespace ptxvm {
namespace {

bool isHalf(Type type) {
  return type == Type::F16 || type == Type::F16x2 || type == Type::BF16 ||
         type == Type::BF16x2;
}

InstructionClass classOf(Type type) {
  if (type == Type::F32)
    return InstructionClass::Float32;
  if (type == Type::F64)
    return InstructionClass::Float64;
  return isHalf(type) ? InstructionClass::Half : InstructionClass::Integer;
}

unsigned lanesPerRegister(Type type) {
  return type == Type::F16x2 || type == Type::BF16x2 ? 2 : 1;
}

} // namespace

void Decoder::finishBinary(Op op, Type type, InstructionClass klass) {
  if (!expectOperands(3, 3))
    return;
  unsigned size = sizeOf(type);
  Ref dst = destination(0, size), a = source(1, size), b = source(2, size);
  Inst &inst = emit(nullptr, klass);
  inst.dst = dst, inst.src[0] = a, inst.src[1] = b;
  setLeaf(inst, {op, type});
}

void Decoder::decodeFloatBinary(Op op, Type type) {
  uint8_t flags = 0;
  if (take(".sat"))
    flags |= leaf::saturate;
  finishBinary(op, type, classOf(type));
  if (failed)
    return;
  Inst &inst = program.code.back();
  inst.flags = flags;
  inst.flops = lanesPerRegister(type);
  if (isHalf(type)) {
    inst.flush = flush;
    if (rounding != Rounding::Nearest)
      fail("expected rounding .rn for type " + std::string(nameOf(type)));
  } else {
    setFloatMode(inst);
  }
}

void Decoder::decodeAddSub() {
  bool isAdd = current->opcode == "add";
  takeRounding(false);
  flush = take(".ftz");
  if (take(".cc"))
    return decodeExtended();
  Type type = takeType();
  if (isFloat(type))
    return decodeFloatBinary(isAdd ? Op::Add : Op::Sub, type);
  bool saturate = take(".sat");
  Op op = saturate ? (isAdd ? Op::AddSat : Op::SubSat)
                   : (isAdd ? Op::Add : Op::Sub);
  finishBinary(op, type, InstructionClass::Integer);
}

/// addc, subc, madc, and the .cc forms of add, sub, mad.
void Decoder::decodeExtended() {
  std::string_view opcode = current->opcode;
  bool isMad = opcode.substr(0, 3) == "mad";
  uint8_t flags = opcode.back() == 'c' ? leaf::carryIn : 0;
  if (flags == 0 || take(".cc"))
    flags |= leaf::carryOut;
  bool isHigh = isMad && take(".hi");
  if (isMad && !isHigh && !take(".lo"))
    return fail("expected .lo or .hi");
  Type type = takeType();
  unsigned size = sizeOf(type);
  if (!isInteger(type) || size < 4)
    return fail("expected a 32- or 64-bit integer type");
  if (!expectOperands(isMad ? 4 : 3, isMad ? 4 : 3))
    return;
  Ref dst = destination(0, size), a = source(1, size), b = source(2, size);
  Ref c = isMad ? source(3, size) : noRef;
  Inst &inst = emit(nullptr, InstructionClass::Integer);
  inst.dst = dst, inst.src[0] = a, inst.src[1] = b, inst.src[2] = c;
  inst.flags = flags;
  Op op = isMad ? (isHigh ? Op::MadHiC : Op::MadC)
                : (opcode[0] == 'a' ? Op::AddC : Op::SubC);
  setLeaf(inst, {op, type});
}

void Decoder::decodeMul() {
  takeRounding(false);
  flush = take(".ftz");
  bool isWide = take(".wide"), isHigh = take(".hi"), isLow = take(".lo");
  Type type = takeType();
  if (isFloat(type) && !isWide && !isHigh && !isLow)
    return decodeFloatBinary(Op::Mul, type);
  if (!isInteger(type) || isWide + isHigh + isLow != 1)
    return fail("expected one of .lo, .hi and .wide, and an integer type");
  if (!isWide)
    return finishBinary(isHigh ? Op::MulHi : Op::Mul, type,
                        InstructionClass::Integer);
  if (!expectOperands(3, 3))
    return;
  unsigned size = sizeOf(type);
  if (size > 4)
    return fail("expected a 16- or 32-bit type for .wide");
  Ref dst = destination(0, 2 * size), a = source(1, size), b = source(2, size);
  Inst &inst = emit(nullptr, InstructionClass::Integer);
  inst.dst = dst, inst.src[0] = a, inst.src[1] = b;
  setLeaf(inst, {Op::MulWide, type});
}

void Decoder::decodeMad() {
  if (take(".cc"))
    return decodeExtended();
  takeRounding(false);
  flush = take(".ftz");
  bool isWide = take(".wide"), isHigh = take(".hi"), isLow = take(".lo");
  if (!isWide && !isHigh && !isLow)
    return decodeFma();
  bool saturate = take(".sat");
  Type type = takeType();
  unsigned size = sizeOf(type);
  if (!isInteger(type) || isWide + isHigh + isLow != 1)
    return fail("expected one of .lo, .hi and .wide, and an integer type");
  if (!expectOperands(4, 4))
    return;
  unsigned resultSize = isWide ? 2 * size : size;
  Ref dst = destination(0, resultSize), a = source(1, size),
      b = source(2, size), c = source(3, resultSize);
  Inst &inst = emit(nullptr, InstructionClass::Integer);
  inst.dst = dst, inst.src[0] = a, inst.src[1] = b, inst.src[2] = c;
  Op op = isWide ? Op::MadWide : isHigh ? Op::MadHi : Op::Mad;
  if (saturate)
    op = isHigh ? Op::MadSat : Op::Dp4a;
  if (saturate && !isHigh)
    return fail("expected .hi with .sat");
  setLeaf(inst, {op, type});
}

void Decoder::decodeMul24() {
  bool isMad = current->opcode == "mad24";
  bool isHigh = take(".hi");
  if (!isHigh && !take(".lo"))
    return fail("expected .lo or .hi");
  Type type = takeType();
  if (!isMad)
    return finishBinary(isHigh ? Op::Mul24Hi : Op::Mul24Lo, type,
                        InstructionClass::Integer);
  if (!expectOperands(4, 4))
    return;
  Ref dst = destination(0, 4), a = source(1, 4), b = source(2, 4),
      c = source(3, 4);
  Inst &inst = emit(nullptr, InstructionClass::Integer);
  inst.dst = dst, inst.src[0] = a, inst.src[1] = b, inst.src[2] = c;
  setLeaf(inst, {isHigh ? Op::Mad24Hi : Op::Mad24Lo, type});
}

/// div.approx and div.full are computed as div.rn: inside their error bounds.
void Decoder::decodeDiv() {
  bool isApprox = take(".approx") || take(".full");
  takeRounding(false);
  flush = take(".ftz");
  Type type = takeType();
  if (type != Type::F32 && type != Type::F64)
    return finishBinary(Op::Div, type, InstructionClass::Integer);
  if (!isApprox && !roundingGiven)
    return fail("expected .approx, .full or a rounding modifier");
  decodeFloatBinary(Op::Div, type);
}

void Decoder::decodeRem() {
  finishBinary(Op::Rem, takeType(), InstructionClass::Integer);
}

void Decoder::decodeMinMax() {
  bool isMin = current->opcode == "min";
  flush = take(".ftz");
  bool propagate = take(".NaN");
  bool xorsign = take(".xorsign");
  if (xorsign && !take(".abs"))
    return fail("expected .abs after .xorsign");
  bool relu = take(".relu");
  Type type = takeType();
  Op op = isMin ? Op::Min : Op::Max;
  if (propagate)
    op = isMin ? Op::MinNan : Op::MaxNan;
  if (xorsign)
    op = isMin ? Op::MinXorsign : Op::MaxXorsign;
  bool takesRelu = type == Type::S32 || type == Type::S16x2;
  if (relu && takesRelu && !propagate && !xorsign)
    return finishBinary(isMin ? Op::MinRelu : Op::MaxRelu, type,
                        InstructionClass::Integer);
  if ((propagate && xorsign) || (relu && !isHalf(type)))
    return fail("unsupported combination of modifiers");
  if (isFloat(type)) {
    decodeFloatBinary(op, type);
    if (relu && !failed)
      program.code.back().flags |= leaf::relu;
    return;
  }
  finishBinary(op, type, InstructionClass::Integer);
}

void Decoder::decodeAbsNeg() {
  flush = take(".ftz");
  Type type = takeType();
  if (!expectOperands(2, 2))
    return;
  unsigned size = sizeOf(type);
  Ref dst = destination(0, size), a = source(1, size);
  Inst &inst = emit(nullptr, classOf(type));
  inst.dst = dst, inst.src[0] = a;
  inst.flush = flush;
  setLeaf(inst, {current->opcode == "abs" ? Op::Abs : Op::Neg, type});
}

void Decoder::decodeSad() {
  Type type = takeType();
  unsigned size = sizeOf(type);
  if (!expectOperands(4, 4))
    return;
  Ref dst = destination(0, size), a = source(1, size), b = source(2, size),
      c = source(3, size);
  Inst &inst = emit(nullptr, InstructionClass::Integer);
  inst.dst = dst, inst.src[0] = a, inst.src[1] = b, inst.src[2] = c;
  setLeaf(inst, {Op::Sad, type});
}

void Decoder::decodeFma() {
  if (!roundingGiven)
    takeRounding(true);
  flush |= take(".ftz");
  uint8_t flags = 0;
  if (take(".sat"))
    flags |= leaf::saturate;
  if (take(".relu"))
    flags |= leaf::relu;
  Type type = takeType();
  unsigned size = sizeOf(type);
  if (!isFloat(type) || !expectOperands(4, 4))
    return fail("expected a floating-point type");
  Ref dst = destination(0, size), a = source(1, size), b = source(2, size),
      c = source(3, size);
  Inst &inst = emit(nullptr, classOf(type));
  inst.dst = dst, inst.src[0] = a, inst.src[1] = b, inst.src[2] = c;
  inst.flags = flags;
  inst.flops = 2 * lanesPerRegister(type);
  setLeaf(inst, {Op::Fma, type});
  if ((flags & leaf::relu) && !isHalf(type))
    return fail("expected no .relu for type " + std::string(nameOf(type)));
  if (isHalf(type))
    inst.flush = flush;
  else
    setFloatMode(inst);
}

/// The common end of functions of one operand.
void Decoder::finishFunction(Op op) {
  flush = take(".ftz");
  Type type = takeType();
  unsigned size = sizeOf(type);
  if (!expectOperands(2, 2))
    return;
  Ref dst = destination(0, size), a = source(1, size);
  Inst &inst = emit(nullptr, InstructionClass::Special);
  inst.dst = dst, inst.src[0] = a;
  inst.flops = 1;
  setLeaf(inst, {op, type});
  if (isHalf(type))
    inst.flush = flush;
  else
    setFloatMode(inst);
}

void Decoder::decodeFunctionApprox() {
  static const std::unordered_map<std::string_view, Op> ops = {
      {"ex2", Op::Exp2}, {"lg2", Op::Log2},  {"sin", Op::Sin},
      {"cos", Op::Cos},  {"tanh", Op::Tanh}, {"rsqrt", Op::RsqrtApprox}};
  if (!take(".approx"))
    return fail("expected .approx");
  finishFunction(ops.at(current->opcode));
}

/// sqrt.approx is computed as sqrt.rn: inside its error bound.
void Decoder::decodeSqrt() {
  takeRounding(!take(".approx"));
  finishFunction(Op::Sqrt);
}

void Decoder::decodeRcp() {
  bool isApprox = take(".approx");
  takeRounding(!isApprox);
  finishFunction(isApprox ? Op::ReciprocalApprox : Op::Reciprocal);
}

void Decoder::decodeTestp() {
  static constexpr std::pair<std::string_view, Op> tests[] = {
      {".finite", Op::TestFinite}, {".infinite", Op::TestInfinite},
      {".number", Op::TestNumber}, {".notanumber", Op::TestNan},
      {".normal", Op::TestNormal}, {".subnormal", Op::TestSubnormal}};
  std::optional<Op> op;
  for (const auto &[name, candidate] : tests)
    if (take(name))
      op = candidate;
  if (!op)
    return fail("expected a test such as .finite");
  Type type = takeType();
  if (!expectOperands(2, 2))
    return;
  Ref dst = predicateDestination(operand(0)), a = source(1, sizeOf(type));
  Inst &inst = emit(nullptr, InstructionClass::Predicate);
  inst.dst = dst, inst.src[0] = a;
  inst.op = static_cast<uint8_t>(*op);
  setLeaf(inst, {*op, type});
}

void Decoder::decodeCopysign() {
  Type type = takeType();
  finishBinary(Op::Copysign, type, classOf(type));
}

void Decoder::decodeDot() {
  bool isFour = current->opcode == "dp4a";
  bool isHigh = !isFour && take(".hi");
  if (!isFour && !isHigh && !take(".lo"))
    return fail("expected .lo or .hi");
  Type first = takeType();
  Type second = takeOptionalType().value_or(first);
  auto is32 = [](Type type) { return type == Type::U32 || type == Type::S32; };
  if (!is32(first) || !is32(second))
    return fail("expected types .u32 or .s32");
  if (!expectOperands(4, 4))
    return;
  Ref dst = destination(0, 4), a = source(1, 4), b = source(2, 4),
      c = source(3, 4);
  Inst &inst = emit(nullptr, InstructionClass::Integer);
  inst.dst = dst, inst.src[0] = a, inst.src[1] = b, inst.src[2] = c;
  inst.flags = static_cast<uint8_t>((first == Type::S32 ? 1 : 0) |
                                    (second == Type::S32 ? 2 : 0));
  inst.op = isHigh ? 2 : 0;
  setLeaf(inst, {isFour ? Op::Dp4a : Op::Dp2aLo, Type::U32});
}

} // namespace ptxvm
