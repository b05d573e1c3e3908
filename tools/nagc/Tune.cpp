// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nagc tune: the best schedules of a program's kernels, as a file.
#include "Commands.h"
#include "ProfileOptions.h"

#include "nag/Profile/Tune.h"

#include "llvm/Support/FormatVariadic.h"

using namespace llvm;
using namespace nag;

static cl::SubCommand tuneCommand("tune", "Search for the best schedules of a "
                                          "program's GPU kernels");

static tool::ProfileOptions
    options(tuneCommand,
            "vm: score what the PTX machine counts; a number: time "
            "kernels on that GPU (default: vm)");
static cl::opt<std::string> output("o", cl::sub(tuneCommand), cl::Required,
                                   cl::value_desc("schedule.json"),
                                   cl::desc("File to write, for --schedule"));
static cl::opt<unsigned>
    candidates("candidates", cl::sub(tuneCommand), cl::init(8),
               cl::value_desc("N"),
               cl::desc("Schedules tried per kernel, the compiler's own among "
                        "them (default: 8)"));

/// The first device whose own chip it is.
static const GPUDevice *getDevice(StringRef chip) {
  return find_if(getGPUDevices(),
                 [&](const GPUDevice &known) { return known.chip == chip; });
}

static void printResult(const json::Value &result) {
  const json::Object &step = *result.getAsObject()->getObject("step");
  double model = step.getNumber("model").value_or(0);
  double tuned = step.getNumber("tuned").value_or(0);
  outs() << formatv("{0}: {1} of a step {2:F2} us with the compiler's own "
                    "schedules, {3:F2} us with these\n",
                    output, *result.getAsObject()->getString("measure"),
                    model * 1e6, tuned * 1e6);
}

static Expected<int> run() {
  if (candidates < 1)
    return make_error<tool::UsageError>(
        "--candidates: expected 1 or more, but got 0");
  auto measured = options.read();
  if (!measured)
    return measured.takeError();
  profile::TuneOptions tuning;
  tuning.measure = std::move(*measured);
  tuning.device = getDevice(tuning.measure.chip);
  tuning.candidates = candidates;
  tuning.list = [](cuda::ProgramObserver &observer) {
    return options.inspect(observer);
  };
  tuning.run = [](const profile::Options &round) {
    return options.measure(round);
  };
  tool::CountProgress progress("tune", "round");
  tuning.progress = progress.getCallback();
  auto result = profile::tune(tuning);
  progress.finish();
  if (!result)
    return result.takeError();
  if (Error error = tool::writeFile(output, [&](raw_ostream &os) {
        os << formatv("{0:2}", *result) << '\n';
      }))
    return error;
  printResult(*result);
  return tool::kDone;
}

tool::Command nag::tool::getTuneCommand() { return {tuneCommand, run}; }
