// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nagc profile: what the kernels of a step move and compute, and on a GPU the
// time they take.
#include "Commands.h"
#include "ProfileOptions.h"

#include "nag/Profile/Profile.h"
#include "nag/Report/ProfilePage.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"

using namespace llvm;
using namespace nag;

static cl::SubCommand
    profileCommand("profile", "Count what the GPU kernels of a training step "
                              "move and compute, on the PTX machine");

static tool::ProfileOptions
    options(profileCommand,
            "vm: count on the PTX machine; a number: time the step and its "
            "launches on that GPU instead (default: vm)");
static cl::opt<bool> asJson("json", cl::sub(profileCommand),
                            cl::desc("Print a JSON object"));
static cl::opt<std::string> page("html", cl::sub(profileCommand),
                                 cl::value_desc("file.html"),
                                 cl::desc("Write a page with a roofline "
                                          "picture as well"));
static cl::opt<std::string>
    schedule("schedule", cl::sub(profileCommand), cl::value_desc("file.json"),
             cl::desc("Schedules of kernels, as nagc tune writes them"));
static cl::list<std::string>
    functions("function", cl::sub(profileCommand), cl::value_desc("name"),
              cl::desc("Function to run instead of the step; may be given "
                       "several times"));
static tool::NumberOption skipRate(
    "mod-rate", cl::sub(profileCommand), cl::value_desc("rate"), cl::init(-1.0),
    cl::desc("Share of the tokens of each sub-layer that skips: thresholds are "
             "set so"));

static Expected<int> run() {
  auto measured = options.read();
  if (!measured)
    return measured.takeError();
  measured->schedule = schedule;
  if (skipRate.getNumOccurrences() > 0) {
    if (!(skipRate >= 0.0 && skipRate < 1.0))
      return make_error<tool::UsageError>(
          formatv("--mod-rate: expected a rate in [0, 1), but got '{0}'",
                  skipRate.getValue())
              .str());
    measured->skipRate = skipRate;
  }
  if (measured->device != "vm" && !page.empty())
    return make_error<tool::UsageError>(
        "--html: expected the device vm, whose counters the page shows, but "
        "got '" +
        measured->device + "'");
  measured->timesInPlace = true;
  measured->functions.assign(functions.begin(), functions.end());
  tool::CountProgress progress("profile");
  measured->progress = progress.getCallback();
  auto result = options.measure(*measured);
  progress.finish();
  if (!result)
    return result.takeError();
  json::Value value = profile::toJSON(*result);
  if (!page.empty())
    if (Error error = tool::writeFile(page, [&](raw_ostream &os) {
          report::writeProfilePage(
              value,
              ("Profile of " + sys::path::filename(options.getInput())).str(),
              os);
        }))
      return error;
  if (asJson)
    outs() << formatv("{0:2}", value) << '\n';
  else
    profile::print(*result, outs());
  return tool::kDone;
}

tool::Command nag::tool::getProfileCommand() { return {profileCommand, run}; }
