// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Trainer.h"
#include "nag/Runtime/Errors.h"
#include "nag/Runtime/Interrupt.h"
#include <chrono>
#include <cmath>

using namespace nag::runtime;

//===- One step -----------------------------------------------------------===//

llvm::Error Trainer::loadBatch() {
  batches.fill(state.dataPosition, tokens.data(), targets.data());
  state.dataPosition += shape.batch;
  if (llvm::Error failure = buffers.write("tokens", tokens.data()))
    return failure;
  return buffers.write("targets", targets.data());
}

namespace {
/// Adds the time since the last lap to a sum, in seconds.
class Stopwatch {
public:
  void lap(double &sum) {
    Clock::time_point now = Clock::now();
    sum += std::chrono::duration<double>(now - last).count();
    last = now;
  }

private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point last = Clock::now();
};
} // namespace

/// Leaves the sum of the batches' gradients and returns their mean loss.
llvm::Expected<double> Trainer::computeGradients(StepSeconds &seconds) {
  Stopwatch watch;
  double sum = 0;
  for (int64_t batch = 0; batch < options.accumulation; ++batch) {
    if (llvm::Error failure = loadBatch())
      return failure;
    watch.lap(seconds.data);
    const BoundFunction &call = batch == 0 ? firstGradientsCall : gradientsCall;
    if (llvm::Error failure = call.call())
      return failure;
    if (llvm::Error failure = routing.adapt(state.step + 1))
      return failure;
    llvm::Expected<double> loss = buffers.readScalar("loss");
    if (!loss)
      return loss.takeError();
    sum += *loss;
    if (llvm::Error failure = countBatch())
      return failure;
    if (batch > 0)
      if (llvm::Error failure = accumulateCall.call())
        return failure;
    watch.lap(seconds.gradients);
  }
  return sum / double(options.accumulation);
}

llvm::Error Trainer::applyGradients(int64_t step, double rate) {
  std::pair<llvm::StringRef, double> scalars[] = {
      {"lr", rate},
      {"step", double(step)},
      {"grad_scale", 1.0 / double(options.accumulation)},
      {"clip", options.clip}};
  for (auto [name, value] : scalars)
    if (llvm::Error failure = buffers.writeScalar(name, value))
      return failure;
  return applyCall.call();
}

static llvm::Error checkFinite(int64_t step, const char *what, double value) {
  if (std::isfinite(value))
    return llvm::Error::success();
  return makeError("step {0}: expected a finite {1}, but got {2}", step, what,
                   formatNumber(value));
}

llvm::Error Trainer::runStep(StepMetrics &metrics) {
  Stopwatch whole;
  int64_t step = state.step + 1;
  metrics.step = step;
  metrics.learningRate = learningRate.at(step);
  if (llvm::Error failure = buffers.writeScalar(
          "gate_scale", getGateScale(step, options.alphaWarmupSteps)))
    return failure;
  if (llvm::Error failure = routing.beginStep(step))
    return failure;
  if (llvm::Error failure =
          assign(metrics.loss, computeGradients(metrics.seconds)))
    return failure;
  if (llvm::Error failure = checkFinite(step, "loss", metrics.loss))
    return failure;
  Stopwatch optimizer;
  if (llvm::Error failure = applyGradients(step, metrics.learningRate))
    return failure;
  optimizer.lap(metrics.seconds.apply);
  if (llvm::Error failure =
          assign(metrics.gradientNorm, buffers.readScalar("grad_norm")))
    return failure;
  if (llvm::Error failure =
          checkFinite(step, "gradient norm", metrics.gradientNorm))
    return failure;
  if (llvm::Error failure = readExecuted(metrics))
    return failure;
  state.step = step;
  metrics.tokens = state.dataPosition * shape.seq;
  double elapsed = 0;
  whole.lap(elapsed);
  metrics.tokensPerSecond =
      double(shape.getTokens() * options.accumulation) / elapsed;
  return llvm::Error::success();
}

//===- Reports and checkpoints --------------------------------------------===//

bool Trainer::isDue(int64_t interval, int64_t step) const {
  return interval > 0 && (step % interval == 0 || step == options.steps);
}

llvm::Error Trainer::sampleGates(StepMetrics &metrics, const TensorInfo &info,
                                 llvm::ArrayRef<char> gates) {
  std::vector<int32_t> offsets;
  if (const TensorInfo *routed = buffers.lookup("offsets")) {
    offsets.resize(getNumElements(routed->shape));
    if (llvm::Error failure = buffers.read("offsets", offsets.data()))
      return failure;
  }
  metrics.sample = GateSample::compute(info, gates.data(), tokens, offsets);
  return llvm::Error::success();
}

