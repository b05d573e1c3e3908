// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Builds a small model, compiles its training step for this computer, trains it
// on the bytes of a file and prints the loss. Usage: embed FILE [STEPS]
#include "nag/Driver/Model.h"
#include "nag/Runtime/Trainer.h"

#include <cstdio>
#include <cstdlib>

using namespace nag;

static llvm::Expected<std::unique_ptr<driver::Model>> buildModel() {
  model::ConfigBuilder config;
  if (llvm::Error error = config.setPreset("tiny", "example"))
    return error;
  for (auto [key, value] : {std::pair("layers", 2), std::pair("width", 64),
                            std::pair("heads", 2), std::pair("seq", 32)})
    if (llvm::Error error = config.set(key, value, "example"))
      return error;
  auto complete = config.finish();
  if (!complete)
    return complete.takeError();
  return driver::Model::build(*complete);
}

static llvm::Error run(const char *path, int64_t steps) {
  auto model = buildModel();
  if (!model)
    return model.takeError();

  driver::CompileOptions options;
  options.functions = {"loss"};
  options.differentiate = "loss";
  auto program = (*model)->compile(options);
  if (!program)
    return program.takeError();

  runtime::DatasetOptions data;
  data.paths = {path};
  auto dataset = runtime::Dataset::open(data);
  if (!dataset)
    return dataset.takeError();

  runtime::TrainerOptions training;
  training.steps = steps;
  training.warmupSteps = 2;
  auto trainer = runtime::Trainer::create(**program, *dataset, training);
  if (!trainer)
    return trainer.takeError();
  auto result = (*trainer)->run();
  if (!result)
    return result.takeError();
  std::printf("step %lld: loss %.3f, validation %.3f nats per byte\n",
              static_cast<long long>(result->step), result->loss,
              result->validation->loss);
  return llvm::Error::success();
}

int main(int argc, char **argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: embed FILE [STEPS]\n");
    return 2;
  }
  llvm::Error error = run(argv[1], argc > 2 ? std::atoll(argv[2]) : 20);
  if (!error)
    return 0;
  std::fprintf(stderr, "embed: %s\n", llvm::toString(std::move(error)).c_str());
  return 1;
}
