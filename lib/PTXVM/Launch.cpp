// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/PTXVM/Launch.h"

#include "Exec/State.h"
#include "Exec/Workers.h"

#include <algorithm>
#include <thread>

namespace ptxvm {
namespace {

constexpr uint64_t fenceTableLimit = 1 << 22;

LaunchResult refuse(LaunchStatus status, std::string message) {
  LaunchResult result;
  result.status = status;
  result.message = std::move(message);
  return result;
}

std::string text(Dim3 dim) {
  return std::to_string(dim.x) + "," + std::to_string(dim.y) + "," +
         std::to_string(dim.z);
}

/// Grid, block and shared memory against the limits of the machine and kernel.
std::optional<LaunchResult> checkShape(const KernelInfo &kernel, Dim3 grid,
                                       Dim3 block, uint64_t dynamicShared) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffff ||
      grid.y > 65535 || grid.z > 65535)
    return refuse(LaunchStatus::InvalidValue,
                  "expected a grid from 1,1,1 to 2147483647,65535,65535, but "
                  "got " +
                      text(grid));
  if (block.x == 0 || block.y == 0 || block.z == 0 || block.x > 1024 ||
      block.y > 1024 || block.z > 64 || block.count() > maxThreadsPerBlock)
    return refuse(LaunchStatus::InvalidValue,
                  "expected a block of 1 to 1024 threads, but got " +
                      text(block));
  if (block.count() > kernel.maxThreads)
    return refuse(LaunchStatus::InvalidValue,
                  "expected at most " + std::to_string(kernel.maxThreads) +
                      " threads per block for kernel '" + kernel.name +
                      "', but got " + std::to_string(block.count()));
  const auto &required = kernel.requiredThreads;
  if (required[0] &&
      (block.x != required[0] || block.y != std::max(required[1], 1u) ||
       block.z != std::max(required[2], 1u)))
    return refuse(LaunchStatus::InvalidValue,
                  "expected the block size that .reqntid names, but got " +
                      text(block));
  if (dynamicShared > maxSharedBytes ||
      kernel.staticSharedBytes + dynamicShared > maxSharedBytes)
    return refuse(LaunchStatus::OutOfResources,
                  "expected at most " + std::to_string(maxSharedBytes) +
                      " bytes of shared memory, but got " +
                      std::to_string(kernel.staticSharedBytes + dynamicShared));
  return std::nullopt;
}

void countInstructions(const Launch &launch,
                       const std::vector<InstructionCount> &counts,
                       Counters &counters) {
  for (size_t k = 0; k < counts.size(); ++k) {
    const InstructionCount &count = counts[k];
    if (count.warps == 0)
      continue;
    const Inst &inst = launch.program->code[launch.kernelCode->codeBegin + k];
    counters.warpInstructions += count.warps;
    counters.threadInstructions += count.lanes;
    counters.warpInstructionsByClass[inst.klass] += count.warps;
    if (static_cast<InstructionClass>(inst.klass) == InstructionClass::Mma) {
      counters.mmaInstructions += count.warps;
      counters.tensorFlops += count.warps * inst.flops;
    } else {
      counters.otherFlops += count.lanes * inst.flops;
    }
  }
}

void countUnique(DeviceMemory &memory, Counters &counters) {
  memory.forEachLive([&](const Allocation &allocation) {
    const uint8_t *touched = memory.touchedShadow(allocation.address);
    uint64_t read = 0, written = 0;
    for (uint64_t k = 0; k < allocation.size; ++k) {
      read += touched[k] & 1;
      written += touched[k] >> 1 & 1;
    }
    counters.uniqueBytesRead += read;
    counters.uniqueBytesWritten += written;
  });
}

void runWorkers(Launch &state, unsigned workers, Counters &counters) {
  std::mutex guard;
  runOnWorkers(workers, [&] {
    try {
      BlockRunner runner(state);
      runner.runAll();
      std::lock_guard<std::mutex> lock(guard);
      counters.add(runner.result());
      countInstructions(state, runner.instructions(), counters);
    } catch (const std::bad_alloc &) {
      state.abort(LaunchStatus::OutOfResources, "out of host memory");
    }
  });
}

