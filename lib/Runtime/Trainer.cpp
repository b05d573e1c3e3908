// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Trainer.h"
#include "nag/Runtime/Errors.h"
#include "nag/Runtime/Interrupt.h"
#include <chrono>
#include <cmath>

using namespace nag::runtime;

//===- Options ------------------------------------------------------------===//

static llvm::Error checkAtLeast(const char *option, double value,
                                double least) {
  // A negated comparison also refuses NaN.
  if (!(value >= least) || std::isinf(value))
    return makeError("{0}: expected a finite value of at least {1}, but got "
                     "{2}",
                     option, formatNumber(least), formatNumber(value));
  return llvm::Error::success();
}

llvm::Error TrainerOptions::check() const {
  struct {
    const char *option;
    double value, least;
  } bounds[] = {{"steps", double(steps), 1},
                {"learning rate", learningRate.value_or(0), 0},
                {"warm-up steps", double(warmupSteps), 0},
                {"decay floor", decayFloor, 0},
                {"alpha warm-up steps", double(alphaWarmupSteps), 0},
                {"clip", clip, 0},
                {"accumulation", double(accumulation), 1},
                {"flops budget", flopsBudget, 0},
                {"validation interval", double(validationInterval), 0},
                {"validation batches", double(validationBatches), 0},
                {"gate interval", double(gateInterval), 0},
                {"checkpoint interval", double(checkpointInterval), 0},
                {"kept checkpoints", double(keepCheckpoints), 0}};
  for (const auto &[option, value, least] : bounds)
    if (llvm::Error failure = checkAtLeast(option, value, least))
      return failure;
  if (decayFloor > 1)
    return makeError("decay floor: expected at most 1, but got {0}",
                     formatNumber(decayFloor));
  if (resume && checkpointFolder.empty())
    return makeError("resume: expected a checkpoint folder");
  return llvm::Error::success();
}

//===- Setting up ---------------------------------------------------------===//

Trainer::Trainer(Program &compiled, const Dataset &data, TrainerOptions chosen)
    : program(compiled), dataset(data), options(std::move(chosen)),
      buffers(compiled) {}

llvm::Expected<std::unique_ptr<Trainer>>
Trainer::create(Program &program, const Dataset &dataset,
                TrainerOptions options) {
  if (llvm::Error failure = options.check())
    return failure;
  std::unique_ptr<Trainer> trainer(
      new Trainer(program, dataset, std::move(options)));
  if (llvm::Error failure = trainer->setUp())
    return failure;
  return trainer;
}

llvm::Error Trainer::setUp() {
  state.seed = options.seed;
  state.dataFingerprint = dataset.fingerprint();
  std::optional<double> peak = options.learningRate;
  if (!peak)
    peak = program.config().getNumber("lr");
  if (!peak)
    return makeError("learning rate: expected one, as the model's "
                     "configuration has no 'lr'");
  for (auto stage :
       {&Trainer::allocate, &Trainer::bindFunctions, &Trainer::planSteps,
        &Trainer::openData, &Trainer::openFolder})
    if (llvm::Error failure = (this->*stage)())
      return failure;
  learningRate = {*peak, options.warmupSteps, options.steps, options.decay,
                  options.decayFloor};
  if (options.logPath.empty())
    return llvm::Error::success();
  llvm::Expected<MetricsLog> opened =
      MetricsLog::open(options.logPath, state.step);
  if (!opened)
    return opened.takeError();
  log = std::move(*opened);
  return llvm::Error::success();
}

/// FLOPs of a step when as many tokens skip as its rate says.
double Trainer::expectFlops(int64_t step) const {
  double share = routing.isRouted() ? routing.getSchedule().at(step) : 0;
  return options.costs.batchFlops.at(share) * double(options.accumulation) +
         options.costs.optimizerFlops;
}

/// As many steps as the budget lasts.
llvm::Error Trainer::planSteps() {
  if (options.flopsBudget == 0)
    return llvm::Error::success();
  double first = expectFlops(1), spent = 0;
  if (!(first > 0) || first > options.flopsBudget)
    return makeError("flops budget: expected at least one step's {0}, but got "
                     "{1}",
                     formatNumber(first), formatNumber(options.flopsBudget));
  options.steps = 0;
  while (spent + expectFlops(options.steps + 1) <= options.flopsBudget)
    spent += expectFlops(++options.steps);
  return llvm::Error::success();
}

llvm::Error Trainer::allocate() {
  struct {
    ParameterBuffers &buffers;
    llvm::StringRef prefix;
    bool zeroed;
  } wanted[] = {{parameters, "", false},
                {gradients, "grad:", false},
                {firstMoments, "m:", true},
                {secondMoments, "v:", true},
                {accumulators, "acc:", false}};
  for (auto &[target, prefix, zeroed] : wanted) {
    if (&target == &accumulators && options.accumulation == 1)
      continue;
    auto created = ParameterBuffers::create(program, prefix, zeroed);
    if (!created)
      return created.takeError();
    target = std::move(*created);
  }
  return llvm::Error::success();
}

/// Moves a result into place or hands on its error.
template <typename T>
static llvm::Error assign(T &target, llvm::Expected<T> value) {
  if (!value)
    return value.takeError();
  target = std::move(*value);
  return llvm::Error::success();
}

