// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Logic, shifts, bit fields, comparison and selection.
#include "Decoder.h"

#include <cstring>

namespace ptxvm {

void Decoder::decodeLogic() {
  static const std::unordered_map<std::string_view, std::pair<Op, Op>> ops = {
      {"and", {Op::And, Op::PredAnd}},
      {"or", {Op::Or, Op::PredOr}},
      {"xor", {Op::Xor, Op::PredXor}},
      {"not", {Op::Not, Op::PredNot}},
      {"cnot", {Op::Cnot, Op::Cnot}}};
  Type type = takeType();
  auto [op, predicateOp] = ops.at(current->opcode);
  bool isUnary = op == Op::Not || op == Op::Cnot;
  size_t count = isUnary ? 2 : 3;
  if (!expectOperands(count, count))
    return;
  if (type != Type::Pred) {
    if (!isUntyped(type))
      return fail("expected type .pred, .b16, .b32 or .b64");
    unsigned size = sizeOf(type);
    Ref dst = destination(0, size), a = source(1, size);
    Ref b = isUnary ? noRef : source(2, size);
    Inst &inst = emit(nullptr, InstructionClass::Integer);
    inst.dst = dst, inst.src[0] = a, inst.src[1] = b;
    return setLeaf(inst, {op, type});
  }
  Ref dst = predicateDestination(operand(0));
  Ref a = predicateSource(operand(1), false);
  Ref b = isUnary ? noRef : predicateSource(operand(2), false);
  Inst &inst = emit(nullptr, InstructionClass::Predicate);
  inst.dst = dst, inst.src[0] = a, inst.src[1] = b;
  setLeaf(inst, {predicateOp, type});
}

void Decoder::decodeLop3() {
  Type type = takeType();
  if (type != Type::B32)
    return fail("expected type .b32");
  if (!expectOperands(5, 5))
    return;
  Ref dst = destination(0, 4), a = source(1, 4), b = source(2, 4),
      c = source(3, 4);
  int64_t table = integerOperand(4, "a truth table from 0 to 255");
  if (table < 0 || table > 255)
    return failOperand(4, "a truth table from 0 to 255");
  Inst &inst = emit(nullptr, InstructionClass::Integer);
  inst.dst = dst, inst.src[0] = a, inst.src[1] = b, inst.src[2] = c;
  inst.imm = table;
  setLeaf(inst, {Op::Lop3, type});
}

void Decoder::decodeShift() {
  Type type = takeType();
  unsigned size = sizeOf(type);
  if (!expectOperands(3, 3))
    return;
  Ref dst = destination(0, size), a = source(1, size), b = source(2, 4);
  Inst &inst = emit(nullptr, InstructionClass::Integer);
  inst.dst = dst, inst.src[0] = a, inst.src[1] = b;
  bool isLeft = current->opcode == "shl";
  if (isFloat(type) || (isLeft && !isUntyped(type)))
    return fail("expected an untyped or integer type");
  setLeaf(inst, {isLeft ? Op::Shl : Op::Shr, type});
}

void Decoder::decodeFunnel() {
  bool isLeft = take(".l");
  if (!isLeft && !take(".r"))
    return fail("expected .l or .r");
  bool wraps = take(".wrap");
  if (!wraps && !take(".clamp"))
    return fail("expected .wrap or .clamp");
  if (takeType() != Type::B32)
    return fail("expected type .b32");
  if (!expectOperands(4, 4))
    return;
  Ref dst = destination(0, 4), a = source(1, 4), b = source(2, 4),
      c = source(3, 4);
  Inst &inst = emit(nullptr, InstructionClass::Integer);
  inst.dst = dst, inst.src[0] = a, inst.src[1] = b, inst.src[2] = c;
  Op op = isLeft ? (wraps ? Op::FunnelLeftWrap : Op::FunnelLeftClamp)
                 : (wraps ? Op::FunnelRightWrap : Op::FunnelRightClamp);
  setLeaf(inst, {op, Type::B32});
}

void Decoder::decodePrmt() {
  static constexpr std::string_view modes[] = {".f4e", ".b4e", ".rc8",
                                               ".ecl", ".ecr", ".rc16"};
  if (takeType() != Type::B32)
    return fail("expected type .b32");
  uint8_t mode = 0;
  for (uint8_t k = 0; k < 6; ++k)
    if (take(modes[k]))
      mode = k + 1;
  if (!expectOperands(4, 4))
    return;
  Ref dst = destination(0, 4), a = source(1, 4), b = source(2, 4),
      c = source(3, 4);
  Inst &inst = emit(nullptr, InstructionClass::Integer);
  inst.dst = dst, inst.src[0] = a, inst.src[1] = b, inst.src[2] = c;
  inst.op = mode;
  setLeaf(inst, {Op::Permute, Type::B32});
}

/// bfe, bfi, bmsk.
void Decoder::decodeBitField() {
  bool isInsert = current->opcode == "bfi", isMask = current->opcode == "bmsk";
  bool wraps = isMask && take(".wrap");
  if (isMask && !wraps && !take(".clamp"))
    return fail("expected .wrap or .clamp");
  Type type = takeType();
  unsigned size = sizeOf(type);
  size_t count = isInsert ? 5 : isMask ? 3 : 4;
  if (!expectOperands(count, count))
    return;
  if (size < 4 || isFloat(type) || isUntyped(type) != (isInsert || isMask))
    return fail("unsupported type " + std::string(nameOf(type)));
  Ref dst = destination(0, size), a = source(1, size);
  Ref b = isInsert ? source(2, size) : source(2, 4);
  Ref c = isMask ? noRef : source(3, 4);
  Ref d = isInsert ? source(4, 4) : noRef;
  Inst &inst = emit(nullptr, InstructionClass::Integer);
  inst.dst = dst, inst.src[0] = a, inst.src[1] = b, inst.src[2] = c;
  inst.src[3] = d;
  Op op = isInsert ? Op::BitInsert
          : isMask ? (wraps ? Op::BitMaskWrap : Op::BitMaskClamp)
                   : Op::BitExtract;
  setLeaf(inst, {op, type});
}

/// bfind, brev, popc, clz.
void Decoder::decodeBitCount() {
  static const std::unordered_map<std::string_view, Op> ops = {
      {"bfind", Op::FindBit},
      {"brev", Op::Reverse},
      {"popc", Op::PopCount},
      {"clz", Op::LeadingZeros}};
  Op op = ops.at(current->opcode);
  bool asShift = op == Op::FindBit && take(".shiftamt");
  Type type = takeType();
  unsigned size = sizeOf(type);
  if (!expectOperands(2, 2))
    return;
  if (size < 4 || isFloat(type) || isUntyped(type) == (op == Op::FindBit))
    return fail("unsupported type " + std::string(nameOf(type)));
  Ref dst = destination(0, op == Op::Reverse ? size : 4), a = source(1, size);
  Inst &inst = emit(nullptr, InstructionClass::Integer);
  inst.dst = dst, inst.src[0] = a;
  inst.imm = asShift;
  setLeaf(inst, {op, type});
}

/// Operator, flags and type of set and setp.
void Decoder::compareModifiers(Inst &inst, Type &type, bool isSet) {
  static constexpr std::pair<std::string_view, Compare> operators[] = {
      {".eq", Compare::Eq},   {".ne", Compare::Ne},   {".lt", Compare::Lt},
      {".le", Compare::Le},   {".gt", Compare::Gt},   {".ge", Compare::Ge},
      {".lo", Compare::Lt},   {".ls", Compare::Le},   {".hi", Compare::Gt},
      {".hs", Compare::Ge},   {".equ", Compare::Equ}, {".neu", Compare::Neu},
      {".ltu", Compare::Ltu}, {".leu", Compare::Leu}, {".gtu", Compare::Gtu},
      {".geu", Compare::Geu}, {".num", Compare::Num}, {".nan", Compare::Nan}};
  static constexpr std::string_view combinations[] = {".and", ".or", ".xor"};
  bool found = false;
  for (const auto &[name, op] : operators)
    if (!found && take(name)) {
      inst.op = static_cast<uint8_t>(op);
      found = true;
    }
  if (!found)
    fail("expected a comparison operator");
  for (uint8_t k = 0; k < 3; ++k)
    if (take(combinations[k]))
      inst.flags |= k + 1;
  inst.flush = take(".ftz");
  type = takeType();
  size_t wanted = inst.flags & leaf::combineMask ? 4 : 3;
  if (!expectOperands(wanted, wanted))
    return;
  if (inst.flags & leaf::combineMask) {
    inst.src[2] = predicateSource(operand(3));
    if (operand(3).negated)
      inst.flags |= leaf::combineInvert;
  }
  static_cast<void>(isSet);
}

void Decoder::decodeSetp() {
  Inst inst = prepared(InstructionClass::Predicate);
  Type type;
  compareModifiers(inst, type, false);
  if (failed)
    return;
  const Operand &result = operand(0);
  if (result.kind == Operand::Pair) {
    inst.dst = predicateDestination(result.elements[0]);
    inst.dst2 = predicateDestination(result.elements[1]);
    inst.flags |= leaf::hasSecondPredicate;
  } else {
    inst.dst = predicateDestination(result);
  }
  inst.src[0] = source(1, sizeOf(type));
  inst.src[1] = source(2, sizeOf(type));
  setLeaf(inst, {Op::SetPredicate, type});
  program.code.push_back(inst);
}

void Decoder::decodeSet() {
  Inst inst = prepared(InstructionClass::Predicate);
  Type target = Type::None, type;
  // The first type is that of the result.
  if (std::optional<Type> first = takeOptionalType())
    target = *first;
  compareModifiers(inst, type, true);
  if (failed)
    return;
  unsigned size = sizeOf(target);
  inst.dst = destination(0, size);
  inst.src[0] = source(1, sizeOf(type));
  inst.src[1] = source(2, sizeOf(type));
  switch (target) {
  case Type::F32:
    inst.imm = 0x3f800000;
    break;
  case Type::F16:
  case Type::F16x2:
    inst.imm = 0x3c00;
    break;
  case Type::BF16:
  case Type::BF16x2:
    inst.imm = 0x3f80;
    break;
  default:
    inst.imm = -1;
  }
  setLeaf(inst, {Op::SetValue, type, target});
  program.code.push_back(inst);
}

void Decoder::decodeSelp() {
  Type type = takeType();
  unsigned size = sizeOf(type);
  if (!expectOperands(4, 4))
    return;
  Ref dst = destination(0, size), a = source(1, size), b = source(2, size);
  Ref p = predicateSource(operand(3));
  Inst &inst = emit(nullptr, InstructionClass::Move);
  inst.dst = dst, inst.src[0] = a, inst.src[1] = b, inst.src[2] = p;
  inst.imm = operand(3).negated ? -1 : 0;
  setLeaf(inst, {Op::Select, type});
}

void Decoder::decodeSlct() {
  flush = take(".ftz");
  Type type = takeType(), test = takeType();
  unsigned size = sizeOf(type);
  if (test != Type::S32 && test != Type::F32)
    return fail("expected type .s32 or .f32 of the selector");
  if (!expectOperands(4, 4))
    return;
  Ref dst = destination(0, size), a = source(1, size), b = source(2, size),
      c = source(3, 4);
  Inst &inst = emit(nullptr, InstructionClass::Move);
  inst.dst = dst, inst.src[0] = a, inst.src[1] = b, inst.src[2] = c;
  setLeaf(inst, {Op::SelectSign, type, test});
  setFloatMode(inst);
}

} // namespace ptxvm
