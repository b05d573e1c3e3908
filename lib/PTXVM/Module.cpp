// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/PTXVM/Module.h"

#include "Decode/Decoder.h"
#include "Parse/Parser.h"

namespace ptxvm {

std::unique_ptr<Module> Module::load(std::string_view text,
                                     DeviceMemory &memory,
                                     Diagnostic &diagnostic) {
  std::unique_ptr<Module> module(new Module());
  module->device = &memory;
  module->decoded = std::make_unique<Program>();
  Program &program = *module->decoded;
  // Tokens point into the program's own copy, which never moves.
  program.text = std::string(text.substr(0, text.find('\0')));
  diagnostic = {};
  if (!Parser(program.text, program.ast).run(diagnostic))
    return nullptr;
  if (!layoutModule(program, memory, diagnostic))
    return nullptr;
  if (!Decoder(program, diagnostic).run())
    return nullptr;
  findReach(program);
  findRegisterUses(program);
  for (size_t k = 0; k < program.kernels.size(); ++k)
    program.kernels[k].localBytes =
        program.functions[program.kernelCodes[k].function].packedLocalBytes;
  return module;
}

Module::~Module() {
  if (decoded)
    for (const GlobalInfo &global : decoded->globals)
      device->release(global.address);
}

const std::vector<KernelInfo> &Module::kernels() const {
  return decoded->kernels;
}
const std::vector<GlobalInfo> &Module::globals() const {
  return decoded->globals;
}

const KernelInfo *Module::findKernel(std::string_view name) const {
  for (const KernelInfo &kernel : decoded->kernels)
    if (kernel.name == name)
      return &kernel;
  return nullptr;
}

const GlobalInfo *Module::findGlobal(std::string_view name) const {
  for (const GlobalInfo &global : decoded->globals)
    if (global.name == name)
      return &global;
  return nullptr;
}

const std::string &Module::target() const { return decoded->ast.target; }
unsigned Module::isaVersion() const { return decoded->ast.isaVersion; }

} // namespace ptxvm
