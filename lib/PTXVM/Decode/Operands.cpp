// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Operands of an instruction: registers, immediates, addresses of variables and
// functions, special registers, each of the size that its type asks for.
#include "Decoder.h"

#include <cstring>

namespace ptxvm {

void Decoder::failOperand(size_t index, const std::string &expected) {
  fail("expected " + expected + " as operand " + std::to_string(index + 1) +
       ", but got '" + std::string(operand(index).text) + "'");
}

bool Decoder::expectOperands(size_t least, size_t most) {
  size_t count = current->operands.size();
  if (count >= least && count <= most)
    return !failed;
  std::string wanted = std::to_string(least);
  if (most != least)
    wanted += " to " + std::to_string(most);
  fail("expected " + wanted + " operands, but got " + std::to_string(count));
  return false;
}

const Operand &Decoder::operand(size_t index) const {
  static const Operand none;
  return index < current->operands.size() ? current->operands[index] : none;
}

Type Decoder::registerType(const Operand &value) const {
  return value.kind == Operand::Register ? function->registers[value.reg].type
                                         : Type::None;
}
unsigned Decoder::registerSize(const Operand &value) const {
  return sizeOf(registerType(value));
}

Ref Decoder::immediate(uint64_t bits, unsigned size) {
  if (size < 8)
    bits &= (1ull << (8 * size)) - 1;
  auto [slot, isNew] = immediates.emplace(std::make_pair(size, bits), 0);
  if (isNew) {
    size_t offset = program.constants.size();
    program.constants.resize(offset + (size * warpSize + 63) / 64 * 64);
    for (unsigned lane = 0; lane < warpSize; ++lane)
      std::memcpy(&program.constants[offset + lane * size], &bits,
                  size < 8 ? size : 8);
    slot->second = makeRef(File::Constant, static_cast<uint32_t>(offset));
  }
  return slot->second;
}

uint64_t Decoder::immediateBits(const Operand &value, unsigned size) {
  if (value.kind == Operand::Integer)
    return static_cast<uint64_t>(value.value);
  uint64_t bits = value.realBits;
  if (value.isDouble == (size == 8))
    return bits;
  if (size == 4) {
    double wide;
    std::memcpy(&wide, &bits, 8);
    float narrow = static_cast<float>(wide);
    bits = 0;
    std::memcpy(&bits, &narrow, 4);
  } else if (size == 8) {
    float narrow;
    std::memcpy(&narrow, &bits, 4);
    double wide = narrow;
    std::memcpy(&bits, &wide, 8);
  } else {
    fail("expected no floating-point constant for a " +
         std::to_string(8 * size) + "-bit operand");
  }
  return bits;
}

Ref Decoder::temporary(unsigned size) {
  uint32_t offset = frameBytes;
  frameBytes += (size * warpSize + 63) / 64 * 64;
  return makeRef(File::Frame, offset);
}

uint64_t Decoder::addressOf(const Operand &value) {
  return value.variable->address + static_cast<uint64_t>(value.value);
}

Ref Decoder::specialRef(Special special) {
  auto [slot, isNew] = specialRefs.emplace(special, 0);
  if (isNew) {
    slot->second =
        makeRef(File::Special, Program::specialOffset(program.specials.size()));
    program.specials.push_back(special);
  }
  return slot->second;
}

Ref Decoder::source(const Operand &value, unsigned size,
                    std::string_view what) {
  std::string expected =
      "a " + std::to_string(8 * size) + "-bit " + std::string(what);
  switch (value.kind) {
  case Operand::Register:
    if (registerType(value) == Type::Pred || registerSize(value) != size)
      fail("expected " + expected + ", but got register '" +
           std::string(value.text) + "' of type " +
           std::string(nameOf(registerType(value))));
    return registerRefs[value.reg];
  case Operand::Integer:
  case Operand::Real:
    return immediate(immediateBits(value, size), size);
  case Operand::VariableAddress:
    if (size != 8 && size != 4)
      break;
    if (value.variable->space == Space::Local ||
        (value.variable->space == Space::Param && !function->isEntry))
      return localAddress(addressOf(value));
    return immediate(addressOf(value), size);
  case Operand::FunctionAddress:
    if (size != 8)
      break;
    for (size_t k = 0; k < program.functions.size(); ++k)
      if (program.functions[k].name == value.function->name)
        return immediate(functionWindow + k, 8);
    break;
  case Operand::SpecialRegister:
    if (value.special >= Special::Clock)
      fail("expected '" + std::string(value.text) + "' only in mov");
    if (size != 4 && !(size == 8 && value.special == Special::GridId))
      break;
    return specialRef(value.special);
  default:
    break;
  }
  fail("expected " + expected + ", but got '" + std::string(value.text) + "'");
  return immediate(0, size);
}

Ref Decoder::source(size_t index, unsigned size) {
  return source(operand(index), size, "source");
}

Ref Decoder::destination(const Operand &value, unsigned size) {
  if (value.kind == Operand::Sink)
    return temporary(size);
  if (value.kind != Operand::Register || registerType(value) == Type::Pred ||
      registerSize(value) != size) {
    fail("expected a " + std::to_string(8 * size) +
         "-bit destination register, but got '" + std::string(value.text) +
         "'" +
         (value.kind == Operand::Register
              ? " of type " + std::string(nameOf(registerType(value)))
              : ""));
    return temporary(size);
  }
  return registerRefs[value.reg];
}
Ref Decoder::destination(size_t index, unsigned size) {
  return destination(operand(index), size);
}

Ref Decoder::predicateSource(const Operand &value, bool allowNegated) {
  if (value.kind == Operand::Integer)
    return immediate(value.value != 0 ? allLanes : 0, 4);
  if (value.kind != Operand::Register || registerType(value) != Type::Pred ||
      (value.negated && !allowNegated)) {
    fail("expected a predicate register, but got '" + std::string(value.text) +
         "'");
    return immediate(0, 4);
  }
  return registerRefs[value.reg];
}
Ref Decoder::predicateDestination(const Operand &value) {
  if (value.kind == Operand::Sink)
    return temporary(1);
  return predicateSource(value, false);
}

int64_t Decoder::integerOperand(size_t index, std::string_view what) {
  if (operand(index).kind != Operand::Integer)
    failOperand(index, std::string(what));
  return operand(index).value;
}

} // namespace ptxvm
