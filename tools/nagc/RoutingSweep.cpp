// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "RoutingSweep.h"
#include "Calibration.h"

#include "llvm/Support/FormatVariadic.h"
#include <algorithm>
#include <cmath>

using namespace llvm;
using namespace nag;
using namespace nag::tool;

//===- The sweep ----------------------------------------------------------===//

static constexpr int64_t kCalibrationBatches = 8;

namespace {

/// Thresholds to calibrate from, per rate.
using Starts = std::vector<std::vector<double>>;

class Sweep {
public:
  Sweep(const runtime::Dataset &data, const SweepOptions &sweepOptions)
      : dataset(data), options(sweepOptions) {}

  Error run(const Model &model, StringRef checkpoint);
  std::vector<SweepPoint> take() { return std::move(points); }

private:
  Expected<Starts> addCapacity(RoutedProgram &program);
  Error addThresholds(RoutedProgram &program, const Starts &starts);
  Error add(StringRef mode, double rate, const RoutedProgram &program);

  const runtime::Dataset &dataset;
  const SweepOptions &options;
  std::vector<SweepPoint> points;
};

} // namespace

Error Sweep::add(StringRef mode, double rate, const RoutedProgram &program) {
  auto evaluation = program.evaluate(dataset, options.maxBatches);
  if (!evaluation)
    return evaluation.takeError();
  const runtime::SkipReport &skips = program.getSkips();
  double layers = double(program.countRoutedLayers());
  SweepPoint point;
  point.mode = mode.str();
  point.rate = rate;
  point.skipped = skips.mean() * double(skips.share.size()) / (2 * layers);
  point.evaluation = *evaluation;
  point.flopsPerToken = program.getFlops() / double(program.getCost().tokens);
  points.push_back(std::move(point));
  return Error::success();
}

Expected<Starts> Sweep::addCapacity(RoutedProgram &program) {
  Starts starts;
  for (double rate : options.rates) {
    auto start =
        findCapacityThresholds(program, dataset, rate, kCalibrationBatches);
    if (!start)
      return start.takeError();
    starts.push_back(std::move(*start));
    if (Error error = add("capacity", rate, program))
      return error;
  }
  return starts;
}

Error Sweep::addThresholds(RoutedProgram &program, const Starts &starts) {
  if (Error error = program.setThresholds({}))
    return error;
  if (Error error = add("dense", 0, program))
    return error;
  for (double rate : options.rates) {
    if (Error error =
            calibrateGlobally(program, dataset, rate, kCalibrationBatches))
      return error;
    if (Error error = add("global", rate, program))
      return error;
  }
  for (auto [rate, start] : zip_equal(options.rates, starts)) {
    if (Error error =
            calibrate(program, dataset, rate, kCalibrationBatches, start))
      return error;
    if (Error error = add("calibrated", rate, program))
      return error;
  }
  return Error::success();
}

/// One program lives at a time: each has weights and activations of its own.
Error Sweep::run(const Model &model, StringRef checkpoint) {
  auto capacity = RoutedProgram::create(model, checkpoint, options.routing,
                                        model::ModPolicy::Capacity);
  if (!capacity)
    return capacity.takeError();
  auto starts = addCapacity(**capacity);
  if (!starts)
    return starts.takeError();
  capacity->reset();
  auto thresholds = RoutedProgram::create(model, checkpoint, options.routing,
                                          model::ModPolicy::Threshold);
  if (!thresholds)
    return thresholds.takeError();
  if (Error error = addThresholds(**thresholds, *starts))
    return error;
  // The curves from the plainest on.
  std::rotate(points.begin(), points.begin() + starts->size(), points.end());
  return Error::success();
}

Expected<std::vector<SweepPoint>>
nag::tool::sweepRates(const Model &model, const runtime::Dataset &dataset,
                      StringRef checkpoint, const SweepOptions &options) {
  Sweep sweep(dataset, options);
  if (Error error = sweep.run(model, checkpoint))
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
