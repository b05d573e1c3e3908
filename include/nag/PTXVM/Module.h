// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A PTX module, checked and decoded, ready to launch (PTX ISA 9.0).
#ifndef NAG_PTXVM_MODULE_H
#define NAG_PTXVM_MODULE_H

#include "nag/PTXVM/Diagnostic.h"
#include "nag/PTXVM/Memory.h"

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ptxvm {

struct Program;

struct ParamInfo {
  std::string name;
  uint64_t offset = 0; // in the parameter buffer
  uint64_t size = 0;
  uint32_t align = 1;
};

struct KernelInfo {
  std::string name;
  std::vector<ParamInfo> params;
  uint64_t paramBytes = 0;
  uint64_t staticSharedBytes = 0;
  uint64_t localBytes = 0;    // per thread
  uint32_t maxThreads = 1024; // .maxntid or .reqntid, as a product
  std::array<uint32_t, 3> requiredThreads = {0, 0, 0}; // .reqntid; 0: none
  uint32_t line = 0;
};

struct GlobalInfo {
  std::string name;
  uint64_t address = 0;
  uint64_t size = 0;
};

class Module {
public:
  /// Parses, checks and decodes `text`; its variables take device memory.
  /// Null leaves the reason in `diagnostic`. `memory` must outlive the module.
  static std::unique_ptr<Module>
  load(std::string_view text, DeviceMemory &memory, Diagnostic &diagnostic);
  ~Module();
  Module(const Module &) = delete;
  Module &operator=(const Module &) = delete;

  const std::vector<KernelInfo> &kernels() const;
  const std::vector<GlobalInfo> &globals() const;
  /// Null when there is none of this name.
  const KernelInfo *findKernel(std::string_view name) const;
  const GlobalInfo *findGlobal(std::string_view name) const;
  /// "sm_80", from .target; and the PTX version as major * 10 + minor.
  const std::string &target() const;
  unsigned isaVersion() const;

  const Program &program() const { return *decoded; }
  DeviceMemory &memory() const { return *device; }

private:
  Module() = default;
  std::unique_ptr<Program> decoded;
  DeviceMemory *device = nullptr;
};

} // namespace ptxvm

#endif // NAG_PTXVM_MODULE_H
