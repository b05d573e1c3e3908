// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Settings.h"

#include "nag/PTXVM/Launch.h"

#include <cerrno>
#include <cstdlib>
#include <unistd.h>

namespace ptxvm::driver {
namespace {

bool readText(const char *name, std::string &text) {
  const char *value = std::getenv(name);
  if (!value || !*value)
    return false;
  text = value;
  return true;
}

bool wrong(std::string &problem, const char *name, const std::string &expected,
           const std::string &found) {
  problem = std::string(name) + ": expected " + expected + ", but got '" +
            found + "'";
  return false;
}

/// A positive whole number; unset leaves `value`.
bool readNumber(const char *name, uint64_t &value, uint64_t limit,
                std::string &problem) {
  std::string text;
  if (!readText(name, text))
    return true;
  char *end = nullptr;
  errno = 0;
  unsigned long long number = std::strtoull(text.c_str(), &end, 10);
  if (*end || errno || text[0] == '-' || number == 0 || number > limit)
    return wrong(problem, name,
                 "a whole number from 1 to " + std::to_string(limit), text);
  value = number;
  return true;
}

uint64_t physicalMemory() {
  long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0
             ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(size)
             : uint64_t(4) << 30;
}

} // namespace

bool Settings::readEnvironment(std::string &problem) {
  std::string text;
  if (readText("NAG_PTXVM_CHIP", text)) {
    if (text != "sm_80" && text != "sm_90" && text != "sm_90a")
      return wrong(problem, "NAG_PTXVM_CHIP", "sm_80 or sm_90", text);
    major = text == "sm_80" ? 8 : 9;
  }
  checks = allChecks;
  if (readText("NAG_PTXVM_CHECKS", text) && !parseChecks(text, checks))
    return wrong(problem, "NAG_PTXVM_CHECKS", "all, none or names of checks",
                 text);
  counters = readText("NAG_PTXVM_COUNTERS", countersFile);
  readText("NAG_PTXVM_FINDINGS", findingsFile);
  uint64_t megabytes = physicalMemory() / 2 >> 20, hostThreads = 0;
  if (!readNumber("NAG_PTXVM_MEMORY_MB", megabytes, 1 << 20, problem) ||
      !readNumber("NAG_PTXVM_THREADS", hostThreads, 1024, problem) ||
      !readNumber("NAG_PTXVM_BRANCH_LIMIT", branchLimit, ~0ull, problem))
    return false;
  memoryBytes = megabytes << 20;
  threads = static_cast<unsigned>(hostThreads);
  return true;
}

DeviceLimits limitsOf(const Settings &settings) {
  if (settings.major == 8)
    return {108, 164 * 1024, 163 * 1024, 40 << 20};
  return {132, 228 * 1024, 227 * 1024, 50 << 20};
}

} // namespace ptxvm::driver
