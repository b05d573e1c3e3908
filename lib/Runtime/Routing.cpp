// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Routing.h"
#include "nag/Runtime/Checkpoint.h"
#include "nag/Runtime/Elements.h"
#include "nag/Runtime/Errors.h"
#include <algorithm>
#include <cmath>
#include <numeric>

using namespace nag::runtime;

double RateSchedule::at(int64_t step) const {
  if (step <= warmup)
    return 0;
  if (step - warmup >= ramp)
    return rate;
  return rate * double(step - warmup) / double(ramp);
}

llvm::Expected<Routing> Routing::create(Program &program,
                                        NamedBuffers &buffers) {
  Routing routing;
  routing.buffers = &buffers;
  const llvm::json::Object &config = program.config();
  llvm::StringRef policy = config.getString("mod_policy").value_or("none");
  if (policy == "none")
    return routing;
  routing.policy = policy.str();
  routing.schedule = {config.getNumber("mod_rate").value_or(0),
                      config.getInteger("mod_warmup").value_or(0),
                      config.getInteger("mod_ramp").value_or(0)};
  routing.auxiliaryWeight = config.getNumber("mod_aux").value_or(0);
  routing.routedLayers = config.getInteger("layers").value_or(0) -
                         2 * config.getInteger("mod_exempt").value_or(0);
  routing.decay = config.getNumber("mod_ema").value_or(0);
  if (llvm::Error failure = routing.setRate(routing.schedule.rate))
    return failure;
  return routing;
}

llvm::Error Routing::prepareTraining(Program &program) {
  if (!isRouted())
    return llvm::Error::success();
  if (policy == "threshold")
    return makeError("mod_policy: expected capacity or rate to train with, but "
                     "got threshold");
  auto bound = BoundFunction::bind(program, "adapt", {}, *buffers);
  if (!bound)
    return bound.takeError();
  adaptCall = std::move(*bound);
  adapts = true;
  return llvm::Error::success();
}

llvm::Error Routing::setRate(double rate) {
  currentRate = rate;
  return buffers->writeScalar("skip_rate", rate);
}

llvm::Error Routing::beginStep(int64_t step) {
  if (!isRouted())
    return llvm::Error::success();
  if (llvm::Error failure = setRate(schedule.at(step)))
    return failure;
  return buffers->writeScalar("aux_weight", auxiliaryWeight);
}

static llvm::Error fill(NamedBuffers &buffers, llvm::StringRef name,
                        llvm::ArrayRef<double> values) {
  const TensorInfo *info = buffers.lookup(name);
  if (!info)
    return llvm::Error::success();
  std::vector<char> bytes(info->getByteSize());
  int64_t count = getNumElements(info->shape);
  for (int64_t i = 0; i < count; ++i)
    writeElement(info->dtype, bytes.data(), i,
                 values[values.size() == 1 ? 0 : i]);
  return buffers.write(name, bytes.data());
}

/// The mean starts as the first value that there is. Thresholds are those of
/// full gates, whatever the warm-up of alpha.
llvm::Error Routing::adapt(int64_t trainingStep) {
  int64_t age = trainingStep - schedule.warmup;
  if (!adapts || age < 1)
    return llvm::Error::success();
  double weight = std::max(1 - decay, 1 / double(age));
  llvm::Expected<double> scale = buffers->readScalar("gate_scale");
  if (!scale)
    return scale.takeError();
  double step = *scale > 0 ? weight / *scale : 0;
  if (llvm::Error failure =
          fill(*buffers, "threshold_keep", step > 0 ? 1 - weight : 1))
    return failure;
  if (llvm::Error failure = fill(*buffers, "threshold_step", step))
    return failure;
  return adaptCall.call();
}

llvm::Error Routing::setThresholds(llvm::ArrayRef<double> values) {
  return fill(*buffers, "thresholds", values);
}

llvm::Expected<std::vector<double>> Routing::getThresholds() const {
  std::vector<double> values;
  const TensorInfo *info = buffers->lookup("thresholds");
  if (!info)
    return values;
  std::vector<char> bytes(info->getByteSize());
  if (llvm::Error failure = buffers->read("thresholds", bytes.data()))
    return failure;
  for (int64_t i = 0; i < getNumElements(info->shape); ++i)
    values.push_back(readElement(info->dtype, bytes.data(), i));
  return values;
}

llvm::Expected<std::vector<int32_t>> Routing::readOffsets() const {
  std::vector<int32_t> offsets;
  const TensorInfo *info = buffers ? buffers->lookup("offsets") : nullptr;
  if (!info)
    return offsets;
  offsets.resize(getNumElements(info->shape));
  if (llvm::Error failure = buffers->read("offsets", offsets.data()))
    return failure;
  return offsets;
}

std::vector<double> Routing::getShares(llvm::ArrayRef<int32_t> offsets) const {
  std::vector<double> share;
  const TensorInfo *tokens =
      offsets.empty() ? nullptr : buffers->lookup("tokens");
  if (!tokens)
    return share;
  int64_t width = buffers->lookup("offsets")->shape.back();
  double all = double(getNumElements(tokens->shape));
  for (size_t last = width - 1; last < offsets.size(); last += width)
    share.push_back(1 - offsets[last] / all);
  return share;
}

