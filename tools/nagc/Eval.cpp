// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nagc eval: the loss of a checkpoint.
#include "Session.h"

#include "nag/Runtime/Checkpoint.h"
#include "nag/Runtime/Evaluator.h"

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

static Expected<int> run() {
  if (batches < 0)
    return make_error<tool::UsageError>(
        "--batches: expected 0 or more, but got '" + Twine(batches) + "'");
  auto model = session.open(tool::Purpose::Evaluate);
  if (!model)
    return model.takeError();
  Expected<runtime::Dataset> dataset = data.open(**model);
  if (!dataset)
    return dataset.takeError();
  Expected<std::string> file = runtime::resolveCheckpoint(checkpoint);
  if (!file)
    return file.takeError();
  auto program = (*model)->compile();
  if (!program)
    return program.takeError();
  auto weights = runtime::loadWeights(**program, *file);
  if (!weights)
    return weights.takeError();
  runtime::NamedBuffers buffers(**program);
  auto evaluator = runtime::Evaluator::create(**program, *weights, buffers);
  if (!evaluator)
    return evaluator.takeError();
  runtime::EvaluatorOptions options;
  options.maxBatches = batches;
  auto result = evaluator->run(*dataset, options);
  if (!result)
    return result.takeError();
  print(*result);
  return tool::kDone;
}

tool::Command nag::tool::getEvalCommand() { return {evalCommand, run}; }
