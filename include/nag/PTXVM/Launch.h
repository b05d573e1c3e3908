// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs one kernel: what may be checked, what is counted, what was found.
#ifndef NAG_PTXVM_LAUNCH_H
#define NAG_PTXVM_LAUNCH_H

#include "nag/PTXVM/Module.h"

#include <array>
#include <optional>

namespace ptxvm {

struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t count() const { return uint64_t(x) * y * z; }
};

enum class Check : uint32_t {
  Bounds = 1 << 0,        // outside every allocation, block or stack
  Alignment = 1 << 1,     // address not a multiple of the access size
  Lifetime = 1 << 2,      // freed memory
  Uninitialized = 1 << 3, // global, shared or local bytes never written
  Races = 1 << 4,         // unordered accesses, at least one a write
  Barriers = 1 << 5,      // divergent barriers and warp-wide instructions
  Async = 1 << 6,         // cp.async data before its wait
  Registers = 1 << 7      // registers never written
};
inline constexpr uint32_t allChecks = 0xff;
std::optional<Check> checkFromName(std::string_view name);
std::string_view nameOf(Check check);
/// Reads "all", "none" or names, separated by commas; false for another name.
bool parseChecks(std::string_view names, uint32_t &checks);

enum class FindingKind : uint8_t {
  OutOfBounds,
  Misaligned,
  UseAfterFree,
  UninitializedRead,
  SharedRace,
  GlobalRace,
  DivergentBarrier,
  AsyncBeforeWait,
  UninitializedRegister,
  Deadlock,
  Trap,
  AssertFailed,
  StackOverflow,
  StepLimit,
  InvalidBranch
};
std::string_view nameOf(FindingKind kind);

/// The first of `count` equal findings (same kind and line), in block order.
struct Finding {
  FindingKind kind;
  std::string kernel;
  uint32_t line = 0; // of the PTX text
  Dim3 block, thread;
  uint64_t blockIndex = 0; // linear
  uint64_t address = 0;    // 0 when no address is concerned
  std::string message;
  uint64_t count = 1;
  /// One line with every field.
  std::string str() const;
  /// One JSON object on one line.
  std::string json() const;
};
/// A JSON string, quotes included.
std::string jsonText(std::string_view text);

enum class InstructionClass : uint8_t {
  Integer,
  Float32,
  Float64,
  Half,
  Convert,
  Special, // approximate functions
  Move,
  Predicate,
  Control,
  Barrier,
  WarpExchange,
  LoadGlobal,
  StoreGlobal,
  LoadShared,
  StoreShared,
  LoadParam,
  LocalMemory,
  GenericMemory,
  Atomic,
  AsyncCopy,
  MatrixLoad,
  Mma,
  Count
};
std::string_view nameOf(InstructionClass klass);

struct Counters {
  uint64_t launches = 0, blocks = 0, threads = 0;
  uint64_t warpInstructions = 0;   // issued, with at least one active thread
  uint64_t threadInstructions = 0; // active threads over all of them
  std::array<uint64_t, static_cast<size_t>(InstructionClass::Count)>
      warpInstructionsByClass = {};
  uint64_t mmaInstructions = 0;
  uint64_t tensorFlops = 0; // 2 per multiply-add
  uint64_t otherFlops = 0;
  // Global memory; the rest is counted only when LaunchOptions::profile is set.
  uint64_t globalBytesRead = 0, globalBytesWritten = 0; // requested by threads
  uint64_t uniqueBytesRead = 0, uniqueBytesWritten = 0; // distinct addresses
  uint64_t globalSectors = 0;      // 32-byte sectors touched, per instruction
  uint64_t globalSectorsIdeal = 0; // distinct requested bytes / 32, rounded up
  uint64_t sharedWavefronts = 0;   // passes the 32 banks need
  uint64_t sharedWavefrontsIdeal = 0; // passes without bank conflicts
  uint64_t atomicOperations = 0;      // active threads over atom and red

  uint64_t sharedBankConflicts() const {
    return sharedWavefronts - sharedWavefrontsIdeal;
  }
  void add(const Counters &other);
  /// Members of a JSON object, without its braces.
  std::string jsonMembers() const;
};

/// Name and value of every scalar counter, in printing order.
std::vector<std::pair<std::string_view, uint64_t>>
listCounters(const Counters &counters);

struct LaunchOptions {
  uint32_t checks = allChecks; // bits of Check
  bool profile = true;         // count memory traffic
  unsigned threads = 0;        // host threads; 0: all cores
  /// Branches one warp may take before the kernel counts as hung; 0: no limit.
  uint64_t branchLimit = 0;
  /// Findings kept (distinct ones); more are only counted.
  unsigned maxFindings = 100;
};

enum class LaunchStatus : uint8_t {
  Ok,             // ran to its end, perhaps with findings
  InvalidValue,   // wrong parameters, sizes, or kernel
  OutOfResources, // block or shared memory over the limits
  IllegalAddress, // an access outside device memory, checks or not
  Misaligned,
  Trap, // trap, stack overflow, wild branch
  AssertFailed,
  Hung // deadlock or branchLimit
};

struct LaunchResult {
  LaunchStatus status = LaunchStatus::Ok;
  std::string message; // empty when Ok
  std::vector<Finding> findings;
  uint64_t findingsTotal = 0;
  Counters counters;
  std::string output; // printf text, in block order
  double seconds = 0;
};

/// Limits of the machine (those of sm_80 and sm_90).
inline constexpr uint32_t maxThreadsPerBlock = 1024;
inline constexpr uint64_t maxSharedBytes = 227 * 1024;
inline constexpr unsigned multiprocessors = 16; // what %nsmid says

/// Runs `kernel` to its end. `params` holds kernel.paramBytes bytes laid out by
/// KernelInfo::params. Never throws; results of race-free kernels do not depend
/// on options.threads.
LaunchResult launch(const Module &module, std::string_view kernel, Dim3 grid,
                    Dim3 block, uint64_t dynamicSharedBytes,
                    const std::vector<uint8_t> &params,
                    const LaunchOptions &options = {});
/// The same for a kernel of the module that was looked up before.
LaunchResult launch(const Module &module, const KernelInfo &kernel, Dim3 grid,
                    Dim3 block, uint64_t dynamicSharedBytes,
                    const std::vector<uint8_t> &params,
                    const LaunchOptions &options = {});

} // namespace ptxvm

#endif // NAG_PTXVM_LAUNCH_H
