// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nagc: from a model's configuration to a trained model.
#include "Commands.h"

#include "Exchange.h"
#include "Help.h"

#include "llvm/Support/InitLLVM.h"
#include <csignal>

using namespace llvm;
using namespace nag::tool;

/// Prints an error in one line and yields the exit code.
static int report(Error error, StringRef command) {
  int code = error.isA<UsageError>() ? kWrongUse : kFailed;
  errs() << "nagc " << command << ": error: " << toString(std::move(error))
         << '\n';
  return code;
}

static int runCommand(int argc, char **argv) {
  const Command commands[] = {
      getModelCommand(),  getCalibrateCommand(), getCompileCommand(),
      getTrainCommand(),  getEvalCommand(),      getGenerateCommand(),
      getFlopsCommand(),  getProfileCommand(),   getTuneCommand(),
      getReportCommand(), getRunCommand(),       getImportCommand(),
      getExportCommand(), getCompletionCommand()};
  setUpHelp(argc > 1 ? argv[1] : "");
  if (!cl::ParseCommandLineOptions(
          argc, argv, "nagc: compiles and trains NAG transformers\n", &errs()))
    return kWrongUse;
  for (const Command &command : commands) {
    if (!command.options)
      continue;
    Expected<int> code = command.run();
    return code ? *code : report(code.takeError(), command.options.getName());
  }
  cl::PrintHelpMessage();
  return kWrongUse;
}

/// What a command printed may not have reached a file on a full disk.
static int finishOutput(int code) {
  outs().flush();
  std::error_code error = outs().error();
  if (!error)
    return code;
  outs().clear_error();
  errs() << "nagc: error: standard output: cannot write: " << error.message()
         << '\n';
  return kFailed;
}

int main(int argc, char **argv) {
  InitLLVM init(argc, argv);
  // A file beyond the user's limit is an error like a full disk, not a crash.
  std::signal(SIGXFSZ, SIG_IGN);
  return finishOutput(runCommand(argc, argv));
}
