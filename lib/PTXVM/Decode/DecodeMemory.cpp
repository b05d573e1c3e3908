// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Addresses, loads, stores, cp.async, and hints about memory.
#include "../Exec/Handlers.h"
#include "Decoder.h"

#include <algorithm>

namespace ptxvm {

InstructionClass Decoder::classOfSpace(Space space, bool isStore) const {
  switch (space) {
  case Space::Global:
  case Space::Const:
    return isStore ? InstructionClass::StoreGlobal
                   : InstructionClass::LoadGlobal;
  case Space::Shared:
    return isStore ? InstructionClass::StoreShared
                   : InstructionClass::LoadShared;
  case Space::Local:
    return InstructionClass::LocalMemory;
  case Space::Param:
    return InstructionClass::LoadParam;
  default:
    return InstructionClass::GenericMemory;
  }
}

/// Fills base, offset and flags of the last instruction from [base + offset].
void Decoder::decodeMemory(const Operand &value) {
  if (value.kind != Operand::Memory || value.elements.empty())
    return fail("expected an address in brackets, but got '" +
                std::string(value.text) + "'");
  Inst &inst = program.code.back();
  const Operand &base = value.elements[0];
  inst.imm = value.value;
  switch (base.kind) {
  case Operand::Register: {
    unsigned size = registerSize(base);
    if (size != 8 && size != 4)
      return fail("expected a 64-bit address register, but got '" +
                  std::string(base.text) + "'");
    if (size == 4)
      inst.flags |= memory::narrowBase;
    inst.src[0] = registerRefs[base.reg];
    return;
  }
  case Operand::VariableAddress:
    return decodeVariableAddress(*base.variable, inst);
  case Operand::Integer:
    // Where a parameter lies is the machine's choice.
    if (static_cast<Space>(inst.space) == Space::Param)
      fail("expected a parameter or register as address, but got '" +
           std::string(base.text) + "'");
    return;
  default:
    fail("expected a register or variable as address, but got '" +
         std::string(base.text) + "'");
  }
}

/// The address of a variable; `inst.imm` is the offset from its start.
void Decoder::decodeVariableAddress(const Variable &variable, Inst &inst) {
  Space space = static_cast<Space>(inst.space);
  if (space != Space::Generic && space != variable.space &&
      !(space == Space::Global && variable.space == Space::Const))
    return fail("expected a variable of space " + std::string(nameOf(space)) +
                ", but got '" + variable.name + "'");
  if (space == Space::Generic && variable.space != Space::Global &&
      variable.space != Space::Const)
    return fail("expected a generic address, but got '" + variable.name + "'");
  if (function->holdsInFrame(variable)) {
    inst.flags |= memory::frameRelative;
    inst.space = static_cast<uint8_t>(Space::Local);
  }
  uint64_t last =
      static_cast<uint64_t>(inst.imm) + uint64_t(inst.size) * inst.count;
  if (variable.space == Space::Param && (inst.imm < 0 || last > variable.size))
    return fail("expected an access inside parameter '" + variable.name +
                "' of " + std::to_string(variable.size) + " bytes");
  inst.imm += static_cast<int64_t>(variable.address);
}

/// Data operands: one register, or a vector of them.
void Decoder::collectVector(const Operand &value, unsigned count, unsigned size,
                            bool isSource, bool exact, Inst &inst) {
  bool isVector = value.kind == Operand::Vector;
  if (isVector != (count > 1) || (isVector && value.elements.size() != count)) {
    if (!(isVector && count == 1 && value.elements.size() == 1))
      return fail("expected " + std::to_string(count) +
                  " data registers, but got '" + std::string(value.text) + "'");
  }
  std::vector<Ref> refs;
  unsigned regSize = 0;
  for (unsigned k = 0; k < count; ++k) {
    const Operand &element = isVector ? value.elements[k] : value;
    unsigned have = registerSize(element);
    if (element.kind != Operand::Register)
      have = regSize ? regSize : size;
    if (have < size || (exact && have != size) || (regSize && have != regSize))
      return fail("expected data registers of " + std::to_string(8 * size) +
                  " bits, but got '" + std::string(element.text) + "'");
    regSize = have;
    refs.push_back(isSource ? source(element, have, "source")
                            : destination(element, have));
  }
  inst.regSize = static_cast<uint8_t>(regSize);
  inst.dst = refs[0];
  inst.ext = addList(std::move(refs));
}

void Decoder::selectMemoryHandler(Inst &inst, bool isStore) {
  bool simple = inst.count == 1 && inst.size == inst.regSize;
  inst.run = nullptr;
  if (simple)
    inst.run = isStore ? handlers::storeHandler(inst.size)
                       : handlers::loadHandler(inst.size);
  if (!inst.run)
    inst.run = isStore ? handlers::storeAny : handlers::loadAny;
}

void Decoder::decodeLoad() {
  take(".weak");
  uint8_t flags = takeMemoryOrder() ? memory::strong : 0;
  Space space = takeSpace().value_or(Space::Generic);
  bool hasPolicy = takeCacheHints();
  uint8_t count = takeVectorWidth();
  Type type = takeType();
  if (!expectOperands(2, hasPolicy ? 3 : 2))
    return;
  if (flags & memory::strong)
    program.strongLoads.push_back(static_cast<uint32_t>(program.code.size()));
  program.code.push_back(prepared(classOfSpace(space, false)));
  Inst &inst = program.code.back();
  inst.space = static_cast<uint8_t>(space);
  inst.size = static_cast<uint8_t>(sizeOf(type));
  inst.count = count;
  inst.flags = flags | (isSignedInt(type) ? memory::signExtend : 0);
  if (inst.size == 0 || inst.size * inst.count > 32)
    return fail("expected an access of at most 32 bytes");
  decodeMemory(operand(1));
  if (failed)
    return;
  Inst working = program.code.back();
  program.code.pop_back();
  collectVector(operand(0), working.count, working.size, false, isFloat(type),
                working);
  if (failed)
    return;
  if (working.space == static_cast<uint8_t>(Space::Param) &&
      working.src[0] == noRef)
    working.run = handlers::loadParam;
  else
    selectMemoryHandler(working, false);
  program.code.push_back(working);
}

void Decoder::decodeStore() {
  take(".weak");
  uint8_t flags = takeMemoryOrder() ? memory::strong : 0;
  Space space = takeSpace().value_or(Space::Generic);
  if (space == Space::Const || (space == Space::Param && function->isEntry &&
                                operand(0).kind != Operand::Memory))
    return fail("expected a writable state space");
  bool hasPolicy = takeCacheHints();
  uint8_t count = takeVectorWidth();
  Type type = takeType();
  if (!expectOperands(2, hasPolicy ? 3 : 2))
    return;
  Inst working = prepared(classOfSpace(space, true));
  working.space = static_cast<uint8_t>(space);
  working.size = static_cast<uint8_t>(sizeOf(type));
  working.count = count;
  working.flags = flags;
  if (working.size == 0 || working.size * working.count > 32)
    return fail("expected an access of at most 32 bytes");
  collectVector(operand(1), working.count, working.size, true, isFloat(type),
                working);
  if (failed)
    return;
  selectMemoryHandler(working, true);
  program.code.push_back(working);
  decodeMemory(operand(0));
  Inst &inst = program.code.back();
  if (!failed && inst.space == static_cast<uint8_t>(Space::Param))
    fail("expected a writable state space");
}

/// cp.async and its groups; the bulk and mbarrier forms are not supported.
void Decoder::decodeCp() {
  if (!take(".async"))
    return fail("expected .async");
  if (take(".commit_group")) {
    emit(handlers::commitAsync, InstructionClass::AsyncCopy);
    return;
  }
  bool all = take(".wait_all");
  if (all || take(".wait_group")) {
    int64_t pending = all ? 0 : integerOperand(0, "a group count");
    Inst &inst = emit(handlers::waitAsync, InstructionClass::AsyncCopy);
    inst.imm = pending;
    inst.op = all;
    if (pending < 0)
      failOperand(0, "a group count");
    return;
  }
  decodeCopyAsync();
}

/// cp.async.{ca,cg}.shared.global [to], [from], size, and a source size or a
/// predicate that ignores the source.
void Decoder::decodeCopyAsync() {
  bool isCg = take(".cg");
  bool hasPolicy = takeCacheHints();
  if ((!take(".shared") && !take(".shared::cta")) || !take(".global"))
    return fail("expected .shared.global");
  if (!expectOperands(3, 5))
    return;
  int64_t size = integerOperand(2, "a copy size of 4, 8 or 16");
  if (size != 16 && (isCg || (size != 4 && size != 8)))
    return failOperand(2, isCg ? "a copy size of 16"
                               : "a copy size of 4, 8 or 16");
  size_t extra = current->operands.size() - 3 - (hasPolicy ? 1 : 0);
  Ref sourceSize = noRef, ignore = noRef;
  bool ignoreNegated = false;
  if (extra == 1 && registerType(operand(3)) == Type::Pred) {
    ignore = predicateSource(operand(3));
    ignoreNegated = operand(3).negated;
  } else if (extra == 1) {
    sourceSize = source(3, 4);
  } else if (extra > 1) {
    return fail("expected at most one source size or predicate");
  }
  // Two addresses: the source's in src[2] and ext, the target's as usual.
  program.code.push_back(prepared(InstructionClass::AsyncCopy));
  program.code.back().space = static_cast<uint8_t>(Space::Global);
  program.code.back().size = static_cast<uint8_t>(size);
  decodeMemory(operand(1));
  Inst from = program.code.back();
  program.code.pop_back();
  program.code.push_back(prepared(InstructionClass::AsyncCopy));
  Inst &inst = program.code.back();
  inst.run = handlers::copyAsync;
  inst.space = static_cast<uint8_t>(Space::Shared);
  inst.size = static_cast<uint8_t>(size);
  inst.src[1] = sourceSize;
  inst.src[2] = from.src[0];
  inst.src[3] = ignore;
  inst.op = ignoreNegated;
  inst.regSize = from.flags & memory::narrowBase;
  decodeMemory(operand(0));
  program.code.back().ext =
      addList({static_cast<Ref>(from.imm), static_cast<Ref>(from.imm >> 32)});
}

void Decoder::decodeNothing() {
  // Hints: any modifier and operand that parsed is fine.
  used.assign(used.size(), true);
  emit(handlers::nothing, InstructionClass::Control);
}

void Decoder::decodePolicy() {
  used.assign(used.size(), true);
  if (!expectOperands(1, 4))
    return;
  // Policies have no effect here; the register gets a fixed value.
  Ref dst = destination(0, 8), value = immediate(0, 8);
  Inst &inst = emit(nullptr, InstructionClass::Move);
  inst.dst = dst, inst.src[0] = value;
  setLeaf(inst, {Op::Move, Type::B64});
}

} // namespace ptxvm
