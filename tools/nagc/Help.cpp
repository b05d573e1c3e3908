// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Help.h"
#include "Version.h"

#include "nag/Driver/Target.h"

#include "llvm/ADT/StringSwitch.h"

using namespace llvm;

static constexpr StringLiteral kModelExamples = R"(
EXAMPLES:
  nagc model --preset tiny -o model.mlir
  nagc model --preset tiny --residual prenorm -o baseline.mlir
  nagc model --preset tiny --mod-policy capacity --mod-rate 0.25 -o routed.mlir
  nagc model --preset small --set layers=4 --set window=SSSL -o model.mlir
  nagc model --config config.json -o model.mlir
  nagc model --schema -o config.schema.json
)";
static constexpr StringLiteral kCalibrateExamples = R"(
EXAMPLES:
  nagc calibrate model.mlir --checkpoint run --data /usr/share/games/fortunes --mod-rate 0.25
  nagc calibrate model.mlir --checkpoint run --data text.txt --mod-rate 0.25 --global -o routed.safetensors
)";
static constexpr StringLiteral kCompileExamples = R"(
EXAMPLES:
  nagc compile model.mlir --target cpu --emit object -o out
  nagc compile model.mlir --emit llvm -o out
  nagc compile model.mlir --target cuda --chip sm_90a -o kernels
  nagc compile function.mlir --differentiate f -o out
  nagc compile model.mlir --target cuda --chip sm_90a --schedule schedule.json -o out
)";
static constexpr StringLiteral kTrainExamples = R"(
EXAMPLES:
  nagc train model.mlir --data /usr/share/games/fortunes --steps 500 --checkpoint-dir run
  nagc train model.mlir --data /usr/share/games/fortunes --steps 800 --checkpoint-dir run --resume
  nagc train routed.mlir --data tokens.bin --flops-budget 2e13
  nagc train model.mlir --data tokens.bin --lr 1e-3 --accumulate 4 --log run.jsonl
  nagc train model.mlir --data README.md --steps 2 --target cuda --device vm

EXIT STATUS:
  0 trained; 1 failed; 2 wrong use; 128 + n ended by signal n, with a checkpoint
)";
static constexpr StringLiteral kTuneExamples = R"(
EXAMPLES:
  nagc tune model.mlir --chip sm_80 -o schedule.json
  nagc tune model.mlir --chip sm_90a --device 0 --candidates 16 -o schedule.json
  nagc train model.mlir --target cuda --schedule schedule.json --data /usr/share/games/fortunes --steps 500
)";
static constexpr StringLiteral kEvalExamples = R"(
EXAMPLES:
  nagc eval model.mlir --checkpoint run --data /usr/share/games/fortunes
  nagc eval model.mlir --checkpoint run --data /usr/share/games/fortunes --json
  nagc eval model.mlir --checkpoint run --data /usr/share/games/fortunes --mod-rate 0.125,0.25 --picture curve.svg
)";
static constexpr StringLiteral kGenerateExamples = R"(
EXAMPLES:
  nagc generate model.mlir --checkpoint run --prompt "Once" --tokens 100 --temperature 0.8
  nagc generate model.mlir --checkpoint run --prompt "Once" --prompt "Never" --top-p 0.9
  nagc generate model.mlir --checkpoint run --prompt "Q:" --stop "\\n" --temperature 0
)";
static constexpr StringLiteral kFlopsExamples = R"(
EXAMPLES:
  nagc flops model.mlir
  nagc flops model.mlir --json
)";
static constexpr StringLiteral kProfileExamples = R"(
EXAMPLES:
  nagc profile model.mlir --chip sm_80
  nagc profile model.mlir --chip sm_90a --precision bf16 --html profile.html
  nagc profile model.mlir --schedule schedule.json --json
)";
static constexpr StringLiteral kReportExamples = R"(
EXAMPLES:
  nagc report run -o report.html
  nagc report run baseline -o report.html --title "NAG against the baseline"
)";
static constexpr StringLiteral kRunExamples = R"(
EXAMPLES:
  nagc run module.mlir --call f:inputs.safetensors:results.safetensors
  nagc run module.mlir --differentiate f --call f.gradients:inputs.safetensors:results.safetensors
)";
static constexpr StringLiteral kImportExamples = R"(
EXAMPLES:
  nagc import public.safetensors --config meta.json -o imported
  nagc import public.safetensors --set heads=6 --set vocab=32768 -o imported
  nagc eval imported/model.mlir --checkpoint imported/weights.safetensors --data tokens.bin
)";
static constexpr StringLiteral kExportExamples = R"(
EXAMPLES:
  nagc export run -o public.safetensors --config-out meta.json
  nagc export run -o public.safetensors --dtype bf16
)";
static constexpr StringLiteral kCompletionExamples = R"(
EXAMPLES:
  source <(nagc completion)          # in bash
  nagc completion > /etc/bash_completion.d/nagc
)";
static constexpr StringLiteral kExamples = R"(
EXAMPLES:
  nagc model --preset tiny -o model.mlir
  nagc train model.mlir --data /usr/share/games/fortunes --steps 500 --checkpoint-dir run
  nagc generate model.mlir --checkpoint run --prompt "Once"
  nagc SUBCOMMAND --help

EXIT STATUS:
  0 done; 1 failed, with one line on the standard error; 2 wrong use
)";

/// Examples of a subcommand, ready to be printed below its options; those of
/// nagc itself for "" and names of no subcommand.
static StringRef getExamples(StringRef command) {
  return StringSwitch<StringRef>(command)
      .Case("model", kModelExamples)
      .Case("calibrate", kCalibrateExamples)
      .Case("compile", kCompileExamples)
      .Case("train", kTrainExamples)
      .Case("tune", kTuneExamples)
      .Case("eval", kEvalExamples)
      .Case("generate", kGenerateExamples)
      .Case("flops", kFlopsExamples)
      .Case("profile", kProfileExamples)
      .Case("report", kReportExamples)
      .Case("run", kRunExamples)
      .Case("import", kImportExamples)
      .Case("export", kExportExamples)
      .Case("completion", kCompletionExamples)
      .Default(kExamples);
}

/// Version, commit, kind of build, LLVM, targets.
static void printVersion(raw_ostream &os) {
  nag::tool::printBuild("nagc", os);
  os << "targets: " << nag::driver::listTargets() << '\n';
}

void nag::tool::setUpHelp(StringRef command) {
  hideLibraryOptions();
  cl::SetVersionPrinter(printVersion);
  static cl::extrahelp examples(getExamples(command));
}
