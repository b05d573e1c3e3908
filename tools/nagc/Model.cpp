// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nagc model: writes a model as MLIR.
#include "Commands.h"

#include "nag/Model/Build.h"

#include "mlir/IR/Verifier.h"
#include "llvm/Support/FormatVariadic.h"

using namespace llvm;
using namespace nag;

static cl::SubCommand modelCommand("model", "Write a model as MLIR text");

static cl::opt<std::string>
    preset("preset", cl::sub(modelCommand), cl::value_desc("name"),
           cl::desc("Start from a preset: tiny (default), small, nanochat or "
                    "deep"));
static cl::opt<std::string>
    configFile("config", cl::sub(modelCommand), cl::value_desc("file.json"),
               cl::desc("Read keys from a JSON object"));
static cl::opt<std::string>
    residual("residual", cl::sub(modelCommand), cl::value_desc("nag|prenorm"),
             cl::desc("The residual: norm-agnostic, or x + F(rms_norm(x))"));
static cl::opt<std::string>
    modPolicy("mod-policy", cl::sub(modelCommand),
              cl::value_desc("none|threshold|capacity|rate"),
              cl::desc("Depth routing: which tokens a sub-layer executes"));
static cl::opt<std::string>
    modRate("mod-rate", cl::sub(modelCommand), cl::value_desc("R"),
            cl::desc("Share of the tokens that skip a routed sub-layer, in "
                     "[0, 1)"));
static cl::list<std::string>
    settings("set", cl::sub(modelCommand), cl::value_desc("key=value"),
             cl::desc("Set one key, such as layers, width, heads, kv_heads, "
                      "vocab, seq, batch, mlp, window"));
static cl::opt<bool>
    schema("schema", cl::sub(modelCommand),
           cl::desc("Write the JSON Schema of configuration files instead"));
static cl::opt<std::string> output("o", cl::sub(modelCommand),
                                   cl::value_desc("file.mlir"), cl::init("-"),
                                   cl::desc("Write to a file instead of the "
                                            "standard output"));

/// Later sources win: preset, file, --residual and --mod-*, --set.
static Expected<model::ModelConfig> readSettings() {
  model::ConfigBuilder config;
  StringRef start = preset.empty() ? StringRef("tiny") : StringRef(preset);
  if (Error error = config.setPreset(start, "--preset"))
    return error;
  if (!configFile.empty())
    if (Error error = config.readFile(configFile))
      return error;
  if (residual.getNumOccurrences())
    if (Error error = config.setText("residual", residual, "--residual"))
      return error;
  if (modPolicy.getNumOccurrences())
    if (Error error = config.setText("mod_policy", modPolicy, "--mod-policy"))
      return error;
  if (modRate.getNumOccurrences())
    if (Error error = config.setText("mod_rate", modRate, "--mod-rate"))
      return error;
  for (StringRef setting : settings) {
    auto [key, value] = setting.split('=');
    if (key.empty() || value.empty())
      return make_error<tool::UsageError>(
          "--set: expected key=value, but got '" + setting + "'");
    if (Error error = config.setText(key, value, "--set"))
      return error;
  }
  return config.finish();
}

static Expected<int> run() {
  if (schema) {
    json::Value value(model::getConfigSchema());
    if (Error error = tool::writeFile(
            output, [&](raw_ostream &os) { os << formatv("{0:2}\n", value); }))
      return error;
    return tool::kDone;
  }
  Expected<model::ModelConfig> config = readSettings();
  if (!config)
    return config.takeError();
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  model::loadModelDialects(context);
  tool::DiagnosticCollector diagnostics(context);
  auto module = model::buildModel(context, *config);
  if (failed(mlir::verify(*module)))
    return diagnostics.takeError("the model does not verify");
  if (Error error = tool::writeFile(
          output, [&](raw_ostream &os) { model::printModel(*module, os); }))
    return error;
  return tool::kDone;
}

tool::Command nag::tool::getModelCommand() { return {modelCommand, run}; }