/// Of a batch. Where keys are routed and there is no window, positions do not
/// matter.
llvm::Expected<double>
Routing::countPairs(const PairCosts &costs,
                    llvm::ArrayRef<int32_t> offsets) const {
  const TensorInfo &info = *buffers->lookup("gates");
  int64_t batch = info.shape[1], length = info.shape[2], sum = 0;
  auto ends = offsets.slice(costs.subLayer * (batch + 1), batch + 1);
  std::vector<char> bytes;
  if (!costs.routesKeys || costs.window) {
    bytes.resize(info.getByteSize() / info.shape[0]);
    if (llvm::Error failure = buffers->readPart(
            "gates", costs.subLayer * bytes.size(), bytes.size(), bytes.data()))
      return failure;
  }
#pragma omp parallel for reduction(+ : sum) if (batch > 1)
  for (int64_t b = 0; b < batch; ++b) {
    int64_t count = ends[b + 1] - ends[b];
    if (bytes.empty()) {
      sum += count * (count + 1) / 2;
      continue;
    }
    std::vector<float> scores;
    for (int64_t t = 0; t < length; ++t)
      scores.push_back(
          float(readElement(info.dtype, bytes.data(), b * length + t)));
    sum += nag::runtime::countPairs(markExecuted(scores, count), costs.window,
                                    costs.routesKeys);
  }
  return double(sum);
}

llvm::Expected<double> Routing::countFlops(const PassCosts &costs) const {
  llvm::Expected<std::vector<int32_t>> offsets = readOffsets();
  if (!offsets)
    return offsets.takeError();
  SkipReport skips;
  skips.share = getShares(*offsets);
  double flops = costs.flops.at(skips, routedLayers);
  if (offsets->empty() || !buffers->lookup("gates"))
    return flops;
  flops -= costs.meanPairs.at(skips, routedLayers);
  for (const PairCosts &pairs : costs.pairs) {
    llvm::Expected<double> count = countPairs(pairs, *offsets);
    if (!count)
      return count.takeError();
    flops += *count * pairs.flops;
  }
  return flops;
}

llvm::Expected<SkipReport> Routing::report() const {
  SkipReport report;
  report.rate = currentRate;
  llvm::Expected<std::vector<int32_t>> offsets = readOffsets();
  if (!offsets)
    return offsets.takeError();
  report.share = getShares(*offsets);
  if (report.share.empty())
    return report;
  llvm::Expected<std::vector<double>> thresholds = getThresholds();
  if (!thresholds)
    return thresholds.takeError();
  report.thresholds = std::move(*thresholds);
  return report;
}

//===- Checkpoints --------------------------------------------------------===//

void Routing::appendSources(std::vector<SafetensorsSource> &sources) {
  const TensorInfo *info = isRouted() ? buffers->lookup("thresholds") : nullptr;
  if (!info)
    return;
  storage.resize(info->getByteSize());
  sources.push_back({thresholdsTensor.str(), info->dtype, info->shape,
                     [this]() -> llvm::Expected<const void *> {
                       if (llvm::Error failure =
                               buffers->read("thresholds", storage.data()))
                         return failure;
                       return storage.data();
                     }});
}

SafetensorsSource
nag::runtime::makeThresholdsSource(DType dtype, llvm::ArrayRef<double> values,
                                   std::vector<char> &storage) {
  storage.resize(values.size() * getByteSize(dtype));
  for (size_t i = 0; i < values.size(); ++i)
    writeElement(dtype, storage.data(), i, values[i]);
  return {
      thresholdsTensor.str(),
      dtype,
      {int64_t(values.size())},
      [&storage]() -> llvm::Expected<const void *> { return storage.data(); }};
}

llvm::Expected<std::vector<double>>
nag::runtime::readThresholds(const SafetensorsFile &file, int64_t count,
                             llvm::StringRef policy) {
  const SafetensorsEntry *found = file.lookup(thresholdsTensor);
  std::string expected = formatType(DType::F32, {count});
  std::vector<double> values;
  if (!found && policy != "threshold" && policy != "rate")
    return values;
  if (!found)
    return makeError("{0}: tensor '{1}': expected {2}, which the policy '{3}' "
                     "needs (see nagc calibrate), but the file has no such "
                     "tensor",
                     file.path(), thresholdsTensor, expected, policy);
  if (!isFloat(found->dtype) || found->shape != std::vector<int64_t>{count})
    return makeError("{0}: tensor '{1}': expected {2}, but got {3}",
                     file.path(), thresholdsTensor, expected,
                     formatType(found->dtype, found->shape));
  for (int64_t i = 0; i < count; ++i) {
    values.push_back(readElement(found->dtype, found->data.data(), i));
    if (std::isnan(values.back()))
      return makeError("{0}: tensor '{1}': expected numbers, but got NaN as "
                       "element {2}",
                       file.path(), thresholdsTensor, i);
  }
  return values;
}

llvm::Error Routing::load(const SafetensorsFile &file) {
  const TensorInfo *info = isRouted() ? buffers->lookup("thresholds") : nullptr;
  if (!info)
    return llvm::Error::success();
  auto values = readThresholds(file, info->shape[0], policy);
  if (!values)
    return values.takeError();
  return values->empty() ? llvm::Error::success() : setThresholds(*values);
}

llvm::Expected<Routing> Routing::createCausal(Program &program,
                                              NamedBuffers &buffers) {
  llvm::Expected<Routing> routing = create(program, buffers);
  if (routing && routing->isRouted() && !routing->needsThresholds())
    return makeError("mod_policy: expected threshold or rate to generate with, "
                     "but got capacity, which chooses among tokens that are "
                     "still to come");
  return routing;
}

llvm::Error nag::runtime::loadThresholds(Routing &routing,
                                         llvm::StringRef checkpoint) {
  if (!routing.isRouted())
    return llvm::Error::success();
  llvm::Expected<std::string> path = resolveCheckpoint(checkpoint);
  if (!path)
    return path.takeError();
  llvm::Expected<SafetensorsFile> file = SafetensorsFile::open(*path);
  if (!file)
    return file.takeError();
  return routing.load(*file);
}
