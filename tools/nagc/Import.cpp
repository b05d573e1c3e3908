// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nagc import: a model and weights from a public checkpoint.
#include "Exchange.h"

#include "nag/Driver/PublicCheckpoint.h"
#include "nag/Runtime/Checkpoint.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace llvm;
using namespace nag;

static cl::SubCommand
    importCommand("import",
                  "Make a model and weights from a public nag-nanochat "
                  "checkpoint (safetensors; .pt by the Python package)");

static cl::opt<std::string> input(cl::Positional, cl::sub(importCommand),
                                  cl::Required,
                                  cl::desc("<weights.safetensors>"));
static cl::opt<std::string>
    config("config", cl::sub(importCommand), cl::value_desc("file.json"),
           cl::desc("Keys of the model, ours or nag-nanochat's"));
static cl::list<std::string>
    settings("set", cl::sub(importCommand), cl::value_desc("key=value"),
             cl::desc("Set one key, such as heads, vocab, seq, window"));
static cl::opt<std::string>
    folder("o", cl::sub(importCommand), cl::Required, cl::value_desc("folder"),
           cl::desc("Folder to write model.mlir and weights.safetensors to"));

static std::string getPath(StringRef name) {
  SmallString<128> path(folder);
  sys::path::append(path, name);
  return std::string(path);
}

/// Fails before anything is written where the weights are not the model's.
static Error checkWeights(const driver::Model &model, StringRef path) {
  driver::CompileOptions options;
  options.functions = {"logits"};
  auto program = model.compile(options);
  if (!program)
    return program.takeError();
  return runtime::loadWeights(**program, path).takeError();
}

static Expected<int> run() {
  driver::ImportOptions options;
  options.weights = input;
  options.config = config;
  for (StringRef setting : settings) {
    auto [key, value] = setting.split('=');
    if (key.empty() || value.empty())
      return make_error<tool::UsageError>(
          "--set: expected key=value, but got '" + setting + "'");
    options.settings.push_back({key.str(), value.str()});
  }
  auto known = driver::readPublicConfig(options);
  if (!known)
    return known.takeError();
  auto model = driver::Model::build(*known);
  if (!model)
    return model.takeError();
  if (std::error_code code = sys::fs::create_directories(folder.getValue()))
    return createStringError(folder + ": " + code.message());
  std::string weights = getPath("weights.safetensors");
  if (Error error = driver::importWeights(options, *known, weights))
    return error;
  if (Error error = checkWeights(**model, weights)) {
    sys::fs::remove(weights);
    // What is wrong stands in the file that was read.
    std::string message = toString(std::move(error));
    if (StringRef(message).starts_with(weights))
      message = input + message.substr(weights.size());
    return createStringError(message);
  }
  if (Error error =
          tool::writeFile(getPath("model.mlir"),
                          [&](raw_ostream &os) { os << (*model)->print(); }))
    return error;
  outs() << getPath("model.mlir") << '\n' << weights << '\n';
  return tool::kDone;
}

tool::Command nag::tool::getImportCommand() { return {importCommand, run}; }
