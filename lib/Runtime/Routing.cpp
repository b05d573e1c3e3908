// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Routing.h"
#include "nag/Runtime/Checkpoint.h"
#include "nag/Runtime/Elements.h"
#include "nag/Runtime/Errors.h"
#include <algorithm>
#include <cmath>
#include <numeric>

using namespace nag::runtime;

double SkipReport::mean() const {
  return share.empty() ? 0
                       : std::accumulate(share.begin(), share.end(), 0.0) /
                             double(share.size());
}

double ExecutedCount::at(const SkipReport &skips, int64_t routedLayers) const {
  double sums[2] = {0, 0};
  for (size_t i = 0; i < skips.share.size(); ++i)
    sums[i % 2] += skips.share[i];
  double layers = double(std::max<int64_t>(routedLayers, 1));
  return fixed + attention * (1 - sums[0] / layers) +
         mlp * (1 - sums[1] / layers);
}

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

llvm::Expected<SkipReport> Routing::report() const {
  SkipReport report;
  report.rate = currentRate;
  const TensorInfo *info = buffers->lookup("offsets");
  const TensorInfo *tokens = buffers->lookup("tokens");
  if (!info || !tokens)
    return report;
  std::vector<int32_t> offsets(getNumElements(info->shape));
  if (llvm::Error failure = buffers->read("offsets", offsets.data()))
    return failure;
  int64_t width = info->shape.back();
  double all = double(getNumElements(tokens->shape));
  for (size_t last = width - 1; last < offsets.size(); last += width)
    report.share.push_back(1 - offsets[last] / all);
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
