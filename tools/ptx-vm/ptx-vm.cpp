// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// ptx-vm: runs one kernel of a PTX file on arrays, or a program that uses the
// CUDA driver API, without a GPU.
#include "Exec.h"
#include "Help.h"
#include "Run.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace ptxvm_tool;

namespace {

cl::OptionCategory category("ptx-vm options");
cl::SubCommand runCommand("run", "Run one kernel and check it");
cl::SubCommand listCommand("list", "List the kernels of a PTX file");
cl::SubCommand execCommand("exec",
                           "Run a program with the machine as libcuda.so.1");

cl::opt<std::string> inputFile(cl::Positional, cl::Required,
                               cl::desc("FILE.ptx"), cl::sub(runCommand),
                               cl::sub(listCommand), cl::cat(category));
cl::opt<std::string> entryName("entry",
                               cl::desc("Kernel (default: the only one)"),
                               cl::value_desc("NAME"), cl::sub(runCommand),
                               cl::cat(category));
cl::opt<std::string> gridText("grid", cl::init("1"), cl::desc("Blocks"),
                              cl::value_desc("X[,Y[,Z]]"), cl::sub(runCommand),
                              cl::cat(category));
cl::opt<std::string> blockText("block", cl::init("32"),
                               cl::desc("Threads per block"),
                               cl::value_desc("X[,Y[,Z]]"), cl::sub(runCommand),
                               cl::cat(category));
cl::opt<uint64_t> sharedBytes("shared", cl::init(0),
                              cl::desc("Dynamic shared memory"),
                              cl::value_desc("BYTES"), cl::sub(runCommand),
                              cl::cat(category));
cl::list<std::string> argumentTexts(
    "arg",
    cl::desc("Kernel argument: TYPE:VALUE, TYPE[COUNT]:GENERATOR "
             "(zero, iota, random[=SEED], fill=V, uninit, freed, or "
             "values), npy:FILE, or null"),
    cl::value_desc("SPEC"), cl::sub(runCommand), cl::cat(category));
cl::list<std::string> printTexts("print",
                                 cl::desc("Print argument N after the run, or "
                                          "its first COUNT elements"),
                                 cl::value_desc("N[:COUNT]"),
                                 cl::sub(runCommand), cl::cat(category));
cl::list<std::string> outputTexts("out",
                                  cl::desc("Write argument N to a .npy file"),
                                  cl::value_desc("N=FILE"), cl::sub(runCommand),
                                  cl::cat(category));
cl::list<std::string> checkTexts(
    "check", cl::CommaSeparated,
    cl::desc("all (default), none, or some of bounds, alignment, lifetime, "
             "uninitialized, races, barriers, async, registers"),
    cl::value_desc("NAMES"), cl::sub(runCommand), cl::sub(execCommand),
    cl::cat(category));
cl::opt<bool> showCounters("counters", cl::desc("Print the counters"),
                           cl::sub(runCommand), cl::cat(category));
cl::opt<bool> asJson("json", cl::desc("Print everything as one JSON object"),
                     cl::sub(runCommand), cl::cat(category));
cl::opt<unsigned> threadCount("threads", cl::init(0),
                              cl::desc("Host threads (default: all cores)"),
                              cl::sub(runCommand), cl::cat(category));
cl::opt<unsigned> repeatCount("repeat", cl::init(1),
                              cl::desc("Launch this often, for timing"),
                              cl::sub(runCommand), cl::cat(category));
cl::opt<bool> showTime("time",
                       cl::desc("Print seconds and the instruction counters "
                                "as one JSON line, without profiling"),
                       cl::sub(runCommand), cl::cat(category));
cl::opt<uint64_t> branchLimit("branch-limit", cl::init(0),
                              cl::desc("Branches one warp may take"),
                              cl::sub(runCommand), cl::cat(category));

cl::list<std::string> programTexts(cl::Positional, cl::OneOrMore,
                                   cl::desc("-- PROGRAM ARGUMENTS"),
                                   cl::sub(execCommand), cl::cat(category));
cl::opt<std::string> countersFile(
    "counters-file", cl::desc("Write counters per kernel as lines of JSON"),
    cl::value_desc("FILE"), cl::sub(execCommand), cl::cat(category));
cl::opt<std::string> findingsFile("findings-file",
                                  cl::desc("Append findings as lines of JSON"),
                                  cl::value_desc("FILE"), cl::sub(execCommand),
                                  cl::cat(category));
cl::opt<std::string> chipName("chip",
                              cl::desc("Device to play: sm_80 or sm_90"),
                              cl::value_desc("NAME"), cl::sub(execCommand),
                              cl::cat(category));

bool parseDim(StringRef text, ptxvm::Dim3 &dim) {
  SmallVector<StringRef, 3> parts;
  text.split(parts, ',');
  uint32_t values[3] = {1, 1, 1};
  if (parts.size() > 3)
    return false;
  for (size_t k = 0; k < parts.size(); ++k)
    if (parts[k].getAsInteger(10, values[k]))
      return false;
  dim = {values[0], values[1], values[2]};
  return true;
}

bool parseChecks(uint32_t &checks) {
  checks = ptxvm::allChecks;
  return checkTexts.empty() ||
         ptxvm::parseChecks(join(checkTexts, ","), checks);
}

/// Fails on options that say nothing sensible.
Error readRequest(KernelRun &request) {
  if (!parseDim(gridText, request.grid))
    return createStringError("--grid: expected X[,Y[,Z]], but got '" +
                             gridText + "'");
  if (!parseDim(blockText, request.block))
    return createStringError("--block: expected X[,Y[,Z]], but got '" +
                             blockText + "'");
  if (!parseChecks(request.options.checks))
    return createStringError("--check: expected names of checks, all or none");
  request.file = inputFile;
  request.entry = entryName;
  request.sharedBytes = sharedBytes;
  request.repeats = repeatCount;
  request.prints.assign(printTexts.begin(), printTexts.end());
  request.outputs.assign(outputTexts.begin(), outputTexts.end());
  request.asJson = asJson;
  request.showCounters = showCounters;
  request.showTime = showTime;
  request.options.profile = showCounters || asJson;
  request.options.threads = threadCount;
  request.options.branchLimit = branchLimit;
  for (const std::string &text : argumentTexts) {
    Expected<Argument> argument = parseArgument(text);
    if (!argument)
      return createStringError("--arg: " + toString(argument.takeError()));
    request.arguments.push_back(std::move(*argument));
  }
  return Error::success();
}

int run() {
  KernelRun request;
  if (Error error = readRequest(request))
    return fail(wrongUse, toString(std::move(error)));
  return runKernel(request);
}

int list() {
  ptxvm::DeviceMemory memory;
  std::unique_ptr<ptxvm::Module> module = loadModule(inputFile, memory);
  if (!module)
    return failedRun;
  for (const ptxvm::KernelInfo &kernel : module->kernels()) {
    outs() << kernel.name << ": " << kernel.paramBytes << " parameter bytes in "
           << kernel.params.size() << ", " << kernel.staticSharedBytes
           << " shared bytes, " << kernel.localBytes
           << " local bytes per thread\n";
  }
  return ok;
}

int exec() {
  uint32_t checks = 0;
  if (!parseChecks(checks))
    return fail(wrongUse, "--check: expected names of checks, all or none");
  ProgramRun request;
  request.command.assign(programTexts.begin(), programTexts.end());
  request.checks = join(checkTexts, ",");
  request.countersFile = countersFile;
  request.findingsFile = findingsFile;
  request.chip = chipName;
  if (!chipName.empty() && chipName != "sm_80" && chipName != "sm_90")
    return fail(wrongUse,
                "--chip: expected sm_80 or sm_90, but got '" + chipName + "'");
  Expected<int> code = runProgram(request);
  return code ? *code : fail(wrongUse, toString(code.takeError()));
}

} // namespace

int main(int argc, char **argv) {
  InitLLVM init(argc, argv);
  setUpHelp(argc > 1 ? argv[1] : "");
  std::string problem;
  raw_string_ostream problems(problem);
  bool parsed = cl::ParseCommandLineOptions(
      argc, argv, "Runs PTX kernels on the CPU and checks them\n", &problems);
  if (!parsed) {
    errs() << problem;
    return wrongUse;
  }
  if (runCommand)
    return run();
  if (listCommand)
    return list();
  if (execCommand)
    return exec();
  return fail(wrongUse, "expected a command: run, list or exec");
}
