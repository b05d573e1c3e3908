// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "RoutedProgram.h"

#include "nag/Runtime/Checkpoint.h"
#include "nag/Runtime/Elements.h"

#include "llvm/Support/FormatVariadic.h"
#include <algorithm>
#include <cmath>

using namespace llvm;
using namespace nag;
using namespace nag::tool;

static Expected<model::ModelConfig>
chooseConfig(const Model &model, const RoutingOverrides &overrides,
             model::ModPolicy policy) {
  auto config = model.getModel().readConfig();
  if (!config)
    return config.takeError();
  StringRef name = model.getModel().getName();
  if (config->residual != model::Residual::Nag)
    return createStringError(name + ": residual: expected nag, whose gates "
                                    "choose the tokens, but got prenorm");
  if (!config->isRouted() && overrides.exempt < 0)
    config->modExempt = std::min<int64_t>(1, (config->layers - 1) / 2);
  if (overrides.exempt >= 0)
    config->modExempt = overrides.exempt;
  if (2 * config->modExempt >= config->layers)
    return make_error<UsageError>(
        formatv("--mod-exempt: expected fewer than half of the {0} layers, but "
                "got '{1}'",
                config->layers, config->modExempt)
            .str());
  if (!overrides.kv.empty() && overrides.kv != "all" &&
      overrides.kv != "routed")
    return make_error<UsageError>("--mod-kv: expected all or routed, but got "
                                  "'" +
                                  overrides.kv + "'");
  if (!overrides.kv.empty())
    config->modKv =
        overrides.kv == "all" ? model::ModKv::All : model::ModKv::Routed;
  config->modPolicy = policy;
  config->modAux = 0;
  // A ramp leaves the rate of a capacity open until it runs.
  config->modWarmup = 0;
  config->modRamp = policy == model::ModPolicy::Capacity;
  config->modRate = 0;
  return config;
}

Expected<std::unique_ptr<RoutedProgram>>
RoutedProgram::create(const Model &model, StringRef checkpoint,
                      const RoutingOverrides &overrides,
                      model::ModPolicy policy) {
  auto config = chooseConfig(model, overrides, policy);
  if (!config)
    return config.takeError();
  auto built = driver::Model::build(*config);
  if (!built)
    return built.takeError();
  auto result = std::make_unique<RoutedProgram>();
  auto cost = (*built)->measureStep();
  if (!cost)
    return cost.takeError();
  result->cost = *cost;
  auto program = model.compile(**built);
  if (!program)
    return program.takeError();
  result->program = std::move(*program);
  auto weights = runtime::loadWeights(*result->program, checkpoint);
  if (!weights)
    return weights.takeError();
  result->weights = std::move(*weights);
  result->buffers = std::make_unique<runtime::NamedBuffers>(*result->program);
  auto evaluator = runtime::Evaluator::create(
      *result->program, *result->weights, *result->buffers);
  if (!evaluator)
    return evaluator.takeError();
  result->evaluator = std::move(*evaluator);
  if (Error error = runtime::roundParameters(*result->program, *result->weights,
                                             *result->buffers))
    return error;
  auto routing = runtime::Routing::create(*result->program, *result->buffers);
  if (!routing)
    return routing.takeError();
  result->routing = std::move(*routing);
  result->firstRouted = 2 * config->modExempt;
  result->endRouted = 2 * (config->layers - config->modExempt);
  return result;
}

Expected<runtime::Evaluation>
RoutedProgram::evaluate(const runtime::Dataset &dataset,
                        int64_t maxBatches) const {
  runtime::EvaluatorOptions options;
  options.maxBatches = maxBatches;
  int64_t count = 0;
  skips.share.clear();
  flops = 0;
  options.afterBatch = [&]() -> Error {
    auto report = routing.report();
    if (!report)
      return report.takeError();
    skips.share.resize(report->share.size());
    for (auto [sum, share] : zip(skips.share, report->share))
      sum += share;
    auto executed = routing.countFlops(driver::convertCosts(cost.evaluation));
    if (!executed)
      return executed.takeError();
    flops += *executed;
    ++count;
    return Error::success();
  };
  auto result = evaluator->run(dataset, options);
  for (double &share : skips.share)
    share /= double(std::max<int64_t>(count, 1));
  flops /= double(std::max<int64_t>(count, 1));
  return result;
}

Expected<std::vector<std::vector<double>>>
RoutedProgram::collectScores(const runtime::Dataset &dataset, int64_t batches) {
  const runtime::TensorInfo info = *buffers->lookup("gates");
  int64_t tokens = info.shape[1] * info.shape[2];
  auto text = runtime::TrainingBatches::create(
      dataset.training(), info.shape[1], info.shape[2], /*seed=*/0);
  if (!text)
    return text.takeError();
  auto loss = runtime::BoundFunction::bind(*program, "loss", {{"", &*weights}},
                                           *buffers);
  if (!loss)
    return loss.takeError();
  std::vector<std::vector<double>> scores(countRoutedSubLayers());
  std::vector<int32_t> inputs(tokens), targets(tokens);
  std::vector<char> bytes(info.getByteSize());
  if (Error error = buffers->writeScalar("gate_scale", 1))
    return error;
  for (int64_t batch = 0; batch < batches; ++batch) {
    text->fill(batch * info.shape[1], inputs.data(), targets.data());
    if (Error error = buffers->write("tokens", inputs.data()))
      return error;
    if (Error error = buffers->write("targets", targets.data()))
      return error;
    if (Error error = loss->call())
      return error;
    if (Error error = buffers->read("gates", bytes.data()))
      return error;
    for (int64_t i = firstRouted * tokens; i < endRouted * tokens; ++i)
      scores[i / tokens - firstRouted].push_back(
          std::abs(runtime::readElement(info.dtype, bytes.data(), i)));
  }
  return scores;
}

Error RoutedProgram::setThresholds(ArrayRef<double> routed) {
  std::vector<double> thresholds(buffers->lookup("gates")->shape[0], 0);
  copy(routed, thresholds.begin() + firstRouted);
  return routing.setThresholds(thresholds);
}
