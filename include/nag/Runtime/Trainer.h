// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The training loop over a program.
#ifndef NAG_RUNTIME_TRAINER_H
#define NAG_RUNTIME_TRAINER_H

#include "nag/Runtime/Binding.h"
#include "nag/Runtime/Checkpoint.h"
#include "nag/Runtime/Dataset.h"
#include "nag/Runtime/Evaluator.h"
#include "nag/Runtime/Metrics.h"
#include "nag/Runtime/Progress.h"
#include "nag/Runtime/Routing.h"
#include "nag/Runtime/Schedule.h"
#include <memory>

namespace nag::runtime {

/// How to train. The defaults suit the preset `tiny`.
struct TrainerOptions {
  int64_t steps = 500;
  /// Key of initial values and data order.
  uint64_t seed = 0;

  /// Peak; nothing: the configuration's "lr".
  std::optional<double> learningRate;
  int64_t warmupSteps = 40;
  Decay decay = Decay::Cosine;
  /// Last learning rate as a fraction of learningRate.
  double decayFloor = 0;
  /// Steps until alpha counts fully; 0: from the first step.
  int64_t alphaWarmupSteps = 50;
  /// Largest global norm of the gradient; 0: no clipping.
  double clip = 1;
  /// Batches per step; their gradients are averaged.
  int64_t accumulation = 1;

  /// What the program's parts cost, for the log.
  ExecutionCosts costs;
  /// FLOPs to spend, as expected from the rate of each step; 0: `steps` counts.
  /// Needs costs.
  double flopsBudget = 0;

  /// Steps between validations; 0: none. The last step validates too, on all
  /// of the validation data; the others on validationBatches batches (0: all).
  int64_t validationInterval = 100;
  int64_t validationBatches = 32;
  /// Steps between reports on the gates, beside those at validations; 0: none.
  int64_t gateInterval = 100;

  /// Folder of checkpoints; empty: none are written.
  std::string checkpointFolder;
  /// Steps between checkpoints; 0: only the last one. A signal leaves one too.
  int64_t checkpointInterval = 100;
  /// Newest checkpoints that stay; 0: all.
  int64_t keepCheckpoints = 3;
  /// Go on from the newest checkpoint of the folder; from the start, with a
  /// message, where there is none. Seed, data and configuration must be those
  /// of the checkpoint; other options may differ and count from here on.
  bool resume = false;

  /// File of JSON lines (Metrics.h); empty: none.
  std::string logPath;
  /// Where progress goes; null: nowhere.
  llvm::raw_ostream *progress = nullptr;
  /// Whether that is a terminal.
  bool terminal = false;

  /// Fails on values out of range, naming the option.
  llvm::Error check() const;
};

struct TrainingResult {
  /// Steps done, those before a resume included.
  int64_t step = 0;
  /// Loss of the last step; NaN when none was left to do.
  double loss = 0;
  /// The last validation.
  std::optional<Evaluation> validation;
  /// SIGINT or SIGTERM when one ended the run, else 0.
  int signal = 0;
  /// Path of the newest checkpoint written; empty: none.
  std::string checkpoint;
};

/// Trains a program on a dataset; both must outlive it. A run's results are a
/// function of program, data, options and thread count, whether or not it was
/// interrupted and resumed on the way: resumed weights are equal bit for bit.
class Trainer {
public:
  /// Allocates everything and initialises or resumes.
  static llvm::Expected<std::unique_ptr<Trainer>>
  create(Program &program, const Dataset &dataset, TrainerOptions options);

  /// Trains up to options.steps or until a signal. Fails when a loss or a
  /// gradient is not finite and when a file cannot be written; checkpoints
  /// written before stay.
  llvm::Expected<TrainingResult> run();

  const ParameterBuffers &weights() const { return parameters; }
  const TrainingState &getState() const { return state; }

private:
  Trainer(Program &compiled, const Dataset &data, TrainerOptions chosen);

  llvm::Error setUp();
  llvm::Error planSteps();
  double expectFlops(int64_t step) const;
  llvm::Error countBatch();
  llvm::Error readExecuted(StepMetrics &metrics);
  llvm::Error allocate();
  llvm::Error bindFunctions();
  llvm::Error bindGradients();
  llvm::Error openData();
  llvm::Error openFolder();
  llvm::Error initialize();
  llvm::Error resume(llvm::StringRef path);
  llvm::Error checkResumable(const SafetensorsFile &file,
                             const TrainingState &saved) const;

  llvm::Error runStep(StepMetrics &metrics);
  llvm::Expected<double> computeGradients(StepSeconds &seconds);
  llvm::Error loadBatch();
  llvm::Error applyGradients(int64_t step, double learningRate);
  llvm::Error report(StepMetrics &metrics);
  llvm::Error validate(StepMetrics &metrics);
  llvm::Error readGates(StepMetrics &metrics);
  llvm::Error sampleGates(StepMetrics &metrics, const TensorInfo &info,
                          llvm::ArrayRef<char> gates);
  llvm::Error readSkips(StepMetrics &metrics);
  llvm::Error measureNorms(StepMetrics &metrics);
  llvm::Error saveCheckpoint();
  bool isDue(int64_t interval, int64_t step) const;

  Program &program;
  const Dataset &dataset;
  TrainerOptions options;

  ParameterBuffers parameters, gradients, firstMoments, secondMoments;
  /// Gradients of a step; in use when accumulation > 1.
  ParameterBuffers accumulators;
  NamedBuffers buffers;
  /// Gradients of a step's first batch go straight to the accumulators.
  BoundFunction firstGradientsCall, gradientsCall, accumulateCall, applyCall;
  /// Where the program has norms.
  std::optional<BoundFunction> normsCall;
  std::optional<Evaluator> evaluator;
  Routing routing;

  BatchShape shape;
  TrainingBatches batches;
  std::vector<int32_t> tokens, targets;
  LearningRate learningRate;
  std::optional<CheckpointFolder> folder;
  MetricsLog log;
  TrainingState state;
  /// Executed by the step's batches so far.
  double stepFlops = 0;
  TrainingResult result;
};

} // namespace nag::runtime

#endif // NAG_RUNTIME_TRAINER_H
