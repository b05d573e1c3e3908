// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The log of a training run (Metrics.h) as series over steps.
#ifndef NAG_REPORT_RUNLOG_H
#define NAG_REPORT_RUNLOG_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace nag::report {

/// Values of one metric, one row per step that reported it. NaN where the log
/// has null.
struct Series {
  std::vector<int64_t> steps;
  std::vector<std::vector<double>> rows;
};

/// One run. Metrics go by their path in a line of the log: "loss",
/// "gates.mean", "seconds.apply". Unknown ones are kept.
struct RunLog {
  /// What a legend calls it.
  std::string name;
  /// The file that was read.
  std::string path;
  /// The model's configuration; nothing without a checkpoint.
  std::optional<llvm::json::Object> config;
  /// Metrics that are one number a step: rows of width 1.
  std::map<std::string, Series> numbers;
  /// Metrics that are a list of numbers a step, such as one per sub-layer.
  std::map<std::string, Series> lists;
};

/// Reads a run from its log or from a folder that holds log.jsonl, or else
/// exactly one file .jsonl. The configuration is that of the newest checkpoint
/// in the log's folder or in its folder "checkpoints". A last line without its
/// end is left out: the run may still write it. Fails, naming file and line, on
/// other lines that are no objects with ascending "step", and on empty logs.
llvm::Expected<RunLog> readRunLog(llvm::StringRef path);

/// At most `limit` rows, the last among them: rows that follow each other are
/// averaged (NaN counts for nothing) under the last one's step.
Series averageRows(const Series &series, size_t limit);

/// At most `limit` rows, evenly spread, the first and the last among them.
Series pickRows(const Series &series, size_t limit);

} // namespace nag::report

#endif // NAG_REPORT_RUNLOG_H
