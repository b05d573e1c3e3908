// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Launch, block and warp while a kernel runs.
#ifndef PTXVM_EXEC_STATE_H
#define PTXVM_EXEC_STATE_H

#include "../Decode/Program.h"
#include "Handlers.h"
#include "nag/PTXVM/Launch.h"

#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <optional>

namespace ptxvm {

class BlockChecks;
struct Block;

/// Findings of all blocks, merged so that the result does not depend on the
/// order in which blocks ran.
class FindingSink {
public:
  FindingSink(std::string kernelName, unsigned limit)
      : kernel(std::move(kernelName)), maxFindings(limit) {}
  void add(FindingKind kind, uint32_t line, const Block &block,
           unsigned threadIndex, uint64_t address, std::string message);
  std::vector<Finding> sorted() const;
  uint64_t total() const { return count; }

private:
  std::string kernel;
  unsigned maxFindings;
  std::mutex guard;
  std::map<std::pair<FindingKind, uint32_t>, Finding> findings;
  uint64_t count = 0;
};

/// Executions of each instruction, added up after the launch.
struct InstructionCount {
  uint64_t warps = 0, lanes = 0;
};

struct Launch {
  const Program *program = nullptr;
  const KernelInfo *kernel = nullptr;
  const KernelCode *kernelCode = nullptr;
  DeviceMemory *memory = nullptr;
  Dim3 grid, blockDim;
  uint64_t dynamicShared = 0, sharedBytes = 0;
  uint64_t localBytes = 0; // per thread, calls included
  std::vector<uint8_t> params;
  LaunchOptions options;
  unsigned workers = 1; // host threads
  FindingSink *findings = nullptr;
  std::chrono::steady_clock::time_point start;
  std::atomic<uint64_t> nextBlock{0};
  std::atomic<bool> stop{false};
  std::atomic<LaunchStatus> status{LaunchStatus::Ok};
  std::mutex guard;
  std::string message;
  std::map<uint64_t, std::string> output; // by block
  uint64_t id = 0;
  /// Per block, the clock of its last fence; empty when races are not checked.
  std::vector<std::atomic<uint32_t>> fenceClocks;

  bool checks(Check check) const {
    return options.checks & static_cast<uint32_t>(check);
  }
  /// Ends the launch; the first reason counts.
  void abort(LaunchStatus why, std::string text);
};

struct Frame {
  uint32_t returnPc = 0; // of the call instruction
  uint32_t regBase = 0, localBase = 0;
  uint32_t function = 0;
  bool operator==(const Frame &other) const {
    return returnPc == other.returnPc && regBase == other.regBase;
  }
};

/// Lanes of a warp that run together.
struct Fragment {
  enum State : uint8_t { Ready, AtWarpSync, AtBarrier };
  uint32_t pc = 0;
  uint32_t mask = 0;
  State state = Ready;
  uint32_t regBase = 0, localBase = 0, function = 0;
  std::vector<Frame> stack;
  uint32_t barrierId = 0;

  bool meets(const Fragment &other) const {
    return pc == other.pc && state == other.state && regBase == other.regBase &&
           stack == other.stack;
  }
};

struct Warp : LaneState {
  Block *block = nullptr;
  unsigned index = 0;
  uint32_t live = 0;   // lanes that exist and have not exited
  uint32_t active = 0; // lanes of the running fragment
  uint32_t localBase = 0;
  uint32_t frameOffset = 0;
  std::vector<uint8_t> registers, specials;
  std::vector<uint32_t> writtenRegisters; // lane masks, by byte offset / 4
  std::vector<Fragment> fragments;
  uint64_t branches = 0;
  bool hasLaneSpecials = false;
  bool force = false; // run the waiting instruction although lanes are missing

  unsigned thread(unsigned lane) const { return index * warpSize + lane; }
};

struct BarrierState {
  uint32_t arrivedLive = 0;  // threads
  uint32_t arrivedWhole = 0; // whole warps count 32
  uint32_t expected = 0;     // 0: all live threads
  uint32_t popCount = 0;
  bool all = true, any = false;
  std::array<uint32_t, 32> clocks = {}; // of arrived warps
};

struct Block {
  Launch *launch = nullptr;
  Dim3 id;
  uint64_t index = 0;
  unsigned threadCount = 0, liveThreads = 0;
  std::vector<uint8_t> shared, local;
  std::vector<Warp> warps;
  std::array<BarrierState, 16> barriers;
  std::unique_ptr<BlockChecks> checks; // null when nothing is checked
  Counters *counters = nullptr;
  std::string output;

