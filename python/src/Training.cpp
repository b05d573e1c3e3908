// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Whole runs on files: what nagc train and nagc eval do.
#include "Program.h"

#include "nag/Driver/Model.h"
#include "nag/Runtime/Evaluator.h"
#include "nag/Runtime/Routing.h"
#include "nag/Runtime/Trainer.h"

#include <nanobind/stl/function.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;
using namespace nag;
using namespace nag::python;
using runtime::TrainerOptions;

namespace {
/// A data set's options from Python.
struct Data {
  std::vector<std::string> paths;
  double validationFraction;
  double bytesPerToken;
};
} // namespace

static llvm::Expected<runtime::Dataset> open(const Data &data,
                                             const runtime::Program &program) {
  runtime::DatasetOptions options;
  options.paths = data.paths;
  options.validationFraction = data.validationFraction;
  options.bytesPerToken = data.bytesPerToken;
  if (auto vocabulary = program.config().getInteger("vocab"))
    options.vocabulary = *vocabulary;
  return runtime::Dataset::open(options);
}

/// Fields of TrainerOptions by their names in Python.
static void setOptions(TrainerOptions &options, nb::dict values) {
  const std::pair<const char *, int64_t TrainerOptions::*> integers[] = {
      {"steps", &TrainerOptions::steps},
      {"warmup", &TrainerOptions::warmupSteps},
      {"alpha_warmup", &TrainerOptions::alphaWarmupSteps},
      {"accumulate", &TrainerOptions::accumulation},
      {"val_interval", &TrainerOptions::validationInterval},
      {"val_batches", &TrainerOptions::validationBatches},
      {"gate_interval", &TrainerOptions::gateInterval},
      {"checkpoint_interval", &TrainerOptions::checkpointInterval},
      {"keep", &TrainerOptions::keepCheckpoints}};
  const std::pair<const char *, double TrainerOptions::*> numbers[] = {
      {"decay_floor", &TrainerOptions::decayFloor},
      {"clip", &TrainerOptions::clip},
      {"flops_budget", &TrainerOptions::flopsBudget}};
  for (auto [name, field] : integers)
    if (values.contains(name))
      options.*field = nb::cast<int64_t>(values[name]);
  for (auto [name, field] : numbers)
    if (values.contains(name))
      options.*field = nb::cast<double>(values[name]);
  if (values.contains("lr"))
    options.learningRate = nb::cast<double>(values["lr"]);
  if (values.contains("seed"))
    options.seed = nb::cast<uint64_t>(values["seed"]);
  if (values.contains("resume"))
    options.resume = nb::cast<bool>(values["resume"]);
  if (values.contains("checkpoint_dir"))
    options.checkpointFolder = nb::cast<std::string>(values["checkpoint_dir"]);
  if (values.contains("log"))
    options.logPath = nb::cast<std::string>(values["log"]);
}

static nb::object toObject(const std::optional<runtime::Evaluation> &value) {
  if (!value)
    return nb::none();
  nb::object bits = nb::none();
  if (value->bitsPerByte)
    bits = nb::cast(*value->bitsPerByte);
  return nb::make_tuple(value->loss, bits, value->tokens);
}

static nb::tuple train(const Program &program, const driver::Model &model,
                       const std::vector<std::string> &paths,
                       double validationFraction, double bytesPerToken,
                       nb::dict values, bool progress) {
  runtime::Program &compiled = program.state->get();
  TrainerOptions options;
  setOptions(options, values);
  check(options.check(), ErrorKind::Argument);
  if (progress)
    options.progress = &llvm::outs();
  auto run = [&]() -> llvm::Expected<runtime::TrainingResult> {
    nb::gil_scoped_release released;
    options.costs = model.countExecution();
    std::lock_guard<std::mutex> lock(program.state->mutex);
    auto dataset = open({paths, validationFraction, bytesPerToken}, compiled);
    if (!dataset)
      return dataset.takeError();
    auto trainer = runtime::Trainer::create(compiled, *dataset, options);
    if (!trainer)
      return trainer.takeError();
    auto result = (*trainer)->run();
    llvm::outs().flush();
    return result;
  };
  runtime::TrainingResult result = take(run());
  return nb::make_tuple(result.step, result.loss, toObject(result.validation),
                        result.checkpoint, result.signal);
}

static nb::object evaluate(const Program &program, const Weights &weights,
                           const std::string &checkpoint,
                           const std::vector<std::string> &paths,
                           double validationFraction, double bytesPerToken,
                           int64_t batches) {
  runtime::Program &compiled = program.state->get();
  auto run = [&]() -> llvm::Expected<runtime::Evaluation> {
    nb::gil_scoped_release released;
    std::lock_guard<std::mutex> lock(program.state->mutex);
    auto dataset = open({paths, validationFraction, bytesPerToken}, compiled);
    if (!dataset)
      return dataset.takeError();
    runtime::NamedBuffers buffers(compiled);
    auto evaluator =
        runtime::Evaluator::create(compiled, weights.buffers, buffers);
    if (!evaluator)
      return evaluator.takeError();
    auto routing = runtime::Routing::create(compiled, buffers);
    if (!routing)
      return routing.takeError();
    if (llvm::Error failure = runtime::loadThresholds(*routing, checkpoint))
      return failure;
    runtime::EvaluatorOptions options;
    options.maxBatches = batches;
    return evaluator->run(*dataset, options);
  };
  return toObject(take(run()));
}

void nag::python::bindTraining(nb::module_ &module) {
  module.def("train", &train, nb::arg("program"), nb::arg("model"),
             nb::arg("paths"), nb::arg("val_fraction"),
             nb::arg("bytes_per_token"), nb::arg("options"),
             nb::arg("progress"));
  module.def("evaluate", &evaluate, nb::arg("program"), nb::arg("weights"),
             nb::arg("checkpoint"), nb::arg("paths"), nb::arg("val_fraction"),
             nb::arg("bytes_per_token"), nb::arg("batches"));
}
