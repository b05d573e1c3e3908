// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a kernel and all it calls need: local memory, and where their code is.
#include "Decoder.h"

#include <algorithm>
#include <map>
#include <set>

namespace ptxvm {
namespace {

/// Stack for recursion and indirect calls, whose depth is not known.
constexpr uint64_t openEndedStack = 16384;

/// Local bytes along the deepest chain of calls.
class StackSizes {
public:
  explicit StackSizes(const Program &source) : program(source) {}
  uint64_t of(uint32_t function, unsigned depth = 0) {
    auto known = sizes.find(function);
    if (known != sizes.end())
      return known->second;
    if (depth > 64 || !active.insert(function).second)
      return openEndedStack;
    const FunctionCode &code = program.functions[function];
    uint64_t deepest = 0;
    for (uint32_t pc = code.entry; pc < code.end; ++pc) {
      const Inst &inst = program.code[pc];
      if (inst.control != Control::Call)
        continue;
      int callee = program.calls[inst.ext].callee;
      deepest = std::max(
          deepest, callee < 0 ? openEndedStack
                              : of(static_cast<uint32_t>(callee), depth + 1));
    }
    active.erase(function);
    return sizes[function] = code.localBytes + deepest;
  }

private:
  const Program &program;
  std::map<uint32_t, uint64_t> sizes;
  std::set<uint32_t> active;
};

/// Sets the range of instructions that hold every function it can reach.
void findCode(const Program &program, KernelCode &kernel) {
  std::set<uint32_t> seen = {kernel.function};
  std::vector<uint32_t> left = {kernel.function};
  kernel.codeBegin = program.functions[kernel.function].entry;
  while (!left.empty()) {
    const FunctionCode &code = program.functions[left.back()];
    left.pop_back();
    kernel.codeBegin = std::min(kernel.codeBegin, code.entry);
    kernel.codeEnd = std::max(kernel.codeEnd, code.end);
    for (uint32_t pc = code.entry; pc < code.end; ++pc) {
      if (program.code[pc].control != Control::Call)
        continue;
      int callee = program.calls[program.code[pc].ext].callee;
      if (callee < 0) { // indirect: may reach anything
        kernel.codeBegin = 0;
        kernel.codeEnd = static_cast<uint32_t>(program.code.size());
        return;
      }
      uint32_t function = static_cast<uint32_t>(callee);
      if (!program.functions[function].isBuiltin &&
          seen.insert(function).second)
        left.push_back(function);
    }
  }
}

} // namespace

void findReach(Program &program) {
  StackSizes sizes(program);
  for (KernelCode &kernel : program.kernelCodes) {
    kernel.stackBytes = sizes.of(kernel.function);
    findCode(program, kernel);
  }
}

} // namespace ptxvm
