// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Report/RunLog.h"
#include "nag/Runtime/Checkpoint.h"
#include "nag/Runtime/Errors.h"
#include "nag/Runtime/Files.h"
#include "nag/Support/Json.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <cmath>

using namespace llvm;
using namespace nag;
using namespace nag::report;
using nag::runtime::makeError;

static constexpr StringLiteral kLogName = "log.jsonl";

//===- Lines
//---------------------------------------------------------------===//

static std::optional<double> asNumber(const json::Value &value) {
  if (value.getAsNull())
    return NAN;
  return value.getAsNumber();
}

/// The numbers of a list; nothing when it holds anything else or nothing.
static std::optional<std::vector<double>> asNumbers(const json::Array &array) {
  std::vector<double> numbers;
  for (const json::Value &element : array) {
    std::optional<double> number = asNumber(element);
    if (!number)
      return std::nullopt;
    numbers.push_back(*number);
  }
  if (numbers.empty())
    return std::nullopt;
  return numbers;
}

static void append(Series &series, int64_t step, std::vector<double> row) {
  series.steps.push_back(step);
  series.rows.push_back(std::move(row));
}

static void addMetrics(RunLog &run, int64_t step, const json::Object &object,
                       const std::string &prefix) {
  for (const auto &[key, value] : object) {
    std::string name = prefix + key.str();
    if (const json::Object *nested = value.getAsObject())
      addMetrics(run, step, *nested, name + ".");
    else if (const json::Array *array = value.getAsArray()) {
      if (auto row = asNumbers(*array))
        append(run.lists[name], step, std::move(*row));
    } else if (auto number = asNumber(value); number && name != "step")
      append(run.numbers[name], step, {*number});
  }
}

static Error readLines(RunLog &run, StringRef text) {
  int64_t last = -1;
  for (size_t number = 1; text.contains('\n'); ++number) {
    auto [line, rest] = text.split('\n');
    text = rest;
    auto object = parseJsonObject(line);
    if (!object)
      return makeError("{0}:{1}: expected a JSON object, but got '{2}'",
                       run.path, number, line.take_front(40));
    std::optional<int64_t> step = object->getInteger("step");
    if (!step || *step <= last)
      return makeError("{0}:{1}: field 'step': expected an integer above {2}, "
                       "but got {3}",
                       run.path, number, last,
                       step ? std::to_string(*step) : "none");
    last = *step;
    addMetrics(run, *step, *object, "");
  }
  if (last < 0)
    return makeError("{0}: expected a line of JSON per step, but found none",
                     run.path);
  return Error::success();
}

//===- Files
//---------------------------------------------------------------===//

/// The log in a folder.
static Expected<std::string> findLog(StringRef folder) {
  SmallString<128> usual(folder);
  sys::path::append(usual, kLogName);
  if (sys::fs::exists(usual))
    return std::string(usual);
  std::vector<std::string> found;
  std::error_code code;
  for (sys::fs::directory_iterator it(folder, code), end; !code && it != end;
       it.increment(code))
    if (sys::path::extension(it->path()) == ".jsonl")
      found.push_back(it->path());
  if (code)
    return runtime::makeSystemError(folder, "cannot list", code.value());
  if (found.size() == 1)
    return found.front();
  return makeError("{0}: expected a folder with {1} or one other file .jsonl, "
                   "but found {2} of them",
                   folder, kLogName, found.size());
}

/// What tells the run from others: the folder of a log.jsonl, else the file.
static std::string getName(StringRef log) {
  StringRef folder = sys::path::parent_path(log);
  if (sys::path::filename(log) == kLogName && !folder.empty() && folder != ".")
    return sys::path::filename(folder).str();
  return sys::path::stem(log).str();
}

/// The configuration in the newest checkpoint of a folder, if there is one.
static std::optional<json::Object> findConfig(StringRef folder) {
  if (!sys::fs::is_directory(folder))
    return std::nullopt;
  Expected<std::string> checkpoint = runtime::resolveCheckpoint(folder);
  if (!checkpoint) {
    consumeError(checkpoint.takeError());
    return std::nullopt;
  }
  auto file = runtime::SafetensorsFile::open(*checkpoint);
  if (!file) {
    consumeError(file.takeError());
    return std::nullopt;
  }
  const std::string *text = file->metadata("config");
  return text ? parseJsonObject(*text) : std::nullopt;
}

Expected<RunLog> nag::report::readRunLog(StringRef path) {
  RunLog run;
  run.path = path.str();
  if (sys::fs::is_directory(path)) {
    Expected<std::string> log = findLog(path.rtrim('/'));
    if (!log)
      return log.takeError();
    run.path = *log;
  }
  run.name = getName(run.path);
  auto file = runtime::MappedFile::open(run.path);
  if (!file)
    return file.takeError();
  if (Error error = readLines(run, toStringRef(file->bytes())))
    return error;
  StringRef parent = sys::path::parent_path(run.path);
  SmallString<128> folder(parent.empty() ? StringRef(".") : parent);
  run.config = findConfig(folder);
  if (!run.config) {
    sys::path::append(folder, "checkpoints");
    run.config = findConfig(folder);
  }
  return run;
}

//===- Thinning
//------------------------------------------------------------===//

static std::vector<double> average(ArrayRef<std::vector<double>> rows) {
  std::vector<double> result(rows.back().size(), NAN);
  for (size_t column = 0; column != result.size(); ++column) {
    double sum = 0;
    int64_t count = 0;
    for (const std::vector<double> &row : rows) {
      if (column >= row.size() || std::isnan(row[column]))
        continue;
      sum += row[column];
      ++count;
    }
    if (count)
      result[column] = sum / double(count);
  }
  return result;
}

Series nag::report::averageRows(const Series &series, size_t limit) {
  if (series.rows.size() <= limit)
    return series;
  Series result;
  for (size_t i = 0; i != limit; ++i) {
    size_t begin = i * series.rows.size() / limit;
    size_t end = (i + 1) * series.rows.size() / limit;
    append(result, series.steps[end - 1],
           average(ArrayRef(series.rows).slice(begin, end - begin)));
  }
  return result;
}

Series nag::report::pickRows(const Series &series, size_t limit) {
  if (series.rows.size() <= limit)
    return series;
  Series result;
  for (size_t i = 0; i != limit; ++i) {
    size_t row = i * (series.rows.size() - 1) / (limit - 1);
    append(result, series.steps[row], series.rows[row]);
  }
  return result;
}
