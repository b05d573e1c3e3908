// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "RoutingSweep.h"

#include "nag/Runtime/Checkpoint.h"
#include "nag/Runtime/Elements.h"

#include "llvm/Support/FormatVariadic.h"
#include <algorithm>
#include <cmath>

using namespace llvm;
using namespace nag;
using namespace nag::tool;

//===- A program with another policy --------------------------------------===//

static Expected<model::ModelConfig> chooseConfig(const Model &model,
                                                 const SweepOptions &options,
                                                 model::ModPolicy policy) {
  auto config = model.getModel().readConfig();
  if (!config)
    return config.takeError();
  StringRef name = model.getModel().getName();
  if (config->residual != model::Residual::Nag)
    return createStringError(name + ": residual: expected nag, whose gates "
                                    "choose the tokens, but got prenorm");
  if (!config->isRouted() && options.exempt < 0)
    config->modExempt = std::min<int64_t>(1, (config->layers - 1) / 2);
  if (options.exempt >= 0)
    config->modExempt = options.exempt;
  if (2 * config->modExempt >= config->layers)
    return make_error<UsageError>(
        formatv("--mod-exempt: expected fewer than half of the {0} layers, but "
                "got '{1}'",
                config->layers, config->modExempt)
            .str());
  if (!options.kv.empty() && options.kv != "all" && options.kv != "routed")
    return make_error<UsageError>("--mod-kv: expected all or routed, but got "
                                  "'" +
                                  options.kv + "'");
  if (!options.kv.empty())
    config->modKv =
        options.kv == "all" ? model::ModKv::All : model::ModKv::Routed;
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
                      const SweepOptions &options, model::ModPolicy policy) {
  auto config = chooseConfig(model, options, policy);
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
  options.afterBatch = [&]() -> Error {
    auto report = routing.report();
    if (!report)
      return report.takeError();
    skips.share.resize(report->share.size());
    for (auto [sum, share] : zip(skips.share, report->share))
      sum += share;
    ++count;
    return Error::success();
  };
  auto result = evaluator->run(dataset, options);
  for (double &share : skips.share)
    share /= double(std::max<int64_t>(count, 1));
  return result;
}

//===- Calibration --------------------------------------------------------===//

/// Rounds of calibration: the scores of a layer depend on what earlier layers
/// skip.
static constexpr int kRounds = 3;

/// The value that the share `rate` of the values stays below (nag.quantile); 0
/// where none shall.
static double findQuantile(std::vector<double> values, double rate) {
  size_t place = size_t(rate * double(values.size()) + 1e-9);
  if (place == 0)
    return 0;
  std::nth_element(values.begin(), values.begin() + place, values.end());
  return values[place];
}

Error RoutedProgram::collectGates(const runtime::Dataset &dataset,
                                  int64_t batches,
                                  std::vector<std::vector<double>> &gates) {
  const runtime::TensorInfo info = *buffers->lookup("gates");
  int64_t subLayers = info.shape[0], tokens = info.shape[1] * info.shape[2];
  auto text = runtime::TrainingBatches::create(
      dataset.training(), info.shape[1], info.shape[2], /*seed=*/0);
  if (!text)
    return text.takeError();
  auto loss = runtime::BoundFunction::bind(*program, "loss", {{"", &*weights}},
                                           *buffers);
  if (!loss)
    return loss.takeError();
  gates.assign(subLayers, {});
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
    for (int64_t i = 0; i < subLayers * tokens; ++i)
      gates[i / tokens].push_back(
          std::abs(runtime::readElement(info.dtype, bytes.data(), i)));
  }
  return Error::success();
}

Expected<std::vector<double>>
RoutedProgram::calibrate(const runtime::Dataset &dataset, double rate,
                         int64_t batches, bool isGlobal) {
  std::vector<double> thresholds(buffers->lookup("gates")->shape[0], 0);
  for (int round = 0; round < kRounds; ++round) {
    if (Error error = routing.setThresholds(thresholds))
      return error;
    std::vector<std::vector<double>> gates;
    if (Error error = collectGates(dataset, batches, gates))
      return error;
    std::vector<double> pool;
    for (int64_t i = firstRouted; i < endRouted; ++i) {
      thresholds[i] = findQuantile(gates[i], rate);
      pool.insert(pool.end(), gates[i].begin(), gates[i].end());
    }
    if (isGlobal)
      std::fill(thresholds.begin() + firstRouted,
                thresholds.begin() + endRouted, findQuantile(pool, rate));
  }
  if (Error error = routing.setThresholds(thresholds))
    return error;
  return thresholds;
}

