// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How much local memory a kernel and all it calls may need.
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

} // namespace

void findStackSizes(Program &program) {
  StackSizes sizes(program);
  for (KernelCode &kernel : program.kernelCodes)
    kernel.stackBytes = sizes.of(kernel.function);
}

} // namespace ptxvm
