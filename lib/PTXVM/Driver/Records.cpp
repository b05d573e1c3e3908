// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Records.h"

#include <cstdio>

namespace ptxvm::driver {

void Records::add(const std::string &kernel, const LaunchResult &result,
                  const std::string &findingsFile) {
  auto known = kernelIndex.find(kernel);
  if (known == kernelIndex.end()) {
    known = kernelIndex.emplace(kernel, launched.size()).first;
    launched.emplace_back();
    launched.back().name = kernel;
  }
  KernelRecord &record = launched[known->second];
  record.seconds += result.seconds;
  record.counters.add(result.counters);
  std::string lines;
  for (const Finding &finding : result.findings) {
    auto place = std::make_tuple(kernel, finding.kind, finding.line);
    auto [at, isNew] = places.emplace(place, found.size());
    if (!isNew) {
      found[at->second].count += finding.count;
      continue;
    }
    found.push_back(finding);
    if (showsFindings)
      std::fprintf(stderr, "ptx-vm: %s\n", finding.str().c_str());
    lines += finding.json() + "\n";
  }
  if (lines.empty() || findingsFile.empty())
    return;
  std::FILE *file = std::fopen(findingsFile.c_str(), "a");
  if (!file || std::fwrite(lines.data(), 1, lines.size(), file) != lines.size())
    std::fprintf(stderr, "ptx-vm: cannot write %s\n", findingsFile.c_str());
  if (file)
    std::fclose(file);
}

void Records::clear() {
  found.clear();
  places.clear();
  launched.clear();
  kernelIndex.clear();
}

bool Records::writeCounters(const std::string &path) const {
  std::FILE *file = std::fopen(path.c_str(), "w");
  if (!file)
    return false;
  bool written = true;
  for (const KernelRecord &kernel : launched) {
    std::string line = "{\"kernel\": " + jsonText(kernel.name) +
                       ", \"seconds\": " + std::to_string(kernel.seconds) +
                       ", " + kernel.counters.jsonMembers() + "}\n";
    written &= std::fwrite(line.data(), 1, line.size(), file) == line.size();
  }
  return std::fclose(file) == 0 && written;
}

} // namespace ptxvm::driver