//===- The sweep ----------------------------------------------------------===//

static constexpr int64_t kCalibrationBatches = 8;

namespace {

class Sweep {
public:
  Sweep(const runtime::Dataset &data, int64_t batches)
      : dataset(data), maxBatches(batches) {}

  Error add(StringRef mode, double rate, const RoutedProgram &program);
  Error addThresholds(RoutedProgram &program, ArrayRef<double> rates);
  Error addCapacity(RoutedProgram &program, ArrayRef<double> rates);
  std::vector<SweepPoint> take() { return std::move(points); }

private:
  const runtime::Dataset &dataset;
  int64_t maxBatches;
  std::vector<SweepPoint> points;
};

} // namespace

Error Sweep::add(StringRef mode, double rate, const RoutedProgram &program) {
  auto evaluation = program.evaluate(dataset, maxBatches);
  if (!evaluation)
    return evaluation.takeError();
  const model::StepCost &cost = program.getCost();
  runtime::ExecutedCount forward{cost.forward.fixed, cost.forward.attention,
                                 cost.forward.mlp};
  const runtime::SkipReport &skips = program.getSkips();
  double layers = double(program.countRoutedLayers());
  SweepPoint point;
  point.mode = mode.str();
  point.rate = rate;
  point.skipped = skips.mean() * double(skips.share.size()) / (2 * layers);
  point.evaluation = *evaluation;
  point.flopsPerToken =
      forward.at(skips, program.countRoutedLayers()) / double(cost.tokens);
  points.push_back(std::move(point));
  return Error::success();
}

Error Sweep::addThresholds(RoutedProgram &program, ArrayRef<double> rates) {
  if (Error error = program.getRouting().setThresholds(0.0))
    return error;
  if (Error error = add("dense", 0, program))
    return error;
  for (bool isGlobal : {true, false})
    for (double rate : rates) {
      auto thresholds =
          program.calibrate(dataset, rate, kCalibrationBatches, isGlobal);
      if (!thresholds)
        return thresholds.takeError();
      if (Error error = add(isGlobal ? "global" : "calibrated", rate, program))
        return error;
    }
  return Error::success();
}

Error Sweep::addCapacity(RoutedProgram &program, ArrayRef<double> rates) {
  for (double rate : rates) {
    if (Error error = program.getRouting().setRate(rate))
      return error;
    if (Error error = add("capacity", rate, program))
      return error;
  }
  return Error::success();
}

Expected<std::vector<SweepPoint>>
nag::tool::sweepRates(const Model &model, const runtime::Dataset &dataset,
                      StringRef checkpoint, const SweepOptions &options) {
  Sweep sweep(dataset, options.maxBatches);
  auto thresholds = RoutedProgram::create(model, checkpoint, options,
                                          model::ModPolicy::Threshold);
  if (!thresholds)
    return thresholds.takeError();
  if (Error error = sweep.addThresholds(**thresholds, options.rates))
    return error;
  auto capacity = RoutedProgram::create(model, checkpoint, options,
                                        model::ModPolicy::Capacity);
  if (!capacity)
    return capacity.takeError();
  if (Error error = sweep.addCapacity(**capacity, options.rates))
    return error;
  return sweep.take();
}

//===- Output -------------------------------------------------------------===//

void nag::tool::printSweep(ArrayRef<SweepPoint> points, raw_ostream &os) {
  os << formatv("{0,-11} {1,6} {2,8} {3,12} {4,16}\n", "mode", "rate",
                "skipped", "nats/token", "FLOPs/token");
  for (const SweepPoint &point : points)
    os << formatv("{0,-11} {1,6:f3} {2,8:f4} {3,12:f4} {4,16:f0}\n", point.mode,
                  point.rate, point.skipped, point.evaluation.loss,
                  point.flopsPerToken);
}

