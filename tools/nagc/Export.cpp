// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nagc export: weights in the public layout.
#include "Exchange.h"

#include "nag/Driver/PublicCheckpoint.h"

using namespace llvm;
using namespace nag;

static cl::SubCommand
    exportCommand("export", "Write a checkpoint's weights in the layout of "
                            "the public nag-nanochat checkpoints");

static cl::opt<std::string>
    checkpoint(cl::Positional, cl::sub(exportCommand), cl::Required,
               cl::desc("<checkpoint>: a file, or a folder with the newest"));
static cl::opt<std::string> output("o", cl::sub(exportCommand), cl::Required,
                                   cl::value_desc("file.safetensors"),
                                   cl::desc("File to write"));
static cl::opt<std::string>
    configOutput("config-out", cl::sub(exportCommand),
                 cl::value_desc("file.json"),
                 cl::desc("Also write the model's keys, by nag-nanochat's "
                          "names"));
static cl::opt<std::string>
    dtype("dtype", cl::sub(exportCommand), cl::value_desc("f32|bf16|f16|f64"),
          cl::desc("Element type of the weights (default: as they are)"));

static Expected<int> run() {
  driver::ExportOptions options;
  options.checkpoint = checkpoint;
  if (!dtype.empty()) {
    options.dtype = runtime::parseDType(dtype);
    if (dtype != "f32" && dtype != "bf16" && dtype != "f16" && dtype != "f64")
      return make_error<tool::UsageError>(
          "--dtype: expected f32, bf16, f16 or f64, but got '" + dtype + "'");
  }
  if (Error error = driver::exportWeights(options, output, configOutput))
    return error;
  return tool::kDone;
}

tool::Command nag::tool::getExportCommand() { return {exportCommand, run}; }
