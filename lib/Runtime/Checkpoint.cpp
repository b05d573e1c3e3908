// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Checkpoint.h"
#include "nag/Runtime/Errors.h"
#include "nag/Support/Json.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <cmath>

using namespace nag::runtime;
namespace fs = llvm::sys::fs;
namespace json = llvm::json;
namespace path = llvm::sys::path;

static constexpr llvm::StringLiteral filePrefix = "step-";
static constexpr llvm::StringLiteral fileSuffix = ".safetensors";
static constexpr llvm::StringLiteral formatName = "nag-checkpoint-1";
static constexpr llvm::StringLiteral randomName = "philox4x32-10";

//===- The folder ---------------------------------------------------------===//

/// The step of "step-00000500.safetensors".
static std::optional<int64_t> parseStep(llvm::StringRef name) {
  int64_t step;
  if (!name.consume_front(filePrefix) || !name.consume_back(fileSuffix) ||
      name.empty() || !llvm::all_of(name, llvm::isDigit) ||
      name.getAsInteger(10, step))
    return std::nullopt;
  return step;
}

static llvm::Expected<std::vector<std::string>>
listFiles(const std::string &folder) {
  std::vector<std::string> names;
  std::error_code code;
  for (fs::directory_iterator it(folder, code), end; !code && it != end;
       it.increment(code))
    names.push_back(path::filename(it->path()).str());
  if (code)
    return makeSystemError(folder, "cannot list", code.value());
  return names;
}

static std::string getStepPath(const std::string &folder, int64_t step) {
  std::string name =
      llvm::formatv("{0}{1,0+8}{2}", filePrefix, step, fileSuffix);
  llvm::SmallString<128> result(folder);
  path::append(result, name);
  return std::string(result);
}

static llvm::Expected<std::vector<int64_t>>
listStepsIn(const std::string &folder) {
  auto names = listFiles(folder);
  if (!names)
    return names.takeError();
  std::vector<int64_t> steps;
  for (llvm::StringRef name : *names)
    if (std::optional<int64_t> step = parseStep(name))
      steps.push_back(*step);
  llvm::sort(steps);
  return steps;
}

std::string CheckpointFolder::getPath(int64_t step) const {
  return getStepPath(folder, step);
}

llvm::Expected<CheckpointFolder> CheckpointFolder::open(llvm::StringRef path,
                                                        int64_t keep) {
  CheckpointFolder result;
  result.folder = path.str();
  result.keep = keep;
  if (llvm::Error failure = createDirectories(path))
    return failure;
  auto names = listFiles(result.folder);
  if (!names)
    return names.takeError();
  for (llvm::StringRef name : *names)
    if (name.starts_with(filePrefix) &&
        name.ends_with(AtomicFile::temporarySuffix))
      fs::remove(result.folder + "/" + name);
  return result;
}

llvm::Expected<std::vector<int64_t>> CheckpointFolder::listSteps() const {
  return listStepsIn(folder);
}

llvm::Expected<std::optional<std::string>>
CheckpointFolder::findLatest() const {
  auto steps = listSteps();
  if (!steps)
    return steps.takeError();
  if (steps->empty())
    return std::nullopt;
  return getPath(steps->back());
}

llvm::Error
CheckpointFolder::save(const TrainingState &state, const json::Object &config,
                       llvm::ArrayRef<SafetensorsSource> tensors) const {
  json::Object copy = config;
  std::map<std::string, std::string> metadata = {
      {"format", formatName.str()},
      {"step", std::to_string(state.step)},
      {"seed", std::to_string(state.seed)},
      {"random", randomName.str()},
      {"data_position", std::to_string(state.dataPosition)},
      {"data_fingerprint", std::to_string(state.dataFingerprint)},
      {"config", llvm::formatv("{0}", json::Value(std::move(copy))).str()}};
  if (state.executedFlops > 0)
    metadata["executed_flops"] =
        llvm::formatv("{0}", json::Value(state.executedFlops)).str();
  if (llvm::Error failure =
          writeSafetensors(getPath(state.step), tensors, metadata))
    return failure;
  auto steps = listSteps();
  if (!steps)
    return steps.takeError();
  if (keep <= 0 || int64_t(steps->size()) <= keep)
    return llvm::Error::success();
  for (int64_t step : llvm::ArrayRef(*steps).drop_back(keep))
    if (std::error_code code = fs::remove(getPath(step)))
      return makeSystemError(getPath(step), "cannot remove", code.value());
  return llvm::Error::success();
}

llvm::Expected<std::string>
nag::runtime::resolveCheckpoint(llvm::StringRef path) {
  if (!fs::is_directory(path))
    return path.str();
  auto steps = listStepsIn(path.str());
  if (!steps)
    return steps.takeError();
  if (steps->empty())
    return makeError("{0}: expected a folder with checkpoints, but found none",
                     path);
  return getStepPath(path.str(), steps->back());
}

//===- The metadata -------------------------------------------------------===//

static llvm::Error readMetadata(const SafetensorsFile &file,
                                llvm::StringRef field, std::string &value) {
  const std::string *found = file.metadata(field);
  if (!found)
    return makeError("{0}: field '{1}': expected a training checkpoint, but "
                     "the file has no such field",
                     file.path(), field);
  value = *found;
  return llvm::Error::success();
}

