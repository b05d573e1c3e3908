// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// mov, cvt, cvta, isspacep.
#include "../Exec/Handlers.h"
#include "Decoder.h"

namespace ptxvm {

/// The address of a local variable depends on the call depth.
Ref Decoder::localAddress(uint64_t offset) {
  Ref slot = temporary(8);
  Inst &inst = emit(handlers::localAddress, InstructionClass::Move);
  inst.dst = slot;
  inst.imm = static_cast<int64_t>(offset);
  return slot;
}

void Decoder::decodePack() {
  const Operand &pieces = operand(1);
  unsigned size = registerSize(operand(0));
  size_t count = pieces.elements.size();
  if ((count != 2 && count != 4) || size % count != 0 || size == 0)
    return fail("expected 2 or 4 pieces of a register");
  unsigned piece = static_cast<unsigned>(size / count);
  Ref refs[4] = {noRef, noRef, noRef, noRef};
  for (size_t k = 0; k < count; ++k)
    refs[k] = source(pieces.elements[k], piece, "piece");
  Ref dst = destination(0, size);
  Inst &inst = emit(nullptr, InstructionClass::Move);
  inst.dst = dst;
  for (size_t k = 0; k < 4; ++k)
    inst.src[k] = refs[k];
  setLeaf(inst, {Op::Pack, Type::None, Type::None, static_cast<uint8_t>(size),
                 static_cast<uint8_t>(piece)});
}

void Decoder::decodeUnpack() {
  const Operand &pieces = operand(0);
  unsigned size = registerSize(operand(1));
  size_t count = pieces.elements.size();
  if ((count != 2 && count != 4) || size % count != 0 || size == 0)
    return fail("expected 2 or 4 pieces of a register");
  unsigned piece = static_cast<unsigned>(size / count);
  Ref whole = source(1, size);
  // A piece may be the source itself: take a copy first.
  Ref copy = temporary(size);
  Inst &moved = emit(nullptr, InstructionClass::Move);
  moved.dst = copy, moved.src[0] = whole;
  setLeaf(moved, {Op::Move, registerType(operand(1))});
  for (size_t k = 0; k < count && !failed; ++k) {
    if (pieces.elements[k].kind == Operand::Sink)
      continue;
    Ref dst = destination(pieces.elements[k], piece);
    Inst &inst = emit(nullptr, InstructionClass::Move);
    inst.dst = dst, inst.src[0] = copy;
    inst.op = static_cast<uint8_t>(k);
    setLeaf(inst, {Op::Unpack, Type::None, Type::None,
                   static_cast<uint8_t>(piece), static_cast<uint8_t>(size)});
  }
}

void Decoder::decodeMov() {
  Type type = takeType();
  if (!expectOperands(2, 2))
    return;
  unsigned size = sizeOf(type);
  if (type == Type::Pred) {
    Ref dst = predicateDestination(operand(0)),
        a = predicateSource(operand(1), false);
    Inst &inst = emit(nullptr, InstructionClass::Predicate);
    inst.dst = dst, inst.src[0] = a;
    return setLeaf(inst, {Op::MovePredicate, type});
  }
  if (operand(1).kind == Operand::Vector) {
    if (registerSize(operand(0)) != size)
      return failOperand(0, "a register of the instruction's size");
    return decodePack();
  }
  if (operand(0).kind == Operand::Vector) {
    if (registerSize(operand(1)) != size)
      return failOperand(1, "a register of the instruction's size");
    return decodeUnpack();
  }
  Ref dst = destination(0, size);
  if (operand(1).kind == Operand::SpecialRegister &&
      operand(1).special >= Special::Clock) {
    Inst &inst = emit(handlers::readTimer, InstructionClass::Move);
    inst.dst = dst;
    inst.op = static_cast<uint8_t>(operand(1).special);
    inst.size = static_cast<uint8_t>(size);
    if (size != 4 && size != 8)
      fail("expected a 32- or 64-bit type");
    return;
  }
  Ref a = source(1, size);
  Inst &inst = emit(nullptr, InstructionClass::Move);
  inst.dst = dst, inst.src[0] = a;
  setLeaf(inst, {Op::Move, type});
}

namespace {

bool isNarrowFloat(Type type) {
  return type == Type::F16 || type == Type::BF16 || type == Type::TF32 ||
         type == Type::F16x2 || type == Type::BF16x2;
}

/// Register bytes a cvt operand may have: integers may sit in wider registers.
bool fitsRegister(Type type, unsigned size) {
  return isFloat(type) ? size == sizeOf(type) : size >= sizeOf(type);
}

} // namespace

/// The modifiers of a cvt but its types, as flags of its handlers.
uint8_t Decoder::takeConversionFlags() {
  struct IntegralRounding {
    std::string_view name;
    Rounding rounding;
  };
  static constexpr IntegralRounding integral[] = {{".rni", Rounding::Nearest},
                                                  {".rzi", Rounding::Zero},
                                                  {".rmi", Rounding::Down},
                                                  {".rpi", Rounding::Up}};
  uint8_t flags = 0;
  takeRounding(false);
  for (const IntegralRounding &row : integral)
    if (take(row.name)) {
      rounding = row.rounding;
      roundingGiven = true;
      flags |= leaf::toIntegral;
    }
  if (take(".rna"))
    flags |= leaf::awayFromZero, roundingGiven = true;
  flush = take(".ftz");
  if (take(".satfinite"))
    flags |= leaf::satFinite;
  if (take(".sat"))
    flags |= leaf::saturate;
  if (take(".relu"))
    flags |= leaf::relu;
  if (take(".pack"))
    fail("unsupported modifier '.pack'");
  return flags;
}

void Decoder::decodeCvt() {
  uint8_t flags = takeConversionFlags();
  if (failed)
    return;
  Type to = takeType(), from = takeType();
  bool isPair = current->operands.size() == 3;
  if (!expectOperands(2, 3))
    return;
  Inst inst = prepared(InstructionClass::Convert);
  inst.flags = flags;
  inst.rounding = rounding;
  inst.flush = flush;
  inst.imm = static_cast<int64_t>(from) | static_cast<int64_t>(to) << 8;
  if (isPair)
    decodeConvertPair(inst, to, from);
  else
    decodeConvertOne(inst, to, from);
}

/// Without modifiers, rounded to nearest.
static bool isPlain(const Inst &inst) {
  return inst.flags == 0 && !inst.flush && inst.rounding == Rounding::Nearest;
}

/// Two f32 to one register.
void Decoder::decodeConvertPair(Inst &inst, Type to, Type from) {
  bool toPair = to == Type::F16x2 || to == Type::BF16x2 || to == Type::E4M3x2 ||
                to == Type::E5M2x2;
  if (!toPair || from != Type::F32)
    return fail("expected a packed type and source type .f32");
  uint8_t width = isPlain(inst) ? 0 : 4;
  inst.src[0] = source(1, 4), inst.src[1] = source(2, 4);
  inst.dst = destination(0, sizeOf(to));
  setLeaf(inst, {Op::ConvertPair, to, from, 0, width});
  program.code.push_back(inst);
}

/// The bytes of a register operand that holds a type; the type's of others.
unsigned Decoder::convertedSize(size_t index, Type type) {
  if (operand(index).kind != Operand::Register)
    return sizeOf(type);
  unsigned size = registerSize(operand(index));
  if (!fitsRegister(type, size))
    failOperand(index, "a register that holds " + std::string(nameOf(type)));
  return size;
}

void Decoder::decodeConvertOne(Inst &inst, Type to, Type from) {
  bool plain = isPlain(inst);
  unsigned dstSize = convertedSize(0, to), srcSize = convertedSize(1, from);
  inst.src[0] = source(1, srcSize), inst.dst = destination(0, dstSize);
  bool toFloat = isFloat(to) || to == Type::F16x2;
  bool narrows = isFloat(from) && isFloat(to) && sizeOf(to) < sizeOf(from);
  bool needsRounding = narrows || isFloat(from) != toFloat;
  if (needsRounding && !roundingGiven && from != Type::E4M3x2 &&
      from != Type::E5M2x2)
    return fail("expected a rounding modifier");
  if (from == to && isFloat(from) && roundingGiven)
    inst.flags |= leaf::toIntegral;
  bool fast = plain && !(inst.flags & leaf::toIntegral) && isFloat(from) &&
              isFloat(to) && (from == Type::F32 || to == Type::F32);
  Handler handler = nullptr;
  if (fast)
    handler = selectLeaf({Op::Convert, to, from, 0, 0});
  inst.run = handler ? handler
                     : selectLeaf({Op::Convert, to, from, uint8_t(dstSize),
                                   uint8_t(srcSize)});
  if (!inst.run)
    return fail("unsupported conversion");
  // f32 and f64 results round in the environment; others round by themselves.
  if (!handler && (to == Type::F32 || to == Type::F64) &&
      !(inst.flags & leaf::toIntegral) && rounding != Rounding::Nearest) {
    inst.inner = inst.run;
    inst.run = floatModeHandler();
    if (isNarrowFloat(from))
      inst.run = inst.inner;
  }
  program.code.push_back(inst);
}

void Decoder::decodeCvta() {
  bool fromGeneric = take(".to");
  std::optional<Space> space = takeSpace();
  Type type = takeType();
  if (!space || type != Type::U64)
    return fail("expected a state space and type .u64");
  if (!expectOperands(2, 2))
    return;
  uint64_t window = 0;
  switch (*space) {
  case Space::Shared:
    window = sharedWindow;
    break;
  case Space::Local:
    window = localWindow;
    break;
  case Space::Param:
    window = paramWindow;
    break;
  default:
    break;
  }
  if (operand(1).kind == Operand::VariableAddress &&
      operand(1).variable->space != *space &&
      !(*space == Space::Global && operand(1).variable->space == Space::Const))
    return failOperand(1, "a variable of space " + std::string(nameOf(*space)));
  Ref dst = destination(0, 8), a = source(1, 8);
  Ref shift = immediate(window, 8);
  Inst &inst = emit(nullptr, InstructionClass::Integer);
  inst.dst = dst, inst.src[0] = a, inst.src[1] = shift;
  setLeaf(inst, {fromGeneric ? Op::Sub : Op::Add, Type::U64});
}

void Decoder::decodeIsspacep() {
  std::optional<Space> space = takeSpace();
  if (!space || *space == Space::Generic)
    return fail("expected a state space");
  if (!expectOperands(2, 2))
    return;
  Ref dst = predicateDestination(operand(0)), a = source(1, 8);
  Inst &inst = emit(handlers::isSpace, InstructionClass::Predicate);
  inst.dst = dst, inst.src[0] = a;
  inst.space = static_cast<uint8_t>(*space);
}

} // namespace ptxvm
