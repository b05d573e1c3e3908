// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From options, data and a folder to a trainer that can run its next step.
#include "nag/Runtime/Errors.h"
#include "nag/Runtime/Interrupt.h"
#include "nag/Runtime/Trainer.h"
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
  return options.costs.batch.flops.at(share) * double(options.accumulation) +
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
  if (llvm::Error failure =
          callOnParameters(program, "constrain", parameters, buffers))
    return failure;
  return roundParameters(program, parameters, buffers);
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
  return roundParameters(program, parameters, buffers);
}
