// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Session.h"

#include "nag/Runtime/Checkpoint.h"

using namespace llvm;
using namespace nag;
using namespace nag::tool;

SessionOptions::SessionOptions(cl::SubCommand &command)
    : input(cl::Positional, cl::sub(command), cl::Required,
            cl::desc("<model.mlir>")),
      threads("threads", cl::sub(command), cl::init(0), cl::value_desc("T"),
              cl::desc("Threads (default: one per processor)")),
      target("target", cl::sub(command), cl::init("cpu"),
             cl::value_desc("cpu|cuda"),
             cl::desc("Where to run (default: cpu)")),
      device("device", cl::sub(command), cl::value_desc("vm|number"),
             cl::desc("Device of the target cuda: the PTX machine or a GPU "
                      "(default: 0)")),
      chip("chip", cl::sub(command), cl::value_desc("sm_80|sm_90a"),
           cl::desc("Chip of the target cuda (default: the GPU's; sm_80 for "
                    "the device vm)")),
      precision("precision", cl::sub(command), cl::init("f32"),
                cl::value_desc("f32|tf32|bf16"),
                cl::desc("How contractions of f32 tensors multiply; tf32 and "
                         "bf16 on the target cuda (default: f32)")),
      schedule("schedule", cl::sub(command), cl::value_desc("file.json"),
               cl::desc("Schedules of kernels of the target cuda, as nagc tune "
                        "writes them")),
      fuse("fuse", cl::sub(command), cl::init(true),
           cl::desc("Join products and the ops around them into kernels "
                    "(default)")),
      kernelCache("kernel-cache", cl::sub(command), cl::value_desc("folder"),
                  cl::desc("Where the target cuda keeps compiled kernels; "
                           "empty: nowhere (default: $XDG_CACHE_HOME/nag)")) {}

Expected<driver::TargetOptions> SessionOptions::getTarget() const {
  driver::TargetOptions options;
  options.target = target;
  options.device = device;
  options.chip = chip;
  options.precision = precision;
  options.schedule = schedule;
  options.fuse = fuse;
  if (kernelCache.getNumOccurrences())
    options.kernelCache = kernelCache;
  options.threads = threads;
  // 0 stands for the default, which is not to be asked for.
  if (threads.getNumOccurrences() && threads == 0)
    return make_error<UsageError>("--threads: expected 1 or more, but got '0'");
  if (Error error = options.check())
    return make_error<UsageError>("--" + toString(std::move(error)));
  return options;
}

Expected<std::unique_ptr<Model>> SessionOptions::open(Purpose purpose) const {
  auto chosen = getTarget();
  if (!chosen)
    return chosen.takeError();
  auto read = driver::Model::read(input);
  if (!read)
    return read.takeError();
  auto result = std::make_unique<Model>();
  result->model = std::move(*read);
  result->options.target = *chosen;
  result->options.functions = {purpose == Purpose::Generate ? "logits"
                                                            : "loss"};
  result->options.keepRoundings = true;
  if (purpose == Purpose::Train) {
    if (result->model->canDeriveNorms())
      result->options.functions.push_back("norms");
    result->options.differentiate = "loss";
    if (result->model->getModule().lookupSymbol("adapt"))
      result->options.functions.push_back("adapt");
  }
  if (Error error = result->model->expectFunctions(result->options.functions))
    return error;
  return result;
}

Expected<std::unique_ptr<runtime::Program>>
SessionOptions::compile(StringRef differentiated,
                        std::vector<driver::IndexRange> &ranges) const {
  auto chosen = getTarget();
  if (!chosen)
    return chosen.takeError();
  auto model = driver::Model::read(input);
  if (!model)
    return model.takeError();
  driver::CompileOptions options;
  options.target = *chosen;
  options.differentiate = differentiated.str();
  ranges = (*model)->getIndexRanges();
  return (*model)->compile(options);
}

DataOptions::DataOptions(cl::SubCommand &command)
    : first("data", cl::sub(command), cl::value_desc("path..."),
            cl::desc("Text files, folders of them, or .bin files of tokens")),
      more(cl::Positional, cl::sub(command), cl::desc("[more data paths]")),
      validationFraction("val-fraction", cl::sub(command),
                         cl::init(runtime::DatasetOptions().validationFraction),
                         cl::value_desc("x"),
                         cl::desc("Share of every file kept for validation")),
      bytesPerToken("bytes-per-token", cl::sub(command), cl::init(0.0),
                    cl::value_desc("x"),
                    cl::desc("Bytes of text per token of .bin files, for bits "
                             "per byte")) {}

Expected<runtime::Dataset> DataOptions::open(const Model &model) const {
  runtime::DatasetOptions options;
  options.paths.assign(first.begin(), first.end());
  options.paths.insert(options.paths.end(), more.begin(), more.end());
  if (options.paths.empty())
    return make_error<UsageError>("--data: expected a path, but got none");
  if (!(validationFraction >= 0 && validationFraction <= 1))
    return make_error<UsageError>("--val-fraction: expected a number in [0, 1]"
                                  ", but got '" +
                                  Twine(std::to_string(validationFraction)) +
                                  "'");
  options.validationFraction = validationFraction;
  options.bytesPerToken = bytesPerToken;
  if (auto vocabulary = model.getVocabulary())
    options.vocabulary = *vocabulary;
  return runtime::Dataset::open(options);
}

Expected<tool::Trial> nag::tool::openTrial(const SessionOptions &session,
                                           const DataOptions &data,
                                           StringRef checkpoint) {
  auto model = session.open(Purpose::Evaluate);
  if (!model)
    return model.takeError();
  Expected<runtime::Dataset> dataset = data.open(**model);
  if (!dataset)
    return dataset.takeError();
  Expected<std::string> file = runtime::resolveCheckpoint(checkpoint);
  if (!file)
    return file.takeError();
  return Trial{std::move(*model), std::move(*dataset), std::move(*file)};
}
