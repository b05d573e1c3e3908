// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// ptx-vm: runs one kernel of a PTX file on arrays, or a program that uses the
// CUDA driver API, without a GPU.
#include "Arrays.h"
#include "Exec.h"
#include "Help.h"
#include "nag/PTXVM/Launch.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/WithColor.h"
#include "llvm/Support/raw_ostream.h"

#include <ctime>

using namespace llvm;
using namespace ptxvm_tool;

namespace {

enum ExitCode { ok = 0, failedRun = 1, wrongUse = 2 };

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

int fail(ExitCode code, const Twine &message) {
  WithColor::error(errs(), "ptx-vm") << message << "\n";
  return code;
}

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

std::unique_ptr<ptxvm::Module> loadModule(ptxvm::DeviceMemory &memory) {
  auto buffer = MemoryBuffer::getFileOrSTDIN(inputFile);
  if (!buffer) {
    fail(failedRun, inputFile + ": " + buffer.getError().message());
    return nullptr;
  }
  StringRef text = (*buffer)->getBuffer();
  ptxvm::Diagnostic diagnostic;
  auto module =
      ptxvm::Module::load({text.data(), text.size()}, memory, diagnostic);
  if (!module)
    errs() << inputFile << ":" << diagnostic.line
           << ": error: " << diagnostic.message << "\n";
  return module;
}

/// Places the arguments in device memory and the parameter buffer.
Error bindArguments(std::vector<Argument> &arguments,
                    const ptxvm::KernelInfo &kernel,
                    ptxvm::DeviceMemory &memory, std::vector<uint8_t> &params) {
  auto bad = [](const Twine &message) {
    return createStringError(inconvertibleErrorCode(), message);
  };
  if (arguments.size() != kernel.params.size())
    return bad("expected " + Twine(kernel.params.size()) +
               " arguments for kernel '" + kernel.name + "', but got " +
               Twine(arguments.size()));
  params.assign(kernel.paramBytes, 0);
  for (size_t k = 0; k < arguments.size(); ++k) {
    Argument &argument = arguments[k];
    bool isPointer = argument.isArray || argument.isNull;
    uint64_t size = isPointer ? 8 : argument.bytes.size();
    if (size != kernel.params[k].size)
      return bad("expected argument " + Twine(k) + " of " +
                 Twine(kernel.params[k].size) + " bytes, but got " +
                 Twine(size));
    if (argument.isArray) {
      uint64_t bytes = argument.count * argument.type->size;
      argument.address = memory.allocate(bytes, "arg " + std::to_string(k));
      if (argument.address == 0)
        return bad("out of device memory for argument " + Twine(k));
      if (argument.isInitialized)
        memory.write(argument.address, argument.bytes.data(), bytes);
      if (argument.isFreed)
        memory.release(argument.address);
    }
    const uint8_t *source =
        isPointer ? reinterpret_cast<const uint8_t *>(&argument.address)
                  : argument.bytes.data();
    std::copy(source, source + size,
              params.begin() +
                  static_cast<std::ptrdiff_t>(kernel.params[k].offset));
  }
  return Error::success();
}

/// "N" or "N<separator>REST"; the argument must be a live array.
Expected<size_t> arrayIndex(StringRef text,
                            const std::vector<Argument> &arguments) {
  size_t index;
  if (text.getAsInteger(10, index) || index >= arguments.size() ||
      !arguments[index].isArray || arguments[index].isFreed)
    return createStringError(inconvertibleErrorCode(),
                             "expected the index of an array argument, but "
                             "got '" +
                                 text + "'");
  return index;
}

std::vector<uint8_t> readBack(const Argument &argument,
                              ptxvm::DeviceMemory &memory) {
  std::vector<uint8_t> bytes(argument.count * argument.type->size);
  memory.read(argument.address, bytes.data(), bytes.size());
  return bytes;
}

struct Printed {
  size_t index;
  std::vector<std::string> values;
};

Expected<std::vector<Printed>>
collectArrays(const std::vector<Argument> &arguments,
              ptxvm::DeviceMemory &memory) {
  std::vector<Printed> result;
  for (const std::string &text : printTexts) {
    auto [indexText, countText] = StringRef(text).split(':');
    Expected<size_t> index = arrayIndex(indexText, arguments);
    if (!index)
      return index.takeError();
    const Argument &argument = arguments[*index];
    uint64_t count = argument.count;
    if (!countText.empty() && countText.getAsInteger(10, count))
      return createStringError(inconvertibleErrorCode(),
                               "expected a count, but got '" + countText + "'");
    std::vector<uint8_t> bytes = readBack(argument, memory);
    Printed printed{*index, {}};
    for (uint64_t k = 0; k < std::min(count, argument.count); ++k)
      printed.values.push_back(formatElement(*argument.type, bytes, k));
    result.push_back(std::move(printed));
  }
  return result;
}

Error writeOutputs(const std::vector<Argument> &arguments,
                   ptxvm::DeviceMemory &memory) {
  for (const std::string &text : outputTexts) {
    auto [indexText, path] = StringRef(text).split('=');
    Expected<size_t> index = arrayIndex(indexText, arguments);
    if (!index)
      return index.takeError();
    const Argument &argument = arguments[*index];
    if (Error error =
            writeNumpy(path, *argument.type, readBack(argument, memory)))
      return error;
  }
  return Error::success();
}

void printText(const ptxvm::LaunchResult &result,
               const std::vector<Printed> &arrays) {
  outs() << result.output;
  for (const Printed &printed : arrays) {
    outs() << "arg " << printed.index << ":";
    for (const std::string &value : printed.values)
      outs() << " " << value;
    outs() << "\n";
  }
  for (const ptxvm::Finding &finding : result.findings)
    outs() << finding.str() << "\n";
  if (!showCounters)
    return;
  for (const auto &[name, value] : ptxvm::listCounters(result.counters))
    outs() << StringRef(name.data(), name.size()) << ": " << value << "\n";
  for (size_t k = 0; k < result.counters.warpInstructionsByClass.size(); ++k)
    if (uint64_t count = result.counters.warpInstructionsByClass[k]) {
      std::string_view name =
          ptxvm::nameOf(static_cast<ptxvm::InstructionClass>(k));
      outs() << "warp_instructions." << StringRef(name.data(), name.size())
             << ": " << count << "\n";
    }
}

json::Array dimArray(const ptxvm::Dim3 &dim) {
  return json::Array{dim.x, dim.y, dim.z};
}

void printJson(const ptxvm::LaunchResult &result,
               const std::vector<Printed> &arrays, double seconds) {
  json::Object root;
  root["message"] = result.message;
  root["seconds"] = seconds;
  root["output"] = result.output;
  json::Array findings;
  for (const ptxvm::Finding &finding : result.findings)
    findings.push_back(
        json::Object{{"kind", std::string(ptxvm::nameOf(finding.kind))},
                     {"kernel", finding.kernel},
                     {"line", finding.line},
                     {"block", dimArray(finding.block)},
                     {"thread", dimArray(finding.thread)},
                     {"address", finding.address},
                     {"message", finding.message},
                     {"count", finding.count}});
  root["findings"] = std::move(findings);
  json::Object counters, classes, values;
  for (const auto &[name, value] : ptxvm::listCounters(result.counters))
    counters[std::string(name)] = value;
  for (size_t k = 0; k < result.counters.warpInstructionsByClass.size(); ++k)
    classes[std::string(
        ptxvm::nameOf(static_cast<ptxvm::InstructionClass>(k)))] =
        result.counters.warpInstructionsByClass[k];
  counters["warp_instructions_by_class"] = std::move(classes);
  root["counters"] = std::move(counters);
  for (const Printed &printed : arrays)
    values[std::to_string(printed.index)] = json::Array(printed.values);
  root["args"] = std::move(values);
  outs() << formatv("{0:2}", json::Value(std::move(root))) << "\n";
}

/// Time that all threads of this process spent on processors.
double processorSeconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * now.tv_nsec;
}

