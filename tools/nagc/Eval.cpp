// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nagc eval: the loss of a checkpoint.
#include "RoutingSweep.h"
#include "Session.h"

#include "nag/Runtime/Checkpoint.h"
#include "nag/Runtime/Evaluator.h"
#include "nag/Runtime/Routing.h"

#include "llvm/Support/FormatVariadic.h"

using namespace llvm;
using namespace nag;

static cl::SubCommand
    evalCommand("eval", "Evaluate a checkpoint on the validation part of data");

static tool::SessionOptions session(evalCommand);
static tool::DataOptions data(evalCommand);
static cl::opt<std::string>
    checkpoint("checkpoint", cl::sub(evalCommand), cl::Required,
               cl::value_desc("path"),
               cl::desc("A checkpoint, or a folder with the newest of them"));
static cl::opt<int64_t> batches("batches", cl::sub(evalCommand), cl::init(0),
                                cl::value_desc("N"),
                                cl::desc("At most so many batches, evenly "
                                         "spread; 0: all (default)"));
static cl::opt<bool> asJson("json", cl::sub(evalCommand),
                            cl::desc("Print a JSON object"));

static tool::NumberListOption
    modRates("mod-rate", cl::sub(evalCommand), cl::CommaSeparated,
             cl::value_desc("R,R,..."),
             cl::desc("Let such shares of the tokens skip the sub-layers of a "
                      "model, dense ones too, and draw what that costs"));
static cl::opt<std::string>
    modKv("mod-kv", cl::sub(evalCommand), cl::value_desc("all|routed"),
          cl::desc("Keys and values of the sweep (default: the model's)"));
static cl::opt<int64_t>
    modExempt("mod-exempt", cl::sub(evalCommand), cl::value_desc("N"),
              cl::desc("Layers at either end that the sweep leaves alone "
                       "(default: the model's)"));
static cl::opt<std::string>
    picture("picture", cl::sub(evalCommand), cl::value_desc("file.svg"),
            cl::desc("Draw the sweep's loss over executed FLOPs"));

static void print(const runtime::Evaluation &result) {
  if (asJson) {
    json::Object object{{"loss", result.loss}, {"tokens", result.tokens}};
    if (result.bitsPerByte)
      object["bits_per_byte"] = *result.bitsPerByte;
    outs() << json::Value(std::move(object)) << '\n';
    return;
  }
  outs() << formatv("{0:f4} nats/token", result.loss);
  if (result.bitsPerByte)
    outs() << formatv(", {0:f4} bits/byte", *result.bitsPerByte);
  outs() << formatv(" over {0} tokens\n", result.tokens);
}

static Expected<int> runSweep(const tool::Model &model,
                              const runtime::Dataset &dataset, StringRef file) {
  tool::SweepOptions options;
  options.rates.assign(modRates.begin(), modRates.end());
  options.maxBatches = batches;
  options.routing.kv = modKv;
  if (modExempt.getNumOccurrences())
    options.routing.exempt = modExempt;
  auto points = tool::sweepRates(model, dataset, file, options);
  if (!points)
    return points.takeError();
  if (!picture.empty())
    if (Error error = tool::writeFile(
            picture, [&](raw_ostream &os) { tool::drawSweep(*points, os); }))
      return error;
  if (asJson)
    outs() << formatv("{0:2}", tool::toJSON(*points)) << '\n';
  else
    tool::printSweep(*points, outs());
  return tool::kDone;
}

static Error checkUse() {
  for (double rate : modRates)
    if (!(rate >= 0 && rate < 1))
      return make_error<tool::UsageError>(
          "--mod-rate: expected rates in [0, 1), but got '" +
          formatv("{0}", rate).str() + "'");
  for (auto [name, isGiven] :
       {std::pair("--mod-kv", modKv.getNumOccurrences()),
        std::pair("--mod-exempt", modExempt.getNumOccurrences()),
        std::pair("--picture", picture.getNumOccurrences())})
    if (isGiven && modRates.empty())
      return make_error<tool::UsageError>(
          Twine(name) + ": expected --mod-rate with it, but got none");
  return Error::success();
}

static Expected<int> run() {
  if (Error error = checkUse())
    return error;
  if (modExempt < 0)
    return make_error<tool::UsageError>(
        "--mod-exempt: expected 0 or more, but got '" + Twine(modExempt) + "'");
  if (batches < 0)
    return make_error<tool::UsageError>(
        "--batches: expected 0 or more, but got '" + Twine(batches) + "'");
  auto trial = tool::openTrial(session, data, checkpoint);
  if (!trial)
    return trial.takeError();
  auto &[model, dataset, file] = *trial;
  if (!modRates.empty())
    return runSweep(*model, dataset, file);
  auto program = model->compile();
  if (!program)
    return program.takeError();
  auto weights = runtime::loadWeights(**program, file);
  if (!weights)
    return weights.takeError();
  runtime::NamedBuffers buffers(**program);
  auto evaluator = runtime::Evaluator::create(**program, *weights, buffers);
  if (!evaluator)
    return evaluator.takeError();
  if (Error error = runtime::roundParameters(**program, *weights, buffers))
    return error;
  auto routing = runtime::Routing::create(**program, buffers);
  if (!routing)
    return routing.takeError();
  if (Error error = runtime::loadThresholds(*routing, file))
    return error;
  runtime::EvaluatorOptions options;
  options.maxBatches = batches;
  auto result = evaluator->run(dataset, options);
  if (!result)
    return result.takeError();
  print(*result);
  return tool::kDone;
}

tool::Command nag::tool::getEvalCommand() { return {evalCommand, run}; }