llvm::Error Trainer::bindGradients() {
  if (llvm::Error failure =
          assign(gradientsCall,
                 BoundFunction::bind(program, "gradients",
                                     {{"grad:", &gradients}, {"", &parameters}},
                                     buffers)))
    return failure;
  firstGradientsCall = gradientsCall;
  if (options.accumulation == 1)
    return llvm::Error::success();
  if (llvm::Error failure =
          assign(firstGradientsCall,
                 BoundFunction::bind(
                     program, "gradients",
                     {{"grad:", &accumulators}, {"", &parameters}}, buffers)))
    return failure;
  return assign(accumulateCall,
                BoundFunction::bind(
                    program, "accumulate",
                    {{"grad:", &gradients}, {"acc:", &accumulators}}, buffers));
}

llvm::Error Trainer::bindFunctions() {
  if (llvm::Error failure = bindGradients())
    return failure;
  const ParameterBuffers &applied =
      options.accumulation == 1 ? gradients : accumulators;
  if (llvm::Error failure =
          assign(applyCall, BoundFunction::bind(program, "apply",
                                                {{"grad:", &applied},
                                                 {"m:", &firstMoments},
                                                 {"v:", &secondMoments},
                                                 {"", &parameters}},
                                                buffers)))
    return failure;
  if (llvm::Error failure = assign(shape, getBatchShape(buffers)))
    return failure;
  if (const FunctionInfo *norms = program.lookup("norms"))
    if (norms->lookup("norms") && norms->lookup("tokens"))
      if (llvm::Error failure =
              assign(normsCall.emplace(),
                     BoundFunction::bind(program, "norms", {{"", &parameters}},
                                         buffers)))
        return failure;
  if (options.validationInterval != 0) {
    llvm::Expected<Evaluator> created =
        Evaluator::create(program, parameters, buffers);
    if (!created)
      return created.takeError();
    evaluator = std::move(*created);
  }
  if (llvm::Error failure = assign(routing, Routing::create(program, buffers)))
    return failure;
  return routing.prepareTraining(program);
}

llvm::Error Trainer::openData() {
  tokens.resize(shape.getTokens());
  targets.resize(shape.getTokens());
  if (llvm::Error failure = assign(
          batches, TrainingBatches::create(dataset.training(), shape.batch,
                                           shape.seq, options.seed)))
    return failure;
  if (!evaluator)
    return llvm::Error::success();
  return ValidationBatches::create(dataset.validation(), shape.batch, shape.seq)
      .takeError();
}

llvm::Error Trainer::openFolder() {
  if (options.checkpointFolder.empty())
    return initialize();
  auto opened =
      CheckpointFolder::open(options.checkpointFolder, options.keepCheckpoints);
  if (!opened)
    return opened.takeError();
  folder = std::move(*opened);
  llvm::Expected<std::optional<std::string>> latest = folder->findLatest();
  if (!latest)
    return latest.takeError();
  if (*latest && !options.resume)
    return makeError("{0}: expected a folder without checkpoints (or a "
                     "resume), but it holds {1}",
                     options.checkpointFolder, **latest);
  if (*latest)
    return resume(**latest);
  if (options.resume && options.progress)
    *options.progress << options.checkpointFolder
                      << ": no checkpoint yet, starting at step 0\n";
  return initialize();
}

llvm::Error Trainer::initialize() {
  if (llvm::Error failure = parameters.initialize(options.seed))
    return failure;
  if (llvm::Error failure = callOnParameters("constrain"))
    return failure;
  return callOnParameters("round");
}

/// Calls a function that takes parameters alone, where the program has it.
llvm::Error Trainer::callOnParameters(llvm::StringRef function) {
  if (!program.lookup(function))
    return llvm::Error::success();
  BoundFunction call;
  if (llvm::Error failure =
          assign(call, BoundFunction::bind(program, function,
                                           {{"", &parameters}}, buffers)))
    return failure;
  return call.call();
}

llvm::Error Trainer::checkResumable(const SafetensorsFile &file,
                                    const TrainingState &saved) const {
  if (llvm::Error failure =
          checkConfig(file, program.config(), /*requireConfig=*/true))
    return failure;
  if (saved.seed != options.seed)
    return makeError("{0}: field 'seed': expected {1}, but got {2}",
                     file.path(), options.seed, saved.seed);
  if (saved.dataFingerprint != state.dataFingerprint)
    return makeError("{0}: field 'data_fingerprint': expected {1}, that of the "
                     "data given, but got {2}",
                     file.path(), state.dataFingerprint, saved.dataFingerprint);
  return checkNoForeignTensors(file, program, momentPrefixes);
}

llvm::Error Trainer::resume(llvm::StringRef path) {
  llvm::Expected<SafetensorsFile> file = SafetensorsFile::open(path);
  if (!file)
    return file.takeError();
  llvm::Expected<TrainingState> saved = readTrainingState(*file);
  if (!saved)
    return saved.takeError();
  if (llvm::Error failure = checkResumable(*file, *saved))
    return failure;
  for (ParameterBuffers *target : {&parameters, &firstMoments, &secondMoments})
    if (llvm::Error failure = target->load(*file))
      return failure;
  if (llvm::Error failure = routing.load(*file))
    return failure;
  state = *saved;
  return callOnParameters("round");
}

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

/// Every step, so that the total counts what was skipped in each.
llvm::Error Trainer::readExecuted(StepMetrics &metrics) {
  if (options.costs.batchFlops.at(0) == 0)
    return llvm::Error::success();
  SkipReport skips;
  if (routing.isRouted())
    if (llvm::Error failure = assign(skips, routing.report()))
      return failure;
  auto at = [&](const ExecutedCount &count) {
    return count.at(skips, routing.countRoutedLayers());
  };
  ExecutedReport executed;
  executed.flops = at(options.costs.batchFlops) * double(options.accumulation) +
                   options.costs.optimizerFlops;
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