/// True when blocks of the kernel may wait for others.
bool mayWait(const Program &program, const KernelCode &kernel) {
  const std::vector<uint32_t> &loads = program.strongLoads;
  auto first = std::lower_bound(loads.begin(), loads.end(), kernel.codeBegin);
  return first != loads.end() && *first < kernel.codeEnd;
}

/// Where instructions and bytes are counted, blocks that may wait run one after
/// the other: how often they look would follow the host's threads.
unsigned workerCount(const LaunchOptions &options, const Launch &state,
                     uint64_t blocks) {
  if (options.profile && mayWait(*state.program, *state.kernelCode))
    return 1;
  unsigned wanted =
      options.threads ? options.threads : std::thread::hardware_concurrency();
  return static_cast<unsigned>(
      std::min<uint64_t>(std::max(wanted, 1u), blocks));
}

} // namespace

void Launch::abort(LaunchStatus why, std::string text) {
  std::lock_guard<std::mutex> lock(guard);
  if (!stop) {
    status = why;
    message = std::move(text);
  }
  stop = true;
}

LaunchResult launch(const Module &module, std::string_view name, Dim3 grid,
                    Dim3 block, uint64_t dynamicSharedBytes,
                    const std::vector<uint8_t> &params,
                    const LaunchOptions &options) {
  const KernelInfo *kernel = module.findKernel(name);
  if (!kernel)
    return refuse(LaunchStatus::InvalidValue,
                  "no kernel '" + std::string(name) + "' in the module");
  return launch(module, *kernel, grid, block, dynamicSharedBytes, params,
                options);
}

LaunchResult launch(const Module &module, const KernelInfo &kernel, Dim3 grid,
                    Dim3 block, uint64_t dynamicSharedBytes,
                    const std::vector<uint8_t> &params,
                    const LaunchOptions &options) {
  const Program &program = module.program();
  if (params.size() != kernel.paramBytes)
    return refuse(LaunchStatus::InvalidValue,
                  "expected " + std::to_string(kernel.paramBytes) +
                      " bytes of parameters for kernel '" + kernel.name +
                      "', but got " + std::to_string(params.size()));
  if (auto refused = checkShape(kernel, grid, block, dynamicSharedBytes))
    return *refused;
  static std::atomic<uint64_t> nextId{1};
  Launch state;
  state.program = &program;
  state.kernel = &kernel;
  state.kernelCode =
      &program.kernelCodes[static_cast<size_t>(&kernel - &module.kernels()[0])];
  state.memory = &module.memory();
  state.grid = grid;
  state.blockDim = block;
  state.dynamicShared = dynamicSharedBytes;
  state.sharedBytes = program.dynamicSharedBase + dynamicSharedBytes;
  state.localBytes = (state.kernelCode->stackBytes + 15) / 16 * 16;
  state.params = params;
  state.params.resize(params.size() + 32);
  state.options = options;
  state.id = nextId++;
  FindingSink findings(kernel.name, options.maxFindings);
  state.findings = &findings;
  if (state.checks(Check::Races) && grid.count() <= fenceTableLimit)
    state.fenceClocks = std::vector<std::atomic<uint32_t>>(grid.count());
  if (!state.memory->beginLaunch(options.profile, state.checks(Check::Races)))
    return refuse(LaunchStatus::OutOfResources,
                  "not enough address space for race checks and profiling");
  if (!state.checks(Check::Uninitialized))
    state.memory->stopTracking();
  LaunchResult result;
  result.counters.launches = 1;
  state.start = std::chrono::steady_clock::now();
  state.workers = workerCount(options, state, grid.count());
  runWorkers(state, state.workers, result.counters);
  result.seconds = std::chrono::duration<double>(
                       std::chrono::steady_clock::now() - state.start)
                       .count();
  if (options.profile)
    countUnique(*state.memory, result.counters);
  result.status = state.status;
  result.message = state.message;
  result.findings = findings.sorted();
  result.findingsTotal = findings.total();
  for (const auto &[index, output] : state.output)
    result.output += output;
  return result;
}

} // namespace ptxvm
