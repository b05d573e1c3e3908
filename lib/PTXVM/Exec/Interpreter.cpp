// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Blocks, warps, the instruction loop and calls.
#include "../Checks/Checks.h"

#include <algorithm>
#include <cstring>

namespace ptxvm {
namespace {

/// Taken branches before a warp lets the others of its block run.
constexpr uint64_t branchQuantum = 4096;
constexpr size_t deepestCall = 256;

} // namespace

BlockRunner::BlockRunner(Launch &owner)
    : launch(owner), program(*owner.program),
      counts(owner.kernelCode->codeEnd - owner.kernelCode->codeBegin) {
  block.launch = &launch;
  block.counters = &counters;
  block.threadCount = static_cast<unsigned>(launch.blockDim.count());
  block.shared.resize(launch.sharedBytes + 64);
  block.local.resize(launch.localBytes * block.threadCount + 64);
  block.warps.resize((block.threadCount + warpSize - 1) / warpSize);
  for (unsigned k = 0; k < block.warps.size(); ++k) {
    Warp &warp = block.warps[k];
    warp.block = &block;
    warp.index = k;
    warp.specials.resize(Program::specialOffset(program.specials.size()));
    warp.files[1] = const_cast<uint8_t *>(program.constants.data());
    warp.files[2] = warp.specials.data();
  }
  checksRegisters = launch.checks(Check::Registers);
  if (launch.options.checks || launch.options.profile)
    block.checks = std::make_unique<BlockChecks>(block);
}
BlockRunner::~BlockRunner() = default;

/// Special registers whose value depends on the lane; none for the others.
static std::optional<uint32_t> laneSpecial(Special special, Dim3 thread,
                                           unsigned lane) {
  switch (special) {
  case Special::TidX:
    return thread.x;
  case Special::TidY:
    return thread.y;
  case Special::TidZ:
    return thread.z;
  case Special::LaneId:
    return lane;
  case Special::LanemaskEq:
    return 1u << lane;
  case Special::LanemaskLe:
    return allLanes >> (31 - lane);
  case Special::LanemaskLt:
    return (1u << lane) - 1;
  case Special::LanemaskGe:
    return allLanes << lane;
  case Special::LanemaskGt:
    return ~(allLanes >> (31 - lane));
  default:
    return std::nullopt;
  }
}

/// Special registers that are the same for a whole warp.
static uint32_t warpSpecial(Special special, const Launch &launch,
                            const Block &block, const Warp &warp) {
  const Dim3 &dim = launch.blockDim, &grid = launch.grid, &id = block.id;
  switch (special) {
  case Special::NtidX:
    return dim.x;
  case Special::NtidY:
    return dim.y;
  case Special::NtidZ:
    return dim.z;
  case Special::CtaidX:
  case Special::ClusterIdX:
    return id.x;
  case Special::CtaidY:
  case Special::ClusterIdY:
    return id.y;
  case Special::CtaidZ:
  case Special::ClusterIdZ:
    return id.z;
  case Special::NctaidX:
  case Special::NclusterIdX:
    return grid.x;
  case Special::NctaidY:
  case Special::NclusterIdY:
    return grid.y;
  case Special::NctaidZ:
  case Special::NclusterIdZ:
    return grid.z;
  case Special::WarpId:
    return warp.index;
  case Special::NwarpId:
    return 64;
  case Special::SmId:
    return static_cast<uint32_t>(block.index % multiprocessors);
  case Special::NsmId:
    return multiprocessors;
  case Special::DynamicSmemSize:
    return static_cast<uint32_t>(launch.dynamicShared);
  case Special::TotalSmemSize:
    return static_cast<uint32_t>(launch.kernel->staticSharedBytes +
                                 launch.dynamicShared);
  case Special::ClusterNctaidX:
  case Special::ClusterNctaidY:
  case Special::ClusterNctaidZ:
  case Special::ClusterNctaRank:
    return 1;
  default:
    return 0;
  }
}

void BlockRunner::fillSpecials(Warp &warp) {
  std::memset(warp.specials.data(), 0, 64);
  for (size_t k = 0; k < program.specials.size(); ++k) {
    uint32_t *lanes = reinterpret_cast<uint32_t *>(warp.specials.data() +
                                                   Program::specialOffset(k));
    Special special = program.specials[k];
    bool differs = laneSpecial(special, {}, 0).has_value();
    if (differs && warp.hasLaneSpecials)
      continue; // the same in every block
    if (special == Special::GridId) {
      uint64_t *wide = reinterpret_cast<uint64_t *>(lanes);
      std::fill(wide, wide + warpSize, launch.id);
      continue;
    }
    std::fill(lanes, lanes + warpSize,
              warpSpecial(special, launch, block, warp));
    for (unsigned lane = 0; differs && lane < warpSize; ++lane)
      lanes[lane] =
          *laneSpecial(special, block.threadId(warp.thread(lane)), lane);
  }
  warp.hasLaneSpecials = true;
}

void BlockRunner::startWarp(Warp &warp, unsigned index) {
  unsigned left = block.threadCount - index * warpSize;
  warp.live = left >= warpSize ? allLanes : (1u << left) - 1;
  warp.branches = 0;
  warp.force = false;
  const FunctionCode &entry = program.functions[launch.kernelCode->function];
  if (warp.registers.size() < entry.frameBytes)
    warp.registers.resize(entry.frameBytes);
  std::fill_n(warp.registers.begin(), entry.frameBytes, uint8_t(0));
  if (checksRegisters)
    warp.writtenRegisters.assign(warp.registers.size() / 4 + 1, 0);
  Fragment fragment;
  fragment.pc = entry.entry;
  fragment.mask = warp.live;
  fragment.function = launch.kernelCode->function;
  warp.fragments.assign(1, fragment);
  fillSpecials(warp);
}

void BlockRunner::start(uint64_t index) {
  const Dim3 &grid = launch.grid;
  block.index = index;
  block.id = {static_cast<uint32_t>(index % grid.x),
              static_cast<uint32_t>(index / grid.x % grid.y),
              static_cast<uint32_t>(index / grid.x / grid.y)};
  block.liveThreads = block.threadCount;
  block.barriers.fill(BarrierState());
  block.output.clear();
  for (unsigned k = 0; k < block.warps.size(); ++k)
    startWarp(block.warps[k], k);
  if (block.checks)
    block.checks->startBlock();
}

void BlockRunner::runAll() {
  uint64_t total = launch.grid.count();
  for (;;) {
    uint64_t index = launch.nextBlock.fetch_add(1);
    if (index >= total || launch.stop)
      return;
    start(index);
    run();
    ++counters.blocks;
    counters.threads += block.threadCount;
    if (!block.output.empty()) {
      std::lock_guard<std::mutex> lock(launch.guard);
      launch.output[index] = std::move(block.output);
    }
  }
}

void BlockRunner::run() {
  while (!launch.stop) {
    bool progress = false, alive = false;
    for (Warp &warp : block.warps) {
      progress |= runWarp(warp);
      alive |= !warp.fragments.empty();
      if (launch.stop)
        return;
    }
    if (!alive || (!progress && !resolveStall()))
      return;
  }
}

bool BlockRunner::runWarp(Warp &warp) {
  bool progress = false;
  uint64_t last = warp.branches + branchQuantum;
  while (Fragment *fragment = nextFragment(warp)) {
    progress = true;
    uint32_t mask = fragment->mask;
    enter(warp, *fragment);
    runFragment(warp, *fragment);
    if (launch.stop)
      break;
    if (warp.branches >= last) {
      runAnother(warp, mask);
      break;
    }
  }
  return progress;
}

/// A fragment may spin until another one of its warp moves on.
void BlockRunner::runAnother(Warp &warp, uint32_t ranBefore) {
  for (Fragment &other : warp.fragments)
    if (other.state == Fragment::Ready && (other.mask & ranBefore) == 0) {
      enter(warp, other);
      return runFragment(warp, other);
    }
}

bool BlockRunner::overLimit(Warp &warp, const Inst &inst) {
  uint64_t limit = launch.options.branchLimit;
  if (limit == 0 || warp.branches < limit)
    return false;
  unsigned lane = static_cast<unsigned>(__builtin_ctz(warp.active));
  block.report(FindingKind::StepLimit, inst.line, warp.thread(lane), 0,
               "more than " + std::to_string(limit) + " branches in one warp");
  launch.abort(LaunchStatus::Hung, "branch limit reached");
  return true;
}

/// Runs until the fragment ends, waits, splits, or meets others. References to
/// the fragment are dead once a called helper returned true.
void BlockRunner::runFragment(Warp &warp, Fragment &fragment) {
  const Inst *code = program.code.data();
  bool multiple = warp.fragments.size() > 1;
  uint64_t turn = warp.branches + branchQuantum;
  uint32_t first = fragment.pc, codeBegin = launch.kernelCode->codeBegin;
  for (;;) {
    const Inst &inst = code[fragment.pc];
    if (inst.leader && multiple && fragment.pc != first)
      return;
    uint32_t mask =
        fragment.mask & (warp.predicate(inst.guard) ^ inst.guardInvert);
    InstructionCount &count = counts[fragment.pc - codeBegin];
    ++count.warps;
    count.lanes += mask == allLanes
                       ? warpSize
                       : static_cast<uint64_t>(__builtin_popcount(mask));
    if (checksRegisters)
      checkRegisters(warp, inst, fragment.pc, mask);
    if (inst.control == Control::None) {
      if (mask)
        inst.run(warp, inst, mask);
      ++fragment.pc;
      continue;
    }
    if (control(warp, fragment, inst, mask, turn))
      return;
  }
}

/// Executes an instruction that moves a fragment. True when the fragment has
/// to be left; it may be dead then. `turn`: the warp's branches at which others
/// have their turn.
bool BlockRunner::control(Warp &warp, Fragment &fragment, const Inst &inst,
                          uint32_t mask, uint64_t turn) {
  switch (inst.control) {
  case Control::Branch: {
    ++warp.branches;
    bool leave = branch(warp, fragment, inst, mask) || warp.branches >= turn ||
                 launch.stop;
    return overLimit(warp, inst) || leave;
  }
  case Control::BranchIndexed:
    branchIndexed(warp, fragment, inst, mask);
    return true;
  case Control::WarpSync:
    return warpSync(warp, fragment, inst, mask) || launch.stop;
  case Control::Barrier:
  case Control::BarrierArrive:
    return arriveAt(warp, fragment, inst, mask);
  case Control::Call:
    return call(warp, fragment, inst, mask);
  case Control::Return:
    leaveFunction(warp, fragment, mask);
    return true;
  case Control::Exit:
    if (mask)
      exitLanes(warp, fragment, mask);
    else
      ++fragment.pc;
    return true;
  case Control::Trap:
    if (!mask) {
      ++fragment.pc;
      return true;
    }
    block.report(FindingKind::Trap, inst.line,
                 warp.thread(static_cast<unsigned>(__builtin_ctz(mask))), 0,
                 "trap executed");
    launch.abort(LaunchStatus::Trap, "trap executed");
    return true;
  case Control::None:
    break;
  }
  return true;
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

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

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