json::Value nag::tool::toJSON(ArrayRef<SweepPoint> points) {
  json::Array array;
  for (const SweepPoint &point : points) {
    json::Object object{{"mode", point.mode},
                        {"rate", point.rate},
                        {"skipped", point.skipped},
                        {"loss", point.evaluation.loss},
                        {"tokens", point.evaluation.tokens},
                        {"flops_per_token", point.flopsPerToken}};
    if (point.evaluation.bitsPerByte)
      object["bits_per_byte"] = *point.evaluation.bitsPerByte;
    array.push_back(std::move(object));
  }
  return array;
}

namespace {
/// A value's place on an axis of the picture.
struct Axis {
  double low, high, from, to;

  static Axis over(ArrayRef<double> values, double from, double to) {
    auto [low, high] = std::minmax_element(values.begin(), values.end());
    double margin = std::max((*high - *low) * 0.05, 1e-9 * std::abs(*high));
    return {*low - margin, *high + margin, from, to};
  }
  double at(double value) const {
    return from + (value - low) / (high - low) * (to - from);
  }
};
} // namespace

void nag::tool::drawSweep(ArrayRef<SweepPoint> points, raw_ostream &os) {
  constexpr double kWidth = 640, kHeight = 400, kLeft = 70, kBottom = 350;
  std::vector<double> flops, losses;
  for (const SweepPoint &point : points) {
    flops.push_back(point.flopsPerToken);
    losses.push_back(point.evaluation.loss);
  }
  Axis x = Axis::over(flops, kLeft, kWidth - 20);
  Axis y = Axis::over(losses, kBottom, 20);
  os << formatv("<svg xmlns='http://www.w3.org/2000/svg' width='{0}' "
                "height='{1}' font-family='sans-serif' font-size='12'>\n"
                "<rect width='100%' height='100%' fill='white'/>\n"
                "<path d='M{2} 20V{3}H{4}' fill='none' stroke='black'/>\n",
                kWidth, kHeight, kLeft, kBottom, kWidth - 20);
  for (int tick = 0; tick <= 4; ++tick) {
    double across = x.low + (x.high - x.low) * tick / 4;
    double up = y.low + (y.high - y.low) * tick / 4;
    os << formatv("<text x='{0:f1}' y='{1}' text-anchor='middle'>{2:e2}"
                  "</text>\n",
                  x.at(across), kBottom + 18, across);
    os << formatv("<text x='{0}' y='{1:f1}' text-anchor='end'>{2:f3}</text>\n",
                  kLeft - 6, y.at(up) + 4, up);
  }
  os << formatv(
      "<text x='{0}' y='{1}' text-anchor='middle'>executed FLOPs per "
      "token (forward)</text>\n<text x='8' y='14'>nats/token</text>\n",
      (kLeft + kWidth) / 2, kHeight - 10);
  const std::pair<StringRef, StringRef> modes[] = {{"global", "#d62728"},
                                                   {"calibrated", "#1f77b4"},
                                                   {"capacity", "#2ca02c"},
                                                   {"dense", "black"}};
  for (auto [row, mode] : enumerate(modes)) {
    std::string line;
    raw_string_ostream path(line);
    for (const SweepPoint &point : points)
      if (point.mode == mode.first) {
        double across = x.at(point.flopsPerToken),
               up = y.at(point.evaluation.loss);
        path << formatv("{0}{1:f1} {2:f1}", line.empty() ? "M" : "L", across,
                        up);
        os << formatv("<circle cx='{0:f1}' cy='{1:f1}' r='3' fill='{2}'/>\n",
                      across, up, mode.second);
      }
    os << formatv("<path d='{0}' fill='none' stroke='{1}'/>\n<text x='{2}' "
                  "y='{3}' fill='{1}'>{4}</text>\n",
                  line.empty() ? "M0 0" : line, mode.second, kWidth - 110,
                  36 + 16 * row, mode.first);
  }
  os << "</svg>\n";
}
