// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Names, findings and counters as text.
#include "Exec/State.h"

#include <algorithm>
#include <cstdio>

namespace ptxvm {
namespace {

constexpr std::pair<Check, std::string_view> checkNames[] = {
    {Check::Bounds, "bounds"},     {Check::Alignment, "alignment"},
    {Check::Lifetime, "lifetime"}, {Check::Uninitialized, "uninitialized"},
    {Check::Races, "races"},       {Check::Barriers, "barriers"},
    {Check::Async, "async"},       {Check::Registers, "registers"}};

constexpr std::string_view findingNames[] = {"out-of-bounds",
                                             "misaligned",
                                             "use-after-free",
                                             "uninitialized-read",
                                             "shared-race",
                                             "global-race",
                                             "divergent-barrier",
                                             "async-before-wait",
                                             "uninitialized-register",
                                             "deadlock",
                                             "trap",
                                             "assert-failed",
                                             "stack-overflow",
                                             "step-limit",
                                             "invalid-branch"};

constexpr std::string_view classNames[] = {
    "integer",      "float32",     "float64",       "half",
    "convert",      "special",     "move",          "predicate",
    "control",      "barrier",     "warp-exchange", "load-global",
    "store-global", "load-shared", "store-shared",  "load-param",
    "local",        "generic",     "atomic",        "async-copy",
    "matrix-load",  "mma"};

std::string text(Dim3 dim) {
  return "(" + std::to_string(dim.x) + "," + std::to_string(dim.y) + "," +
         std::to_string(dim.z) + ")";
}

} // namespace

std::optional<Check> checkFromName(std::string_view name) {
  for (const auto &[check, spelling] : checkNames)
    if (spelling == name)
      return check;
  return std::nullopt;
}

bool parseChecks(std::string_view names, uint32_t &checks) {
  uint32_t found = 0;
  for (size_t begin = 0; begin <= names.size();) {
    size_t end = std::min(names.find(',', begin), names.size());
    std::string_view name = names.substr(begin, end - begin);
    if (name == "all")
      found = allChecks;
    else if (std::optional<Check> check = checkFromName(name))
      found |= static_cast<uint32_t>(*check);
    else if (name != "none")
      return false;
    begin = end + 1;
  }
  checks = found;
  return true;
}

std::string_view nameOf(Check check) {
  for (const auto &[candidate, spelling] : checkNames)
    if (candidate == check)
      return spelling;
  return "";
}
std::string_view nameOf(FindingKind kind) {
  return findingNames[static_cast<size_t>(kind)];
}
std::string_view nameOf(InstructionClass klass) {
  return classNames[static_cast<size_t>(klass)];
}

std::string Finding::str() const {
  std::string line_ = std::string(nameOf(kind)) + ": " + message + " [kernel " +
                      kernel + ", line " + std::to_string(line) + ", block " +
                      text(block) + ", thread " + text(thread);
  if (address) {
    char hex[32];
    std::snprintf(hex, sizeof(hex), "0x%llx",
                  static_cast<unsigned long long>(address));
    line_ += std::string(", address ") + hex;
  }
  if (count > 1)
    line_ += ", " + std::to_string(count) + " times";
  return line_ + "]";
}

void FindingSink::add(FindingKind kind, uint32_t line, const Block &block,
                      unsigned threadIndex, uint64_t address,
                      std::string message) {
  std::lock_guard<std::mutex> lock(guard);
  ++count;
  auto key = std::make_pair(kind, line);
  auto found = findings.find(key);
  Finding fresh;
  fresh.kind = kind;
  fresh.kernel = kernel;
  fresh.line = line;
  fresh.block = block.id;
  fresh.blockIndex = block.index;
  fresh.thread = block.threadId(threadIndex);
  fresh.address = address;
  fresh.message = std::move(message);
  if (found == findings.end()) {
    if (findings.size() < maxFindings)
      findings.emplace(key, std::move(fresh));
    return;
  }
  uint64_t times = found->second.count + 1;
  // Within a block the order is that of execution; between blocks, the lowest.
  if (block.index < found->second.blockIndex)
    found->second = std::move(fresh);
  found->second.count = times;
}

std::vector<Finding> FindingSink::sorted() const {
  std::vector<Finding> list;
  for (const auto &[key, finding] : findings)
    list.push_back(finding);
  return list;
}

void Counters::add(const Counters &other) {
  launches += other.launches;
  blocks += other.blocks;
  threads += other.threads;
  warpInstructions += other.warpInstructions;
  threadInstructions += other.threadInstructions;
  for (size_t k = 0; k < warpInstructionsByClass.size(); ++k)
    warpInstructionsByClass[k] += other.warpInstructionsByClass[k];
  mmaInstructions += other.mmaInstructions;
  tensorFlops += other.tensorFlops;
  otherFlops += other.otherFlops;
  globalBytesRead += other.globalBytesRead;
  globalBytesWritten += other.globalBytesWritten;
  uniqueBytesRead += other.uniqueBytesRead;
  uniqueBytesWritten += other.uniqueBytesWritten;
  globalSectors += other.globalSectors;
  globalSectorsIdeal += other.globalSectorsIdeal;
  sharedWavefronts += other.sharedWavefronts;
  sharedWavefrontsIdeal += other.sharedWavefrontsIdeal;
  atomicOperations += other.atomicOperations;
}

std::vector<std::pair<std::string_view, uint64_t>>
listCounters(const Counters &c) {
  return {{"launches", c.launches},
          {"blocks", c.blocks},
          {"threads", c.threads},
          {"warp_instructions", c.warpInstructions},
          {"thread_instructions", c.threadInstructions},
          {"mma_instructions", c.mmaInstructions},
          {"tensor_flops", c.tensorFlops},
          {"other_flops", c.otherFlops},
          {"global_bytes_read", c.globalBytesRead},
          {"global_bytes_written", c.globalBytesWritten},
          {"unique_bytes_read", c.uniqueBytesRead},
          {"unique_bytes_written", c.uniqueBytesWritten},
          {"global_sectors", c.globalSectors},
          {"global_sectors_ideal", c.globalSectorsIdeal},
          {"shared_wavefronts", c.sharedWavefronts},
          {"shared_wavefronts_ideal", c.sharedWavefrontsIdeal},
          {"shared_bank_conflicts", c.sharedBankConflicts()},
          {"atomic_operations", c.atomicOperations}};
}

} // namespace ptxvm
