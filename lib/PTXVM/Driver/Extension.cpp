// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "State.h"
#include "nag/PTXVM/CudaExtension.h"

using namespace ptxvm;
using namespace ptxvm::driver;

namespace {

/// Name and value of every counter: scalars, then instructions by class.
std::vector<std::pair<std::string, uint64_t>>
allCounters(const Counters &counters) {
  std::vector<std::pair<std::string, uint64_t>> list;
  for (const auto &[name, value] : listCounters(counters))
    list.emplace_back(name, value);
  for (size_t k = 0; k < counters.warpInstructionsByClass.size(); ++k)
    list.emplace_back("warp_instructions." +
                          std::string(nameOf(static_cast<InstructionClass>(k))),
                      counters.warpInstructionsByClass[k]);
  return list;
}

const std::vector<std::pair<std::string, uint64_t>> &counterNames() {
  static const auto *names =
      new std::vector<std::pair<std::string, uint64_t>>(allCounters({}));
  return *names;
}

/// 0 when `body` ran and agreed, else 1.
template <typename Fn> int query(Fn body) {
  return anytime([&](Driver &state) {
           return body(state) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
         }) == CUDA_SUCCESS
             ? 0
             : 1;
}

void put(uint32_t (&target)[3], Dim3 dim) {
  target[0] = dim.x;
  target[1] = dim.y;
  target[2] = dim.z;
}

} // namespace

int nagPtxvmExtensionVersion(void) { return NAG_PTXVM_EXTENSION_VERSION; }

int nagPtxvmConfigure(const char *checks, int counters) {
  return query([&](Driver &state) {
    if (checks && !parseChecks(checks, state.settings.checks))
      return false;
    state.settings.counters = counters != 0;
    return true;
  });
}

void nagPtxvmShowFindings(int show) {
  query([&](Driver &state) {
    state.records.showsFindings = show != 0;
    return true;
  });
}

size_t nagPtxvmFindingCount(void) {
  size_t count = 0;
  query([&](Driver &state) {
    count = state.records.findings().size();
    return true;
  });
  return count;
}

int nagPtxvmGetFinding(size_t index, NagPtxvmFinding *result) {
  return query([&](Driver &state) {
    if (!result || index >= state.records.findings().size())
      return false;
    const Finding &finding = state.records.findings()[index];
    result->kind = nameOf(finding.kind).data();
    result->kernel = finding.kernel.c_str();
    result->message = finding.message.c_str();
    result->line = finding.line;
    put(result->block, finding.block);
    put(result->thread, finding.thread);
    result->address = finding.address;
    result->count = finding.count;
    return true;
  });
}

size_t nagPtxvmKernelCount(void) {
  size_t count = 0;
  query([&](Driver &state) {
    count = state.records.kernels().size();
    return true;
  });
  return count;
}

int nagPtxvmGetKernel(size_t index, NagPtxvmKernel *result) {
  return query([&](Driver &state) {
    if (!result || index >= state.records.kernels().size())
      return false;
    const KernelRecord &kernel = state.records.kernels()[index];
    result->name = kernel.name.c_str();
    result->launches = kernel.counters.launches;
    result->seconds = kernel.seconds;
    return true;
  });
}

size_t nagPtxvmCounterCount(void) { return counterNames().size(); }

const char *nagPtxvmCounterName(size_t index) {
  return index < counterNames().size() ? counterNames()[index].first.c_str()
                                       : nullptr;
}

int nagPtxvmGetCounters(size_t kernel, uint64_t *values, size_t count) {
  return query([&](Driver &state) {
    if (!values || kernel >= state.records.kernels().size() ||
        count > counterNames().size())
      return false;
    auto list = allCounters(state.records.kernels()[kernel].counters);
    for (size_t k = 0; k < count; ++k)
      values[k] = list[k].second;
    return true;
  });
}

const char *nagPtxvmLastMessage(void) {
  static thread_local std::string message;
  query([&](Driver &state) {
    message = state.records.lastMessage;
    return true;
  });
  return message.c_str();
}

void nagPtxvmReset(void) {
  query([](Driver &state) {
    state.records.clear();
    return true;
  });
}