  Dim3 threadId(unsigned thread) const {
    const Dim3 &dim = launch->blockDim;
    return {thread % dim.x, thread / dim.x % dim.y, thread / dim.x / dim.y};
  }
  uint8_t *localOf(unsigned thread) {
    return local.data() + uint64_t(thread) * launch->localBytes;
  }
  void report(FindingKind kind, uint32_t line, unsigned thread,
              uint64_t address, std::string message) {
    launch->findings->add(kind, line, *this, thread, address,
                          std::move(message));
  }
};

/// Runs the blocks a worker takes, one after the other.
class BlockRunner {
public:
  explicit BlockRunner(Launch &owner);
  ~BlockRunner();
  void runAll();
  const Counters &result() const { return counters; }
  const std::vector<InstructionCount> &instructions() const { return counts; }

private:
  // Blocks (Block.cpp, Specials.cpp).
  void start(uint64_t index);
  void startWarp(Warp &warp, unsigned index);
  void fillSpecials(Warp &warp);
  void run();

  // The instruction loop (Interpreter.cpp, Registers.cpp).
  bool runWarp(Warp &warp);
  void runAnother(Warp &warp, uint32_t ranBefore);
  void runFragment(Warp &warp, Fragment &fragment);
  bool control(Warp &warp, Fragment &fragment, const Inst &inst, uint32_t mask,
               uint64_t turn);
  bool overLimit(Warp &warp, const Inst &inst);
  void checkRegisters(Warp &warp, const Inst &inst, uint32_t pc, uint32_t mask);

  // Which lanes run together, and what they wait for (Fragments.cpp).
  void enter(Warp &warp, const Fragment &fragment);
  static void mergeFragments(Warp &warp);
  Fragment *nextFragment(Warp &warp);
  void split(Warp &warp, const Fragment &from, uint32_t mask, uint32_t pc);
  bool branch(Warp &warp, Fragment &fragment, const Inst &inst, uint32_t mask);
  void branchIndexed(Warp &warp, Fragment &fragment, const Inst &inst,
                     uint32_t mask);
  void exitLanes(Warp &warp, Fragment &fragment, uint32_t mask);
  bool warpSync(Warp &warp, Fragment &fragment, const Inst &inst,
                uint32_t mask);
  bool arriveAt(Warp &warp, Fragment &fragment, const Inst &inst,
                uint32_t mask);
  void enterBarrier(Warp &warp, Fragment &fragment, const Inst &inst,
                    uint32_t mask, bool waits);
  void completeBarriers();
  void releaseBarrier(uint32_t id);
  bool resolveStall();

  // Calls (Calls.cpp).
  bool call(Warp &warp, Fragment &fragment, const Inst &inst, uint32_t mask);
  std::optional<uint32_t> findCallee(Warp &warp, Fragment &fragment,
                                     const Inst &inst, uint32_t mask);
  void callFunction(Warp &warp, Fragment &fragment, const CallSite &site,
                    uint32_t callee);
  bool callBuiltin(Warp &warp, const CallSite &site, const FunctionCode &callee,
                   uint32_t mask, uint32_t line);
  void leaveFunction(Warp &warp, Fragment &fragment, uint32_t mask);
  void returnFrom(Warp &warp, Fragment &fragment);

  Launch &launch;
  const Program &program;
  Block block;
  Counters counters;
  std::vector<InstructionCount> counts;
  bool checksRegisters = false;
};

/// One access of a warp: where each lane goes.
struct Access {
  alignas(64) uint64_t address[warpSize];
  uint8_t *host[warpSize];
  bool contiguous = false; // all lanes, side by side from host[0]
  bool overlaps = false;   // lanes of one store meet (if races are checked)
};
enum class AccessKind : uint8_t { Read, Write, Atomic, AsyncRead, AsyncWrite };

/// The window that a generic address lies in (PTX ISA 9.0, section 5.2).
Space spaceOfGeneric(uint64_t address);

/// Addresses of an instruction's operand, checks included. Returns the lanes
/// that may go on. `bytes` is what one lane touches, `align` its alignment.
uint32_t resolveAccess(Warp &warp, const Inst &inst, uint32_t mask,
                       unsigned bytes, unsigned align, AccessKind kind,
                       Access &access);

/// vprintf: formats `format` with packed arguments for one thread.
std::string formatPrintf(Block &block, uint64_t format,
                         const uint8_t *arguments, uint64_t available);
/// A string in device memory, as far as it is readable.
std::string readDeviceString(Block &block, uint64_t address);

} // namespace ptxvm

#endif // PTXVM_EXEC_STATE_H