static llvm::Error expectMetadata(const SafetensorsFile &file,
                                  llvm::StringRef field,
                                  llvm::StringRef expected) {
  std::string value;
  if (llvm::Error failure = readMetadata(file, field, value))
    return failure;
  if (value == expected)
    return llvm::Error::success();
  return makeError("{0}: field '{1}': expected '{2}', but got '{3}'",
                   file.path(), field, expected, value);
}

template <typename Integer>
static llvm::Error readInteger(const SafetensorsFile &file,
                               llvm::StringRef field, Integer &value) {
  std::string text;
  if (llvm::Error failure = readMetadata(file, field, text))
    return failure;
  if (llvm::StringRef(text).getAsInteger(10, value) || value < Integer(0))
    return makeError("{0}: field '{1}': expected an integer of at least 0, but "
                     "got '{2}'",
                     file.path(), field, text);
  return llvm::Error::success();
}

llvm::Expected<TrainingState>
nag::runtime::readTrainingState(const SafetensorsFile &file) {
  TrainingState state;
  if (llvm::Error failure = expectMetadata(file, "format", formatName))
    return failure;
  if (llvm::Error failure = expectMetadata(file, "random", randomName))
    return failure;
  if (llvm::Error failure = readInteger(file, "step", state.step))
    return failure;
  if (llvm::Error failure = readInteger(file, "seed", state.seed))
    return failure;
  if (llvm::Error failure =
          readInteger(file, "data_position", state.dataPosition))
    return failure;
  if (llvm::Error failure =
          readInteger(file, "data_fingerprint", state.dataFingerprint))
    return failure;
  // Checkpoints of earlier versions have none.
  if (const std::string *flops = file.metadata("executed_flops"))
    if (llvm::StringRef(*flops).getAsDouble(state.executedFlops) ||
        !std::isfinite(state.executedFlops) || state.executedFlops < 0)
      return makeError("{0}: field 'executed_flops': expected a finite number "
                       "of at least 0, but got '{1}'",
                       file.path(), *flops);
  return state;
}

static std::string formatField(const json::Value *value) {
  return value ? llvm::formatv("{0}", *value).str() : "nothing";
}

static llvm::Error compareField(llvm::StringRef path, llvm::StringRef field,
                                const json::Value *expected,
                                const json::Value *found) {
  if (expected && found && *expected == *found)
    return llvm::Error::success();
  return makeError("{0}: config field '{1}': expected {2}, but got {3}", path,
                   field, formatField(expected), formatField(found));
}

llvm::Error nag::runtime::checkConfig(const SafetensorsFile &file,
                                      const json::Object &config,
                                      bool requireConfig,
                                      llvm::ArrayRef<llvm::StringRef> ignored) {
  std::string text;
  if (!requireConfig && !file.metadata("config"))
    return llvm::Error::success();
  if (llvm::Error failure = readMetadata(file, "config", text))
    return failure;
  std::optional<json::Object> found = parseJsonObject(text);
  if (!found)
    return makeError("{0}: field 'config': expected a JSON object",
                     file.path());
  for (const auto &[key, value] : config)
    if (!llvm::is_contained(ignored, llvm::StringRef(key)) &&
        (requireConfig || found->get(key)))
      if (llvm::Error failure =
              compareField(file.path(), key, &value, found->get(key)))
        return failure;
  if (requireConfig)
    for (const auto &[key, value] : *found)
      if (llvm::Error failure =
              compareField(file.path(), key, config.get(key), &value))
        return failure;
  return llvm::Error::success();
}

/// What a model's configuration says of training alone: trained weights mean
/// the same whatever it was.
static constexpr llvm::StringRef trainingOnlyFields[] = {
    "batch",           "seq",          "lr",
    "gate_lr_scale",   "beta1",        "beta2",
    "adam_eps",        "weight_decay", "embed_std",
    "head_std",        "project_std",  "mod_policy",
    "mod_rate",        "mod_kv",       "mod_exempt",
    "mod_warmup",      "mod_ramp",     "mod_aux",
    "mod_temperature", "mod_ema"};

llvm::Expected<ParameterBuffers>
nag::runtime::loadWeights(Program &program, llvm::StringRef checkpoint) {
  llvm::Expected<std::string> path = resolveCheckpoint(checkpoint);
  if (!path)
    return path.takeError();
  llvm::Expected<SafetensorsFile> file = SafetensorsFile::open(*path);
  if (!file)
    return file.takeError();
  if (llvm::Error failure = checkConfig(
          *file, program.config(), /*requireConfig=*/false, trainingOnlyFields))
    return failure;
  if (llvm::Error failure =
          checkNoForeignTensors(*file, program, momentPrefixes))
    return failure;
  llvm::Expected<ParameterBuffers> weights =
      ParameterBuffers::create(program, "", /*zeroed=*/false);
  if (!weights)
    return weights.takeError();
  if (llvm::Error failure = weights->load(*file))
    return failure;
  return weights;
}
