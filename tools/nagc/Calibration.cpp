// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Calibration.h"

#include <algorithm>
#include <cmath>

using namespace llvm;
using namespace nag;
using namespace nag::tool;

/// Times that thresholds are found again: the scores of a layer depend on what
/// earlier layers skip.
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

static std::vector<double> findQuantiles(ArrayRef<std::vector<double>> scores,
                                         double rate) {
  std::vector<double> result;
  for (const std::vector<double> &values : scores)
    result.push_back(findQuantile(values, rate));
  return result;
}

/// How far the shares of scores below their thresholds are from `rate`, on
/// average.
static double measureMiss(ArrayRef<std::vector<double>> scores,
                          ArrayRef<double> thresholds, double rate) {
  double sum = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    auto below =
        count_if(scores[i], [&](double s) { return s < thresholds[i]; });
    sum += std::abs(double(below) / double(scores[i].size()) - rate);
  }
  return sum / double(scores.size());
}

Expected<std::vector<double>>
nag::tool::findCapacityThresholds(RoutedProgram &capacity,
                                  const runtime::Dataset &dataset, double rate,
                                  int64_t batches) {
  if (Error error = capacity.setRate(rate))
    return error;
  auto scores = capacity.collectScores(dataset, batches);
  if (!scores)
    return scores.takeError();
  return findQuantiles(*scores, rate);
}

Error nag::tool::calibrate(RoutedProgram &program,
                           const runtime::Dataset &dataset, double rate,
                           int64_t batches, std::vector<double> start) {
  std::vector<double> best, next = std::move(start);
  double smallestMiss = 0;
  for (int round = 0; round < kRounds; ++round) {
    if (Error error = program.setThresholds(next))
      return error;
    auto scores = program.collectScores(dataset, batches);
    if (!scores)
      return scores.takeError();
    double miss = measureMiss(*scores, next, rate);
    if (best.empty() || miss < smallestMiss) {
      best = next;
      smallestMiss = miss;
    }
    next = findQuantiles(*scores, rate);
  }
  return program.setThresholds(best);
}

Error nag::tool::calibrateGlobally(RoutedProgram &program,
                                   const runtime::Dataset &dataset, double rate,
                                   int64_t batches) {
  double threshold = 0;
  for (int round = 0; round < kRounds; ++round) {
    if (Error error = program.setThresholds(
            std::vector<double>(program.countRoutedSubLayers(), threshold)))
      return error;
    auto scores = program.collectScores(dataset, batches);
    if (!scores)
      return scores.takeError();
    std::vector<double> pool;
    for (const std::vector<double> &values : *scores)
      pool.insert(pool.end(), values.begin(), values.end());
    threshold = findQuantile(std::move(pool), rate);
  }
  return program.setThresholds(
      std::vector<double>(program.countRoutedSubLayers(), threshold));
}
