// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Findings and counters of all launches, as the extension and the files that
// the environment names show them.
#ifndef PTXVM_DRIVER_RECORDS_H
#define PTXVM_DRIVER_RECORDS_H

#include "nag/PTXVM/Launch.h"

#include <deque>
#include <map>
#include <tuple>

namespace ptxvm::driver {

struct KernelRecord {
  std::string name;
  double seconds = 0;
  Counters counters;
};

class Records {
public:
  /// Adds a launch; findings of a kind and place not seen before are written to
  /// standard error, where they are to be shown, and, as one line of JSON each,
  /// to `findingsFile`.
  void add(const std::string &kernel, const LaunchResult &result,
           const std::string &findingsFile);
  void clear();

  const std::deque<Finding> &findings() const { return found; }
  const std::deque<KernelRecord> &kernels() const { return launched; }
  std::string lastMessage;
  bool showsFindings = true;

  /// One line of JSON per kernel; false when the file cannot be written.
  bool writeCounters(const std::string &file) const;

private:
  std::deque<Finding> found;
  std::map<std::tuple<std::string, FindingKind, uint32_t>, size_t> places;
  std::deque<KernelRecord> launched;
  std::map<std::string, size_t, std::less<>> kernelIndex;
};

} // namespace ptxvm::driver

#endif // PTXVM_DRIVER_RECORDS_H