/// A launch as the command line asks for it.
struct Request {
  ptxvm::Dim3 grid, block;
  ptxvm::LaunchOptions options;
  std::vector<Argument> arguments;
};

/// Fails on options that say nothing sensible.
Error readRequest(Request &request) {
  if (!parseDim(gridText, request.grid))
    return createStringError("--grid: expected X[,Y[,Z]], but got '" +
                             gridText + "'");
  if (!parseDim(blockText, request.block))
    return createStringError("--block: expected X[,Y[,Z]], but got '" +
                             blockText + "'");
  if (!parseChecks(request.options.checks))
    return createStringError("--check: expected names of checks, all or none");
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

/// The shortest of several launches.
struct Timing {
  double seconds = 0, processorSeconds = 0;
};

ptxvm::LaunchResult launch(const ptxvm::Module &module,
                           const ptxvm::KernelInfo &kernel,
                           const Request &request,
                           const std::vector<uint8_t> &params, Timing &best) {
  ptxvm::LaunchResult result;
  for (unsigned k = 0; k < std::max(repeatCount.getValue(), 1u); ++k) {
    double before = processorSeconds();
    result = ptxvm::launch(module, kernel.name, request.grid, request.block,
                           sharedBytes, params, request.options);
    double spent = processorSeconds() - before;
    best.seconds =
        k == 0 ? result.seconds : std::min(best.seconds, result.seconds);
    best.processorSeconds =
        k == 0 ? spent : std::min(best.processorSeconds, spent);
  }
  return result;
}

void printTime(const Timing &timing, const ptxvm::Counters &counters) {
  outs() << json::Value(json::Object{
                {"seconds", timing.seconds},
                {"processor_seconds", timing.processorSeconds},
                {"thread_instructions", counters.threadInstructions},
                {"tensor_flops", counters.tensorFlops}})
         << "\n";
}

int run() {
  Request request;
  if (Error error = readRequest(request))
    return fail(wrongUse, toString(std::move(error)));
  ptxvm::DeviceMemory memory;
  std::unique_ptr<ptxvm::Module> module = loadModule(memory);
  if (!module)
    return failedRun;
  if (entryName.empty() && module->kernels().size() == 1)
    entryName = module->kernels()[0].name;
  const ptxvm::KernelInfo *kernel = module->findKernel(entryName.getValue());
  if (!kernel)
    return fail(wrongUse,
                "--entry: no kernel '" + entryName + "' in " + inputFile);
  std::vector<uint8_t> params;
  if (Error error = bindArguments(request.arguments, *kernel, memory, params))
    return fail(wrongUse, "--arg: " + toString(std::move(error)));
  Timing best;
  ptxvm::LaunchResult result = launch(*module, *kernel, request, params, best);
  Expected<std::vector<Printed>> arrays =
      collectArrays(request.arguments, memory);
  if (!arrays)
    return fail(wrongUse, "--print: " + toString(arrays.takeError()));
  if (asJson)
    printJson(result, *arrays, best.seconds);
  else
    printText(result, *arrays);
  if (showTime)
    printTime(best, result.counters);
  outs().flush();
  if (Error error = writeOutputs(request.arguments, memory))
    return fail(failedRun, "--out: " + toString(std::move(error)));
  if (result.status != ptxvm::LaunchStatus::Ok)
    return fail(failedRun, result.message);
  return result.findingsTotal ? failedRun : ok;
}

int list() {
  ptxvm::DeviceMemory memory;
  std::unique_ptr<ptxvm::Module> module = loadModule(memory);
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
