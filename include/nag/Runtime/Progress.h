// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a person watching a run sees.
#ifndef NAG_RUNTIME_PROGRESS_H
#define NAG_RUNTIME_PROGRESS_H

#include "nag/Runtime/Metrics.h"
#include "llvm/Support/raw_ostream.h"
#include <chrono>

namespace nag::runtime {

/// On a terminal one line that is redrawn (at most ten times a second), else a
/// plain line every twentieth of the run and at every validation.
class Progress {
public:
  /// Counts steps first + 1, ..., total. Prints nothing when `stream` is null.
  Progress(llvm::raw_ostream *stream, bool isTerminal, int64_t first,
           int64_t total);
  ~Progress() { finish(); }
  Progress(const Progress &) = delete;
  Progress &operator=(const Progress &) = delete;

  void update(const StepMetrics &metrics);
  /// A line of its own.
  void message(llvm::StringRef text);
  /// Leaves the redrawn line as it last was.
  void finish();

private:
  using Clock = std::chrono::steady_clock;

  void draw(const StepMetrics &metrics);
  void print(const StepMetrics &metrics);
  double getSecondsLeft(int64_t step) const;

  llvm::raw_ostream *out;
  bool terminal, drawn = false;
  int64_t firstStep, totalSteps;
  Clock::time_point start, lastDrawn;
};

/// "0:07", "12:34", "1:02:03".
std::string formatDuration(double seconds);

} // namespace nag::runtime

#endif // NAG_RUNTIME_PROGRESS_H
