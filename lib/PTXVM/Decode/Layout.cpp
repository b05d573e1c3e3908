// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Where variables live. Addresses must be known before decoding, and a shared
// variable that several functions use needs one address for all kernels:
// those come first, then each kernel's own ones, which may overlap between
// kernels, then dynamic shared memory.
#include "Decoder.h"

#include <algorithm>
#include <cstring>
#include <set>

namespace ptxvm {
namespace {

class Layout {
public:
  Layout(Program &target, DeviceMemory &device, Diagnostic &where)
      : program(target), memory(device), diagnostic(where) {}

  bool run() {
    findSharedUsers();
    return placeGlobals() && relocate() && placeParams() && placeShared();
  }

private:
  bool fail(uint32_t line, std::string message) {
    diagnostic = {line, std::move(message), Diagnostic::Text};
    return false;
  }

  bool placeGlobals();
  bool relocate();
  bool placeParams();
  bool placeShared();
  void findSharedUsers();
  void visitOperand(const Operand &operand, const Function &user);
  uint64_t placeOne(Variable &variable, uint64_t offset,
                    std::vector<SharedVariable> &list);

  Program &program;
  DeviceMemory &memory;
  Diagnostic &diagnostic;
  std::map<const Variable *, std::set<const Function *>> users;
};

bool Layout::placeGlobals() {
  for (Variable &variable : program.ast.globals) {
    if (variable.space == Space::Shared)
      continue;
    if (variable.isExtern)
      return fail(variable.line,
                  "extern variable '" + variable.name + "' has no definition");
    variable.address = memory.allocate(std::max<uint64_t>(variable.size, 1),
                                       variable.name, variable.align);
    if (variable.address == 0) {
      fail(variable.line,
           "out of device memory for variable '" + variable.name + "'");
      diagnostic.cause = Diagnostic::OutOfMemory;
      return false;
    }
    program.globals.push_back({variable.name, variable.address, variable.size});
    std::vector<uint8_t> bytes(variable.init);
    bytes.resize(variable.size);
    memory.write(variable.address, bytes.data(), bytes.size());
  }
  return true;
}

bool Layout::relocate() {
  for (Variable &variable : program.ast.globals)
    for (const Relocation &relocation : variable.relocations) {
      uint64_t value = 0;
      if (Variable *target = program.ast.findGlobal(relocation.symbol)) {
        value = target->address;
      } else {
        size_t index = 0;
        for (const Function &function : program.ast.functions) {
          if (function.name == relocation.symbol)
            value = functionWindow + index;
          ++index;
        }
      }
      if (value == 0)
        return fail(relocation.line,
                    "undefined symbol '" + relocation.symbol + "'");
      value += static_cast<uint64_t>(relocation.addend);
      memory.write(variable.address + relocation.offset, &value, 8);
    }
  return true;
}

bool Layout::placeParams() {
  for (size_t k = 0; k < program.ast.functions.size(); ++k) {
    Function &function = program.ast.functions[k];
    if (!function.isEntry || !function.hasBody)
      continue;
    KernelInfo info;
    info.name = function.name;
    info.line = function.line;
    uint64_t offset = 0;
    for (Variable *param : function.params) {
      offset = alignUp(offset, param->align);
      param->address = offset;
      info.params.push_back({param->name, offset, param->size, param->align});
      offset += param->size;
      if (offset > 32764)
        return fail(function.line, "parameters of kernel '" + function.name +
                                       "' take more than 32764 bytes");
    }
    info.paramBytes = offset;
    auto product = [](const std::array<uint32_t, 3> &dims) {
      return uint64_t(dims[0]) * std::max(dims[1], 1u) * std::max(dims[2], 1u);
    };
    info.requiredThreads = function.requiredThreads;
    uint64_t limit = product(function.maxThreads);
    if (uint64_t required = product(function.requiredThreads))
      limit = required;
    info.maxThreads = static_cast<uint32_t>(
        limit == 0 ? maxThreadsPerBlock
                   : std::min<uint64_t>(limit, maxThreadsPerBlock));
    program.kernels.push_back(std::move(info));
    program.kernelCodes.push_back({static_cast<uint32_t>(k), {}});
  }
  return true;
}

void Layout::visitOperand(const Operand &operand, const Function &user) {
  if (operand.kind == Operand::VariableAddress &&
      operand.variable->space == Space::Shared)
    users[operand.variable].insert(&user);
  for (const Operand &element : operand.elements)
    visitOperand(element, user);
}

void Layout::findSharedUsers() {
  for (const Function &function : program.ast.functions)
    for (const Instruction &instruction : function.body)
      for (const Operand &operand : instruction.operands)
        visitOperand(operand, function);
}

uint64_t Layout::placeOne(Variable &variable, uint64_t offset,
                          std::vector<SharedVariable> &list) {
  variable.address = alignNoMore(offset, variable.align);
  list.push_back({variable.name, variable.address, variable.size});
  return alignUp(variable.address + variable.size, sharedRedZone) +
         sharedRedZone;
}

bool Layout::placeShared() {
  std::vector<SharedVariable> common;
  uint64_t commonEnd = 0;
  std::map<const Function *, std::vector<Variable *>> own;
  std::vector<Variable *> dynamic;
  auto sortOut = [&](Variable &variable) {
    if (variable.space != Space::Shared)
      return;
    const auto &by = users[&variable];
    if (variable.isUnsized)
      dynamic.push_back(&variable);
    else if (by.size() == 1 && (*by.begin())->isEntry)
      own[*by.begin()].push_back(&variable);
    else if (!by.empty())
      commonEnd = placeOne(variable, commonEnd, common);
  };
  for (Variable &variable : program.ast.globals)
    sortOut(variable);
  for (Function &function : program.ast.functions)
    for (Variable &variable : function.variables)
      sortOut(variable);
  uint64_t end = commonEnd;
  for (size_t k = 0; k < program.kernels.size(); ++k) {
    KernelCode &kernel = program.kernelCodes[k];
    kernel.shared = common;
    uint64_t offset = commonEnd;
    for (Variable *variable : own[&program.ast.functions[kernel.function]])
      offset = placeOne(*variable, offset, kernel.shared);
    uint64_t bytes = 0;
    for (const SharedVariable &variable : kernel.shared)
      bytes = alignUp(bytes, 16) + variable.size;
    program.kernels[k].staticSharedBytes = bytes;
    end = std::max(end, offset);
    if (bytes > maxSharedBytes)
      return fail(program.kernels[k].line,
                  "kernel '" + program.kernels[k].name + "' takes " +
                      std::to_string(bytes) +
                      " bytes of shared memory, the limit is " +
                      std::to_string(maxSharedBytes));
  }
  uint64_t align = 1;
  for (Variable *variable : dynamic)
    align = std::max<uint64_t>(align, variable->align);
  program.dynamicSharedBase = alignNoMore(end, align);
  for (Variable *variable : dynamic)
    variable->address = program.dynamicSharedBase;
  return true;
}

} // namespace

bool layoutModule(Program &program, DeviceMemory &memory,
                  Diagnostic &diagnostic) {
  return Layout(program, memory, diagnostic).run();
}

} // namespace ptxvm
