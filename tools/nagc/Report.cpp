// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nagc report: pictures of training runs.
#include "Commands.h"

#include "nag/Report/Page.h"

using namespace llvm;
using namespace nag;

static cl::SubCommand reportCommand("report",
                                    "Draw training runs as one HTML page");

static cl::list<std::string>
    inputs(cl::Positional, cl::sub(reportCommand), cl::OneOrMore,
           cl::desc("<run...>: logs, or folders with a log.jsonl"));
static cl::opt<std::string> output("o", cl::sub(reportCommand), cl::Required,
                                   cl::value_desc("file.html"),
                                   cl::desc("Page to write"));
static cl::opt<std::string> title("title", cl::sub(reportCommand),
                                  cl::init("Training report"),
                                  cl::value_desc("text"),
                                  cl::desc("Heading of the page"));

static Expected<int> run() {
  std::vector<report::RunLog> runs;
  for (const std::string &input : inputs) {
    Expected<report::RunLog> log = report::readRunLog(input);
    if (!log)
      return log.takeError();
    runs.push_back(std::move(*log));
  }
  if (Error error = tool::writeFile(
          output, [&](raw_ostream &os) { report::writePage(runs, title, os); }))
    return error;
  return tool::kDone;
}

tool::Command nag::tool::getReportCommand() { return {reportCommand, run}; }
