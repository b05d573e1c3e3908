// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nagc calibrate: thresholds of depth routing for a rate, stored with a
// checkpoint.
#include "Calibration.h"

#include "nag/Runtime/Checkpoint.h"

#include "llvm/Support/FormatVariadic.h"

using namespace llvm;
using namespace nag;

static cl::SubCommand
    calibrateCommand("calibrate",
                     "Find the thresholds that let a share of the tokens skip");

static tool::SessionOptions session(calibrateCommand);
static tool::DataOptions data(calibrateCommand);
static cl::opt<std::string>
    checkpoint("checkpoint", cl::sub(calibrateCommand), cl::Required,
               cl::value_desc("path"),
               cl::desc("A checkpoint, or a folder with the newest of them"));
static tool::NumberOption
    rate("mod-rate", cl::sub(calibrateCommand), cl::Required,
         cl::value_desc("R"),
         cl::desc("Share of the tokens that skip a routed "
                  "sub-layer, in [0, 1)"));
static cl::opt<int64_t> batches("batches", cl::sub(calibrateCommand),
                                cl::init(16), cl::value_desc("N"),
                                tool::describe("Batches of text to look at",
                                               16));
static cl::opt<bool> isGlobal("global", cl::sub(calibrateCommand),
                              cl::desc("One threshold for all sub-layers"));
static cl::opt<std::string>
    output("o", cl::sub(calibrateCommand), cl::value_desc("file"),
           cl::desc("Write the checkpoint with its thresholds to a file of its "
                    "own (default: into the checkpoint)"));

static Error checkUse() {
  if (!(rate >= 0 && rate < 1))
    return make_error<tool::UsageError>(
        formatv("--mod-rate: expected a rate in [0, 1), but got '{0}'",
                rate.getValue())
            .str());
  if (batches < 1)
    return make_error<tool::UsageError>(
        "--batches: expected 1 or more, but got '" + Twine(batches) + "'");
  return Error::success();
}

/// Everything in the file, the thresholds in place of old ones.
static Error store(StringRef path, ArrayRef<double> thresholds) {
  auto file = runtime::SafetensorsFile::open(path);
  if (!file)
    return file.takeError();
  std::vector<float> values(thresholds.begin(), thresholds.end());
  std::vector<runtime::SafetensorsSource> sources;
  for (const auto &[name, entry] : file->entries())
    if (name != runtime::thresholdsTensor)
      sources.push_back({name, entry.dtype, entry.shape,
                         [data = entry.data]() -> Expected<const void *> {
                           return data.data();
                         }});
  sources.push_back(
      {runtime::thresholdsTensor.str(),
       runtime::DType::F32,
       {static_cast<int64_t>(values.size())},
       [&]() -> Expected<const void *> { return values.data(); }});
  std::map<std::string, std::string> metadata;
  for (const auto &entry : file->allMetadata())
    metadata[entry.getKey().str()] = entry.getValue();
  return runtime::writeSafetensors(output.empty() ? path : StringRef(output),
                                   sources, metadata);
}

/// A program with thresholds for the rate. That of the capacity ends before it
/// begins: each has weights and activations of its own.
static Expected<std::unique_ptr<tool::RoutedProgram>>
createCalibrated(const tool::Model &model, const runtime::Dataset &dataset,
                 StringRef file) {
  std::vector<double> start;
  if (!isGlobal) {
    auto capacity = tool::RoutedProgram::create(model, file, {},
                                                model::ModPolicy::Capacity);
    if (!capacity)
      return capacity.takeError();
    auto found =
        tool::findCapacityThresholds(**capacity, dataset, rate, batches);
    if (!found)
      return found.takeError();
    start = std::move(*found);
  }
  auto program =
      tool::RoutedProgram::create(model, file, {}, model::ModPolicy::Threshold);
  if (!program)
    return program.takeError();
  if (Error error =
          isGlobal ? tool::calibrateGlobally(**program, dataset, rate, batches)
                   : tool::calibrate(**program, dataset, rate, batches, start))
    return error;
  return program;
}

static Expected<int> run() {
  if (Error error = checkUse())
    return error;
  auto trial = tool::openTrial(session, data, checkpoint);
  if (!trial)
    return trial.takeError();
  auto &[model, dataset, file] = *trial;
  auto program = createCalibrated(*model, dataset, file);
  if (!program)
    return program.takeError();
  auto thresholds = (*program)->getThresholds();
  if (!thresholds)
    return thresholds.takeError();
  if (Error error = store(file, *thresholds))
    return error;
  for (auto [index, value] : enumerate(*thresholds))
    outs() << formatv("sub-layer {0,3} {1,-9} threshold {2:f4}\n", index,
                      index % 2 ? "mlp" : "attention", value);
  outs() << "thresholds in " << (output.empty() ? file : output.getValue())
         << '\n';
  return tool::kDone;
}

tool::Command nag::tool::getCalibrateCommand() {
  return {calibrateCommand, run};
}
