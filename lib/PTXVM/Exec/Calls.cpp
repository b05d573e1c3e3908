// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Calls of functions, direct and indirect, of what the machine brings (vprintf,
// __assertfail), and returns from them.
#include "State.h"

#include <algorithm>

namespace ptxvm {

/// Calls that may lie within one another.
static constexpr size_t deepestCall = 256;

void BlockRunner::callFunction(Warp &warp, Fragment &fragment,
                               const CallSite &site, uint32_t callee) {
  const FunctionCode &caller = program.functions[fragment.function];
  const FunctionCode &target = program.functions[callee];
  Frame frame{fragment.pc, fragment.regBase, fragment.localBase,
              fragment.function};
  uint32_t regBase = fragment.regBase + caller.frameBytes;
  uint32_t localBase = fragment.localBase + caller.localBytes;
  if (fragment.stack.size() >= deepestCall ||
      localBase + target.localBytes > launch.localBytes) {
    unsigned lane = static_cast<unsigned>(__builtin_ctz(fragment.mask));
    block.report(FindingKind::StackOverflow, program.code[fragment.pc].line,
                 warp.thread(lane), localBase,
                 "calls nest too deep for a stack of " +
                     std::to_string(launch.localBytes) + " bytes");
    return launch.abort(LaunchStatus::Trap, "stack overflow");
  }
  if (warp.registers.size() < regBase + target.frameBytes)
    warp.registers.resize(regBase + target.frameBytes);
  if (checksRegisters) {
    warp.writtenRegisters.resize(warp.registers.size() / 4 + 1);
    for (uint32_t k = regBase / 4; k < (regBase + target.frameBytes) / 4; ++k)
      warp.writtenRegisters[k] &= ~fragment.mask;
  }
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    if (!(fragment.mask >> lane & 1))
      continue;
    uint8_t *local = block.localOf(warp.thread(lane));
    for (size_t k = 0; k < site.arguments.size(); ++k)
      std::memcpy(local + localBase + target.params[k].offset,
                  local + fragment.localBase + site.arguments[k].callerOffset,
                  site.arguments[k].size);
  }
  fragment.stack.push_back(frame);
  fragment.regBase = regBase;
  fragment.localBase = localBase;
  fragment.function = callee;
  fragment.pc = target.entry;
}

/// The function that a call goes to. Of an indirect call, the lanes that call
/// what the first one calls stay in the fragment. Nothing, and the launch is
/// over, where that is no function of the prototype.
std::optional<uint32_t> BlockRunner::findCallee(Warp &warp, Fragment &fragment,
                                                const Inst &inst,
                                                uint32_t mask) {
  const CallSite &site = program.calls[inst.ext];
  if (site.callee >= 0)
    return static_cast<uint32_t>(site.callee);
  const uint64_t *targets = warp.at<uint64_t>(site.target);
  unsigned first = static_cast<unsigned>(__builtin_ctz(mask));
  uint64_t wanted = targets[first];
  uint32_t group = 0;
  for (unsigned lane = 0; lane < warpSize; ++lane)
    if ((mask >> lane & 1) && targets[lane] == wanted)
      group |= 1u << lane;
  uint64_t callee = wanted - functionWindow;
  if (callee < program.functions.size()) {
    const FunctionCode &target = program.functions[callee];
    if (!target.isBuiltin && !target.isEntry &&
        target.params.size() == site.arguments.size() &&
        target.results.size() == site.results.size()) {
      fragment.mask = group;
      return static_cast<uint32_t>(callee);
    }
  }
  block.report(FindingKind::InvalidBranch, inst.line, warp.thread(first),
               wanted,
               "indirect call of something that is not a function of the "
               "prototype");
  launch.abort(LaunchStatus::Trap, "invalid indirect call");
  return std::nullopt;
}

