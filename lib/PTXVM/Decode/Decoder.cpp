// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Functions, registers, operands. The opcodes are in Decode*.cpp.
#include "Decoder.h"

#include <algorithm>

#include "OpcodeTable.h"

#include <cstring>

namespace ptxvm {

//===----------------------------------------------------------------------===//
// Errors and modifiers
//===----------------------------------------------------------------------===//

void Decoder::fail(std::string message) {
  if (failed)
    return;
  failed = true;
  diagnostic.line = current ? current->line : 0;
  diagnostic.message =
      current ? "'" + current->spelling() + "': " + message : message;
}

void Decoder::failOperand(size_t index, const std::string &expected) {
  fail("expected " + expected + " as operand " + std::to_string(index + 1) +
       ", but got '" + std::string(operand(index).text) + "'");
}

bool Decoder::take(std::string_view modifier) {
  for (size_t k = 0; k < current->modifiers.size(); ++k)
    if (!used[k] && current->modifiers[k] == modifier) {
      used[k] = true;
      return true;
    }
  return false;
}

std::optional<Type> Decoder::takeOptionalType() {
  for (size_t k = 0; k < current->modifiers.size(); ++k)
    if (!used[k])
      if (std::optional<Type> type = typeFromName(current->modifiers[k])) {
        used[k] = true;
        return type;
      }
  return std::nullopt;
}

Type Decoder::takeType() {
  std::optional<Type> type = takeOptionalType();
  if (!type)
    fail("expected a type modifier");
  return type.value_or(Type::B32);
}

std::optional<Space> Decoder::takeSpace() {
  for (size_t k = 0; k < current->modifiers.size(); ++k)
    if (!used[k])
      if (std::optional<Space> space = spaceFromName(current->modifiers[k])) {
        used[k] = true;
        return space;
      }
  return std::nullopt;
}

void Decoder::takeRounding(bool required) {
  rounding = Rounding::Nearest;
  roundingGiven = true;
  if (take(".rz"))
    rounding = Rounding::Zero;
  else if (take(".rm"))
    rounding = Rounding::Down;
  else if (take(".rp"))
    rounding = Rounding::Up;
  else if (!take(".rn")) {
    roundingGiven = false;
    if (required)
      fail("expected a rounding modifier");
  }
}

/// Cache operators, eviction priorities and prefetch sizes change nothing here.
void Decoder::takeCacheHints() {
  static constexpr std::string_view hints[] = {".ca",
                                               ".cg",
                                               ".cs",
                                               ".lu",
                                               ".cv",
                                               ".wb",
                                               ".wt",
                                               ".nc",
                                               ".L1::evict_normal",
                                               ".L1::evict_unchanged",
                                               ".L1::evict_first",
                                               ".L1::evict_last",
                                               ".L1::no_allocate",
                                               ".L2::evict_last",
                                               ".L2::evict_first",
                                               ".L2::evict_normal",
                                               ".L2::64B",
                                               ".L2::128B",
                                               ".L2::256B",
                                               ".L2::cache_hint"};
  for (std::string_view hint : hints)
    take(hint);
}

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

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

uint32_t Decoder::addList(std::vector<Ref> list) {
  program.lists.push_back(std::move(list));
  return static_cast<uint32_t>(program.lists.size() - 1);
}

//===----------------------------------------------------------------------===//
// Emission
//===----------------------------------------------------------------------===//

Inst Decoder::prepared(InstructionClass klass) const {
  Inst inst;
  inst.line = current->line;
  inst.klass = static_cast<uint8_t>(klass);
  inst.guard = current->guarded ? registerRefs[current->guard]
                                : makeRef(File::Constant, 0);
  inst.guardInvert = current->guardNegated ? allLanes : 0;
  return inst;
}

Inst &Decoder::emit(Handler handler, InstructionClass klass) {
  program.code.push_back(prepared(klass));
  program.code.back().run = handler;
  return program.code.back();
}

void Decoder::setLeaf(Inst &inst, const LeafQuery &query) {
  inst.run = selectLeaf(query);
  if (!inst.run)
    fail("unsupported for type " + std::string(nameOf(query.type)));
}

/// f32 and f64 instructions with a rounding mode or .ftz run inside it.
void Decoder::setFloatMode(Inst &inst) {
  inst.rounding = rounding;
  inst.flush = flush;
  if (rounding == Rounding::Nearest && !flush)
    return;
  inst.inner = inst.run;
  inst.run = floatModeHandler();
}

void Decoder::emitLeaf(const LeafQuery &query, InstructionClass klass) {
  setLeaf(emit(nullptr, klass), query);
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

void Decoder::layoutRegisters(const Function &source) {
  registerRefs.clear();
  frameBytes = 0;
  for (const RegisterInfo &info : source.registers) {
    registerRefs.push_back(makeRef(File::Frame, frameBytes));
    frameBytes += info.type == Type::Pred ? 4 : 0;
  }
  frameBytes = (frameBytes + 63) / 64 * 64;
  for (size_t k = 0; k < source.registers.size(); ++k)
    if (source.registers[k].type != Type::Pred)
      registerRefs[k] = temporary(sizeOf(source.registers[k].type));
}

void Decoder::layoutLocals(Function &source, FunctionCode &target) {
  uint64_t bytes = 0;
  for (Variable &variable : source.variables) {
    bool isKernelParam = source.isEntry && variable.space == Space::Param &&
                         std::find(source.params.begin(), source.params.end(),
                                   &variable) != source.params.end();
    if (isKernelParam ||
        (variable.space != Space::Local && variable.space != Space::Param))
      continue;
    bytes = (bytes + variable.align - 1) / variable.align * variable.align;
    variable.address = bytes;
    bytes += variable.size;
    if (bytes > 1 << 20) {
      diagnostic.line = variable.line;
      failed = true;
      diagnostic.message = "local variables of '" + source.name +
                           "' take more than 1048576 bytes per thread";
      return;
    }
  }
  target.localBytes = static_cast<uint32_t>((bytes + 15) / 16 * 16);
  auto slot = [](const Variable *variable) {
    return FunctionCode::Slot{static_cast<uint32_t>(variable->address),
                              static_cast<uint32_t>(variable->size)};
  };
  for (const Variable *variable : source.params)
    target.params.push_back(slot(variable));
  for (const Variable *variable : source.returns)
    target.results.push_back(slot(variable));
}

void Decoder::decodeInstruction(const Instruction &parsed) {
  current = &parsed;
  used.assign(parsed.modifiers.size(), false);
  rounding = Rounding::Nearest;
  roundingGiven = flush = false;
  size_t first = program.code.size();
  OpcodeTable::Decode decode = OpcodeTable::find(parsed.opcode);
  if (!decode)
    return fail("unsupported instruction");
  (this->*decode)();
  for (size_t k = 0; k < used.size() && !failed; ++k)
    if (!used[k])
      fail("unsupported modifier '" + std::string(parsed.modifiers[k]) + "'");
  for (size_t k = first; k < program.code.size() && !failed; ++k)
    if (!program.code[k].run && program.code[k].control == Control::None)
      fail("unsupported instruction");
}

uint32_t Decoder::labelTarget(std::string_view label, uint32_t line) {
  auto found = function->labels.find(label);
  if (found != function->labels.end())
    return instructionStart[found->second];
  if (!failed) {
    failed = true;
    diagnostic = {line,
                  "expected a label, but got '" + std::string(label) + "'"};
  }
  return 0;
}

void Decoder::resolveTargets(const Function &source) {
  for (const Patch &patch : branchPatches) {
    Inst &inst = program.code[patch.inst];
    inst.ext = labelTarget(patch.label, inst.line);
    program.code[inst.ext].leader = true;
  }
  for (const TablePatch &patch : tablePatches) {
    uint32_t target = labelTarget(patch.label, source.line);
    program.branchTables[patch.table].push_back(target);
    program.code[target].leader = true;
  }
}

void Decoder::decodeFunction(size_t index) {
  function = &program.ast.functions[index];
  code = &program.functions[index];
  branchPatches.clear();
  tablePatches.clear();
  instructionStart.clear();
  layoutRegisters(*function);
  code->entry = static_cast<uint32_t>(program.code.size());
  for (const Instruction &parsed : function->body) {
    instructionStart.push_back(static_cast<uint32_t>(program.code.size()));
    decodeInstruction(parsed);
    if (failed)
      return;
  }
  // Falling off the end returns.
  instructionStart.push_back(static_cast<uint32_t>(program.code.size()));
  Instruction implicit;
  implicit.opcode = "ret";
  implicit.line =
      function->body.empty() ? function->line : function->body.back().line;
  decodeInstruction(implicit);
  current = nullptr;
  code->end = static_cast<uint32_t>(program.code.size());
  code->frameBytes = frameBytes;
  program.code[code->entry].leader = true;
  resolveTargets(*function);
  for (uint32_t pc = code->entry; pc + 1 < code->end; ++pc)
    if (program.code[pc].control != Control::None)
      program.code[pc + 1].leader = true;
}

bool Decoder::run() {
  immediate(allLanes, 4); // offset 0: the guard of unguarded instructions
  for (Function &source : program.ast.functions) {
    FunctionCode &target = program.functions.emplace_back();
    target.name = source.name;
    target.isEntry = source.isEntry;
    target.isBuiltin = !source.hasBody;
    layoutLocals(source, target);
    if (failed)
      return false;
  }
  for (size_t k = 0; k < program.ast.functions.size() && !failed; ++k)
    if (program.ast.functions[k].hasBody)
      decodeFunction(k);
  return !failed;
}

} // namespace ptxvm
