// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nagc train: trains a model on text.
#include "Session.h"

#include "nag/Runtime/Trainer.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"

using namespace llvm;
using namespace nag;
using runtime::Decay;
using runtime::TrainerOptions;

static cl::SubCommand trainCommand("train", "Train a model on text or tokens");

static tool::SessionOptions session(trainCommand);
static tool::DataOptions data(trainCommand);
static const TrainerOptions defaults;

/// Options that change one field of the trainer's options when they are given.
static cl::opt<int64_t> steps("steps", cl::sub(trainCommand),
                              cl::init(defaults.steps), cl::value_desc("N"),
                              tool::describe("Steps of the optimizer",
                                             defaults.steps));
static tool::NumberOption
    flopsBudget("flops-budget", cl::sub(trainCommand), cl::init(0.0),
                cl::value_desc("F"),
                cl::desc("Train for as many steps as so many executed FLOPs "
                         "last, instead of --steps"));
static cl::opt<uint64_t>
    seed("seed", cl::sub(trainCommand), cl::value_desc("S"),
         tool::describe("Key of initial values and data order", defaults.seed));
static tool::NumberOption
    learningRate("lr", cl::sub(trainCommand), cl::value_desc("x"),
                 cl::desc("Peak learning rate (default: the "
                          "model's)"));
static cl::opt<int64_t> warmup("warmup", cl::sub(trainCommand),
                               cl::init(defaults.warmupSteps),
                               cl::value_desc("N"),
                               tool::describe("Steps of learning-rate warm-up",
                                              defaults.warmupSteps));
static cl::opt<Decay> decay(
    "decay", cl::sub(trainCommand), cl::init(defaults.decay),
    cl::desc("Learning rate after the warm-up:"),
    cl::values(clEnumValN(Decay::Cosine, "cosine", "half a cosine (default)"),
               clEnumValN(Decay::Linear, "linear", "a line"),
               clEnumValN(Decay::None, "none", "constant")));
static tool::NumberOption
    decayFloor("decay-floor", cl::sub(trainCommand),
               cl::init(defaults.decayFloor), cl::value_desc("x"),
               tool::describe("Last learning rate as a fraction "
                              "of the peak",
                              defaults.decayFloor));
static cl::opt<int64_t> alphaWarmup(
    "alpha-warmup", cl::sub(trainCommand), cl::init(defaults.alphaWarmupSteps),
    cl::value_desc("N"),
    tool::describe("Steps until gates count fully", defaults.alphaWarmupSteps));
static tool::NumberOption
    clip("clip", cl::sub(trainCommand), cl::init(defaults.clip),
         cl::value_desc("x"),
         tool::describe("Largest global norm of the gradient; 0: "
                        "no clipping",
                        defaults.clip));
static cl::opt<int64_t>
    accumulation("accumulate", cl::sub(trainCommand),
                 cl::init(defaults.accumulation), cl::value_desc("N"),
                 tool::describe("Batches per step", defaults.accumulation));
static cl::opt<int64_t>
    validationInterval("val-interval", cl::sub(trainCommand),
                       cl::init(defaults.validationInterval),
                       cl::value_desc("N"),
                       tool::describe("Steps between validations; 0: none",
                                      defaults.validationInterval));
static cl::opt<int64_t> validationBatches(
    "val-batches", cl::sub(trainCommand), cl::init(defaults.validationBatches),
    cl::value_desc("N"),
    tool::describe("Batches per validation but the last; 0: all",
                   defaults.validationBatches));
static cl::opt<int64_t>
    gateInterval("gate-interval", cl::sub(trainCommand),
                 cl::init(defaults.gateInterval), cl::value_desc("N"),
                 tool::describe("Steps between reports on the "
                                "gates; 0: at validations",
                                defaults.gateInterval));
static cl::opt<std::string> checkpointFolder("checkpoint-dir",
                                             cl::sub(trainCommand),
                                             cl::value_desc("folder"),
                                             cl::desc("Where checkpoints go"));