bool BlockRunner::call(Warp &warp, Fragment &fragment, const Inst &inst,
                       uint32_t mask) {
  if (mask == 0) {
    ++fragment.pc;
    return false;
  }
  const CallSite &site = program.calls[inst.ext];
  if (uint32_t stay = fragment.mask & ~mask) {
    fragment.mask = mask;
    split(warp, Fragment(fragment), stay, fragment.pc + 1);
    return true;
  }
  std::optional<uint32_t> callee = findCallee(warp, fragment, inst, mask);
  if (!callee)
    return true;
  const FunctionCode &target = program.functions[*callee];
  if (target.isBuiltin) {
    ++fragment.pc;
    return callBuiltin(warp, site, target, mask, inst.line);
  }
  // Lanes that call something else go after the others: were they split off
  // before the call, both would meet again at once.
  Fragment others;
  if (uint32_t rest = mask & ~fragment.mask) {
    others = fragment;
    others.mask = rest;
  }
  callFunction(warp, fragment, site, *callee);
  if (launch.stop)
    return true;
  if (others.mask) {
    warp.fragments.push_back(std::move(others));
    return true;
  }
  enter(warp, fragment);
  return warp.fragments.size() > 1;
}

/// The lanes of `mask` return; the others go on.
void BlockRunner::leaveFunction(Warp &warp, Fragment &fragment, uint32_t mask) {
  if (mask == 0) {
    ++fragment.pc;
    return;
  }
  uint32_t stay = fragment.mask & ~mask, next = fragment.pc + 1;
  Fragment before = fragment;
  fragment.mask = mask;
  returnFrom(warp, fragment);
  if (stay)
    split(warp, before, stay, next);
}

void BlockRunner::returnFrom(Warp &warp, Fragment &fragment) {
  Frame frame = fragment.stack.back();
  const CallSite &site = program.calls[program.code[frame.returnPc].ext];
  const FunctionCode &callee = program.functions[fragment.function];
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    if (!(fragment.mask >> lane & 1))
      continue;
    uint8_t *local = block.localOf(warp.thread(lane));
    for (size_t k = 0; k < site.results.size(); ++k)
      std::memcpy(local + frame.localBase + site.results[k].callerOffset,
                  local + fragment.localBase + callee.results[k].offset,
                  site.results[k].size);
  }
  fragment.stack.pop_back();
  fragment.regBase = frame.regBase;
  fragment.localBase = frame.localBase;
  fragment.function = frame.function;
  fragment.pc = frame.returnPc + 1;
}

bool BlockRunner::callBuiltin(Warp &warp, const CallSite &site,
                              const FunctionCode &callee, uint32_t mask,
                              uint32_t line) {
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    if (!(mask >> lane & 1))
      continue;
    uint8_t *local = block.localOf(warp.thread(lane)) + warp.localBase;
    auto argument = [&](size_t index) {
      uint64_t value = 0;
      const CallSite::Copy &copy = site.arguments[index];
      std::memcpy(&value, local + copy.callerOffset,
                  std::min<uint32_t>(copy.size, 8));
      return value;
    };
    if (callee.name == "vprintf") {
      uint64_t buffer = argument(1), offset = buffer - localWindow;
      const uint8_t *bytes = nullptr;
      uint64_t available = 0;
      if (offset < launch.localBytes) {
        bytes = block.localOf(warp.thread(lane)) + offset;
        available = launch.localBytes - offset;
      }
      block.output += formatPrintf(block, argument(0), bytes, available);
      uint32_t zero = 0;
      for (const CallSite::Copy &copy : site.results)
        std::memcpy(local + copy.callerOffset, &zero,
                    std::min<uint32_t>(copy.size, 4));
      continue;
    }
    std::string text = "assertion '" + readDeviceString(block, argument(0)) +
                       "' failed at " + readDeviceString(block, argument(1)) +
                       ":" + std::to_string(argument(2)) + " in " +
                       readDeviceString(block, argument(3));
    block.report(FindingKind::AssertFailed, line, warp.thread(lane), 0, text);
    launch.abort(LaunchStatus::AssertFailed, text);
    return true;
  }
  return false;
}

} // namespace ptxvm