llvm::Error Trainer::readGates(StepMetrics &metrics) {
  const TensorInfo *info = buffers.lookup("gates");
  if (!info)
    return llvm::Error::success();
  std::vector<char> gates(info->getByteSize());
  if (llvm::Error failure = buffers.read("gates", gates.data()))
    return failure;
  metrics.gates =
      GateHealth::compute(*info, gates.data(),
                          getGateScale(metrics.step, options.alphaWarmupSteps));
  if (metrics.step == options.steps)
    return sampleGates(metrics, *info, gates);
  return llvm::Error::success();
}

llvm::Error Trainer::readSkips(StepMetrics &metrics) {
  if (!routing.isRouted())
    return llvm::Error::success();
  llvm::Expected<SkipReport> skips = routing.report();
  if (!skips)
    return skips.takeError();
  metrics.skips = std::move(*skips);
  return llvm::Error::success();
}

/// Every batch, so that the total counts what was skipped in each.
llvm::Error Trainer::countBatch() {
  if (options.costs.batch.flops.at(0) == 0)
    return llvm::Error::success();
  llvm::Expected<double> flops = routing.countFlops(options.costs.batch);
  if (!flops)
    return flops.takeError();
  stepFlops += *flops;
  return llvm::Error::success();
}

llvm::Error Trainer::readExecuted(StepMetrics &metrics) {
  if (options.costs.batch.flops.at(0) == 0)
    return llvm::Error::success();
  SkipReport skips;
  if (routing.isRouted())
    if (llvm::Error failure = assign(skips, routing.report()))
      return failure;
  auto at = [&](const ExecutedCount &count) {
    return count.at(skips, routing.countRoutedLayers());
  };
  ExecutedReport executed;
  executed.flops = stepFlops + options.costs.optimizerFlops;
  stepFlops = 0;
  state.executedFlops += executed.flops;
  executed.totalFlops = state.executedFlops;
  executed.parametersPerToken = at(options.costs.parametersPerToken);
  executed.kvBytesPerToken = at(options.costs.kvBytesPerToken);
  metrics.executed = executed;
  return llvm::Error::success();
}

/// Of the step's last batch, with the weights after the step.
llvm::Error Trainer::measureNorms(StepMetrics &metrics) {
  if (!normsCall)
    return llvm::Error::success();
  if (llvm::Error failure = normsCall->call())
    return failure;
  const TensorInfo *info = buffers.lookup("norms");
  std::vector<char> norms(info->getByteSize());
  if (llvm::Error failure = buffers.read("norms", norms.data()))
    return failure;
  metrics.logNorms = averageNorms(*info, norms.data());
  return llvm::Error::success();
}

llvm::Error Trainer::validate(StepMetrics &metrics) {
  bool last = metrics.step == options.steps;
  llvm::Expected<Evaluation> evaluation = evaluator->run(
      dataset, {last ? 0 : options.validationBatches,
                getGateScale(metrics.step, options.alphaWarmupSteps)});
  if (!evaluation)
    return evaluation.takeError();
  metrics.validation = result.validation = *evaluation;
  return llvm::Error::success();
}

llvm::Error Trainer::report(StepMetrics &metrics) {
  bool validates = isDue(options.validationInterval, metrics.step);
  // "loss" writes the same buffer of gates, so they are read first.
  if (validates || isDue(options.gateInterval, metrics.step))
    for (auto read :
         {&Trainer::readGates, &Trainer::readSkips, &Trainer::measureNorms})
      if (llvm::Error failure = (this->*read)(metrics))
        return failure;
  if (validates)
    if (llvm::Error failure = validate(metrics))
      return failure;
  return log.write(metrics);
}

llvm::Error Trainer::saveCheckpoint() {
  std::vector<SafetensorsSource> sources;
  for (const ParameterBuffers *part :
       {&parameters, &firstMoments, &secondMoments})
    part->appendSources(sources);
  routing.appendSources(sources);
  if (llvm::Error failure = folder->save(state, program.config(), sources))
    return failure;
  result.checkpoint = folder->getPath(state.step);
  return llvm::Error::success();
}

llvm::Expected<TrainingResult> Trainer::run() {
  InterruptGuard interrupts;
  Progress progress(options.progress, options.terminal, state.step,
                    options.steps);
  result = {};
  result.loss = NAN;
  while (state.step < options.steps && !result.signal) {
    StepMetrics metrics;
    if (llvm::Error failure = runStep(metrics))
      return failure;
    if (llvm::Error failure = report(metrics))
      return failure;
    progress.update(metrics);
    result.loss = metrics.loss;
    result.signal = interrupts.pending();
    bool last = result.signal || state.step == options.steps;
    if (folder && (last || isDue(options.checkpointInterval, state.step)))
      if (llvm::Error failure = saveCheckpoint())
        return failure;
  }
  result.step = state.step;
  return result;
}
