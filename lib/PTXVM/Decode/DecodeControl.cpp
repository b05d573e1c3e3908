// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Branches, calls and what ends a thread (PTX ISA 9.0, section 9.7.12).
#include "Decoder.h"

namespace ptxvm {

void Decoder::decodeBranch() {
  take(".uni");
  if (!expectOperands(1, 1))
    return;
  if (operand(0).kind != Operand::Label)
    return failOperand(0, "a label");
  emit(nullptr, InstructionClass::Control).control = Control::Branch;
  branchPatches.push_back({program.code.size() - 1, operand(0).text});
}

void Decoder::decodeBranchIndexed() {
  if (!take(".idx"))
    return fail("expected .idx");
  take(".uni");
  if (!expectOperands(2, 2))
    return;
  auto targets = function->branchTargets.find(operand(1).text);
  if (targets == function->branchTargets.end())
    return failOperand(1, "a .branchtargets label");
  Ref index = source(0, 4);
  Inst &inst = emit(nullptr, InstructionClass::Control);
  inst.control = Control::BranchIndexed;
  inst.src[0] = index;
  inst.ext = static_cast<uint32_t>(program.branchTables.size());
  program.branchTables.emplace_back();
  for (std::string_view label : targets->second)
    tablePatches.push_back({inst.ext, label});
}

CallSite Decoder::makeCallSite(const Operand *results, const Operand *arguments,
                               const FunctionCode &callee) {
  CallSite site;
  auto copies = [&](const Operand *group, size_t wanted,
                    const std::vector<FunctionCode::Slot> *slots,
                    const char *what) {
    std::vector<CallSite::Copy> list;
    size_t count = group ? group->elements.size() : 0;
    if (count != wanted) {
      fail("expected " + std::to_string(wanted) + " " + what + ", but got " +
           std::to_string(count));
      return list;
    }
    for (size_t k = 0; k < count; ++k) {
      const Operand &element = group->elements[k];
      bool isParam = element.kind == Operand::VariableAddress &&
                     element.variable->space == Space::Param;
      if (!isParam) {
        fail("expected a .param variable, but got '" +
             std::string(element.text) + "'");
        return list;
      }
      uint64_t size = element.variable->size;
      if (slots && (*slots)[k].size != size) {
        fail("expected " + std::string(what) + " of " +
             std::to_string((*slots)[k].size) + " bytes, but got '" +
             element.variable->name + "' of " + std::to_string(size));
        return list;
      }
      list.push_back({static_cast<uint32_t>(element.variable->address),
                      static_cast<uint32_t>(size)});
    }
    return list;
  };
  site.arguments =
      copies(arguments, callee.params.size(), &callee.params, "arguments");
  site.results =
      copies(results, callee.results.size(), &callee.results, "results");
  return site;
}

void Decoder::emitCall(CallSite site) {
  program.calls.push_back(std::move(site));
  Inst &inst = emit(nullptr, InstructionClass::Control);
  inst.control = Control::Call;
  inst.ext = static_cast<uint32_t>(program.calls.size() - 1);
}

/// call (results), target, (arguments), prototype: the parentheses may be
/// missing, and the prototype is of indirect calls.
void Decoder::decodeCall() {
  take(".uni");
  const Operand *results = nullptr, *arguments = nullptr;
  size_t next = 0;
  if (operand(0).kind == Operand::Group)
    results = &operand(next++);
  const Operand &target = operand(next++);
  if (operand(next).kind == Operand::Group)
    arguments = &operand(next++);
  if (target.kind != Operand::FunctionAddress)
    return decodeIndirectCall(target, results, arguments, operand(next));
  if (next != current->operands.size())
    return fail("unexpected operand after the arguments");
  size_t index = 0;
  while (program.functions[index].name != target.function->name)
    ++index;
  const FunctionCode &callee = program.functions[index];
  bool known = callee.name == "vprintf" || callee.name == "__assertfail";
  if (callee.isEntry || (callee.isBuiltin && !known))
    return fail("function '" + callee.name + "' has no body");
  CallSite site = makeCallSite(results, arguments, callee);
  site.callee = static_cast<int>(index);
  emitCall(std::move(site));
}

/// Of a function whose address `target` holds.
void Decoder::decodeIndirectCall(const Operand &target, const Operand *results,
                                 const Operand *arguments,
                                 const Operand &prototypeName) {
  auto prototype = function->prototypes.find(prototypeName.text);
  if (target.kind != Operand::Register ||
      prototype == function->prototypes.end())
    return fail("expected a function, or a register and a .callprototype, "
                "but got '" +
                std::string(target.text) + "'");
  FunctionCode shape;
  for (uint64_t size : prototype->second.paramSizes)
    shape.params.push_back({0, static_cast<uint32_t>(size)});
  for (uint64_t size : prototype->second.returnSizes)
    shape.results.push_back({0, static_cast<uint32_t>(size)});
  CallSite site = makeCallSite(results, arguments, shape);
  site.target = source(target, 8, "function address");
  emitCall(std::move(site));
}

void Decoder::decodeReturn() {
  take(".uni");
  emit(nullptr, InstructionClass::Control).control =
      code->isEntry ? Control::Exit : Control::Return;
}
void Decoder::decodeExit() {
  emit(nullptr, InstructionClass::Control).control = Control::Exit;
}
void Decoder::decodeTrap() {
  emit(nullptr, InstructionClass::Control).control = Control::Trap;
}

} // namespace ptxvm