static cl::opt<int64_t> checkpointInterval(
    "checkpoint-interval", cl::sub(trainCommand),
    cl::init(defaults.checkpointInterval), cl::value_desc("N"),
    tool::describe("Steps between checkpoints; 0: only the last",
                   defaults.checkpointInterval));
static cl::opt<int64_t>
    keepCheckpoints("keep", cl::sub(trainCommand),
                    cl::init(defaults.keepCheckpoints), cl::value_desc("N"),
                    tool::describe("Newest checkpoints that "
                                   "stay; 0: all",
                                   defaults.keepCheckpoints));
static cl::opt<bool> resume("resume", cl::sub(trainCommand),
                            cl::desc("Go on from the newest checkpoint"));
static cl::opt<std::string> logPath("log", cl::sub(trainCommand),
                                    cl::value_desc("file.jsonl"),
                                    cl::desc("Write a JSON line per step "
                                             "(default: log.jsonl beside the "
                                             "checkpoints)"));

/// Where the log goes; empty: nowhere.
static std::string getLogPath() {
  if (logPath.getNumOccurrences() || checkpointFolder.empty())
    return logPath;
  SmallString<128> path(checkpointFolder);
  sys::path::append(path, "log.jsonl");
  return std::string(path);
}

static TrainerOptions getOptions() {
  TrainerOptions options;
  options.steps = steps;
  options.flopsBudget = flopsBudget;
  options.seed = seed;
  if (learningRate.getNumOccurrences())
    options.learningRate = learningRate;
  options.warmupSteps = warmup;
  options.decay = decay;
  options.decayFloor = decayFloor;
  options.alphaWarmupSteps = alphaWarmup;
  options.clip = clip;
  options.accumulation = accumulation;
  options.validationInterval = validationInterval;
  options.validationBatches = validationBatches;
  options.gateInterval = gateInterval;
  options.checkpointFolder = checkpointFolder;
  options.checkpointInterval = checkpointInterval;
  options.keepCheckpoints = keepCheckpoints;
  options.resume = resume;
  options.logPath = getLogPath();
  options.progress = &outs();
  options.terminal = sys::Process::StandardOutIsDisplayed();
  return options;
}

static void printSummary(const runtime::TrainingResult &result) {
  outs() << "step " << result.step;
  if (result.validation) {
    outs() << formatv(": validation {0:f4} nats/token",
                      result.validation->loss);
    if (result.validation->bitsPerByte)
      outs() << formatv(", {0:f4} bits/byte", *result.validation->bitsPerByte);
  }
  if (!result.checkpoint.empty())
    outs() << "; checkpoint " << result.checkpoint;
  outs() << '\n';
}

/// Values that getOptions would take for options that were not given.
static Error checkUse() {
  if (checkpointFolder.getNumOccurrences() && checkpointFolder.empty())
    return make_error<tool::UsageError>(
        "--checkpoint-dir: expected a folder, but got ''");
  if (!flopsBudget.getNumOccurrences())
    return Error::success();
  if (steps.getNumOccurrences())
    return make_error<tool::UsageError>(
        "--flops-budget: expected no --steps with it, which it stands for");
  if (flopsBudget == 0)
    return make_error<tool::UsageError>(
        "--flops-budget: expected more than 0, but got '0'");
  return Error::success();
}

static Expected<int> run() {
  if (Error error = checkUse())
    return error;
  TrainerOptions options = getOptions();
  if (Error error = options.check())
    return make_error<tool::UsageError>(toString(std::move(error)));
  auto model = session.open(tool::Purpose::Train);
  if (!model)
    return model.takeError();
  Expected<runtime::Dataset> dataset = data.open(**model);
  if (!dataset)
    return dataset.takeError();
  auto program = (*model)->compile();
  if (!program)
    return program.takeError();
  options.costs = (*model)->getModel().countExecution();
  auto trainer = runtime::Trainer::create(**program, *dataset, options);
  if (!trainer)
    return trainer.takeError();
  Expected<runtime::TrainingResult> result = (*trainer)->run();
  if (!result)
    return result.takeError();
  printSummary(*result);
  return result->signal ? 128 + result->signal : tool::kDone;
}

tool::Command nag::tool::getTrainCommand() { return {trainCommand, run}; }
