// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Functions: their registers, locals and instructions. The opcodes are in
// Decode*.cpp.
#include "Decoder.h"
#include "OpcodeTable.h"

#include <algorithm>

namespace ptxvm {

void Decoder::fail(std::string message) {
  if (failed)
    return;
  failed = true;
  diagnostic.line = current ? current->line : 0;
  diagnostic.message =
      current ? "'" + current->spelling() + "': " + message : message;
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

uint32_t Decoder::addList(std::vector<Ref> list) {
  program.lists.push_back(std::move(list));
  return static_cast<uint32_t>(program.lists.size() - 1);
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

/// Local variables get the alignment that they are declared with and no more,
/// as global and shared ones do; beyond this, which no GPU promises, any that
/// comes.
static constexpr uint64_t mostLocalAlign = 128;

/// Frames lie one behind the other: with this unit a variable is aligned in
/// every frame as it is in the first.
void Decoder::findFrameUnit() {
  for (const Function &source : program.ast.functions)
    for (const Variable &variable : source.variables)
      if (variable.space == Space::Local && variable.align <= mostLocalAlign)
        frameUnit = std::max<uint64_t>(frameUnit, 2 * variable.align);
}

void Decoder::layoutLocals(Function &source, FunctionCode &target) {
  uint64_t bytes = 0, packed = 0;
  for (Variable &variable : source.variables) {
    if (!source.holdsInFrame(variable))
      continue;
    bool isExact =
        variable.space == Space::Local && variable.align <= mostLocalAlign;
    variable.address = isExact ? alignNoMore(bytes, variable.align)
                               : alignUp(bytes, variable.align);
    bytes = variable.address + variable.size;
    packed = alignUp(packed, variable.align) + variable.size;
    if (bytes > 1 << 20) {
      diagnostic.line = variable.line;
      failed = true;
      diagnostic.message = "local variables of '" + source.name +
                           "' take more than 1048576 bytes per thread";
      return;
    }
  }
  target.localBytes = static_cast<uint32_t>(alignUp(bytes, frameUnit));
  target.packedLocalBytes = static_cast<uint32_t>(alignUp(packed, 16));
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
  findFrameUnit();
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
