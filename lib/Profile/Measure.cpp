// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs a program's functions once and counts what its kernels do.
#include "Calls.h"
#include "LaunchTimer.h"
#include "Machine.h"
#include "Summary.h"
#include "nag/Conversion/NagToGPU.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/Transforms/Prologues.h"
#include "nag/Runtime/CUDA/Device.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringExtras.h"

#include <chrono>

using namespace llvm;
using namespace nag;
using namespace nag::profile;
using runtime::FunctionInfo;
using runtime::TensorInfo;

void Options::configure(cuda::CompileOptions &compile) const {
  compile.differentiate = differentiate;
  compile.kernels.chip = chip;
  compile.kernels.tf32 = precision == "tf32";
  compile.kernels.schedule = schedule;
  compile.training.bf16 = precision == "bf16";
  compile.keepRoundings = true;
}

//===----------------------------------------------------------------------===//
// Kernel functions
//===----------------------------------------------------------------------===//

/// "nag.linear, 2 nag.relu2".
static std::string listOps(ArrayRef<mlir::Operation *> ops) {
  MapVector<StringRef, int> counts;
  for (mlir::Operation *op : ops)
    ++counts[op->getName().getStringRef()];
  return join(map_range(counts,
                        [](const auto &entry) {
                          auto [name, count] = entry;
                          return (count > 1 ? utostr(count) + " " : "") +
                                 name.str();
                        }),
              ", ");
}

/// What goes in and comes out of a kernel function: arguments that are used,
/// destinations among them.
static int64_t countArgumentBytes(mlir::func::FuncOp kernel) {
  int64_t bytes = 0;
  for (mlir::BlockArgument argument : kernel.getArguments())
    if (!argument.use_empty())
      bytes += getTypeBytes(argument.getType());
  return bytes;
}

static Kernel describe(mlir::func::FuncOp function) {
  SmallVector<mlir::Operation *> ops = collectComputation(function);
  append_range(ops, collectPrologues(function.getBody().front()));
  Kernel kernel;
  kernel.name = function.getName().str();
  kernel.ops = listOps(ops);
  kernel.compulsoryBytes = countArgumentBytes(function);
  for (mlir::Operation *op : ops)
    if (auto cost = dyn_cast<CostOpInterface>(op))
      kernel.flops += cost.getFlops();
  // An op alone may know of bytes that it does not touch.
  if (ops.size() == 1)
    if (auto cost = dyn_cast<CostOpInterface>(ops.front()))
      kernel.compulsoryBytes =
          std::min(kernel.compulsoryBytes, cost.getCompulsoryBytes());
  return kernel;
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

namespace {
/// Lets the first launch of each kernel happen, and all of those that select
/// tokens: what others read depends on them. With a timer all happen.
class Recorder : public cuda::ProgramObserver {
public:
  Recorder(Profile &result, const Options &measureOptions)
      : profile(result), options(measureOptions) {}

  void seeKernels(mlir::ModuleOp kernels) override {
    for (auto function : kernels.getOps<mlir::func::FuncOp>())
      if (function->hasAttr(kKernelAttrName)) {
        sources.push_back(describe(function));
        if (!function.getBody().getOps<RouteOp>().empty())
          selecting.insert(function.getName());
      }
  }
  Error seeDevice(const cuda::LoweredProgram &program, StringRef ptx) override;
  void launch(size_t kernel, function_ref<void()> launchKernel) override;
  void copy(int64_t bytes) override {
    ++profile.copies.count;
    profile.copies.bytes += bytes;
  }

  /// Each kernel's time, from the timer.
  void takeTimes();
  /// As if nothing had been launched.
  void restart();
  /// The first launch of each kernel is repeated and timed on this device from
  /// now on.
  void time(runtime::cuda::CUDADevice &gpu) { timed = &gpu; }
  /// All launches happen from now on, timed where there is a timer.
  void runAll(LaunchTimer *launchTimer) {
    runsAll = true;
    timer = launchTimer;
  }
  void finish(const StringMap<Counters> &counters);
  Error takeError() { return std::move(failure); }

private:
  void timeLaunch(DeviceKernel &kernel, function_ref<void()> launchKernel);

  Profile &profile;
  const Options &options;
  /// In the order of the program.
  std::vector<Kernel> sources;
  std::vector<DeviceKernel> launched;
  StringSet<> selecting;
  runtime::cuda::CUDADevice *timed = nullptr;
  bool runsAll = false;
  LaunchTimer *timer = nullptr;
  Error failure = Error::success();
};
} // namespace

Error Recorder::seeDevice(const cuda::LoweredProgram &program, StringRef ptx) {
  StringMap<cuda::KernelResources> resources;
  profile.hasResources = cuda::findAssembler().has_value() && !ptx.empty();
  if (profile.hasResources) {
    auto cubin = cuda::assemble(ptx, program.chip);
    if (!cubin)
      return cubin.takeError();
    resources = std::move(cubin->kernels);
  }
  for (const cuda::KernelInfo &info : program.kernels) {
    DeviceKernel kernel;
    kernel.info = info;
    if (profile.hasResources)
      kernel.resources = resources.lookup(info.name);
    launched.push_back(std::move(kernel));
  }
  return Error::success();
}

void Recorder::launch(size_t number, function_ref<void()> launchKernel) {
  DeviceKernel &kernel = launched[number];
  if (runsAll) {
    ++kernel.launches;
    return timer ? timer->time(number, launchKernel) : launchKernel();
  }
  bool isFirst = kernel.launches++ == 0;
  if (!isFirst && !selecting.contains(kernel.info.source))
    return;
  if (options.counts && !options.counts(kernel.info.source))
    return;
  if (timed)
    timeLaunch(kernel, launchKernel);
  else
    launchKernel();
  ++kernel.runs;
  if (!isFirst)
    return;
  ++profile.runs;
  if (options.progress)
    options.progress(profile.runs, launched.size());
}

void Recorder::takeTimes() {
  for (auto [number, kernel] : enumerate(launched))
    kernel.seconds = timer->getSeconds(number);
}

void Recorder::restart() {
  profile.runs = 0;
  profile.copies = {};
  for (DeviceKernel &kernel : launched)
    kernel.launches = kernel.runs = 0;
}

/// The mean of launches in a row, which hide what one costs the host.
void Recorder::timeLaunch(DeviceKernel &kernel,
                          function_ref<void()> launchKernel) {
  constexpr int warmUps = 3, repeats = 20;
  auto run = [&](int count) {
    for (int i = 0; i < count; ++i)
      launchKernel();
    failure = joinErrors(std::move(failure), timed->synchronize());
  };
  using Clock = std::chrono::steady_clock;
  run(warmUps);
  auto start = Clock::now();
  run(repeats);
  std::chrono::duration<double> elapsed = Clock::now() - start;
  kernel.seconds = elapsed.count() / repeats;
}

void Recorder::finish(const StringMap<Counters> &counters) {
  StringMap<Kernel *> byName;
  for (Kernel &kernel : sources)
    byName[kernel.name] = &kernel;
  for (DeviceKernel &kernel : launched) {
    if (kernel.launches == 0)
      continue;
    kernel.counters = counters.lookup(kernel.info.name);
    kernel.counters.divide(std::max<int64_t>(kernel.runs, 1));
    byName[kernel.info.source]->parts.push_back(std::move(kernel));
  }
  for (Kernel &kernel : sources)
    if (!kernel.parts.empty())
      profile.kernels.push_back(std::move(kernel));
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

/// The functions of a step, else all that there are.
static std::vector<std::string> chooseFunctions(runtime::Program &program) {
  if (program.lookup("gradients") && program.lookup("apply"))
    return {"gradients", "apply"};
  std::vector<std::string> names;
  for (const FunctionInfo &function : program.functions())
    names.push_back(function.name);
  return names;
}

static Error callOnce(runtime::Program &program, StringRef name,
                      Thresholds &thresholds) {
  auto call = Call::prepare(program, name, thresholds);
  if (!call)
    return call.takeError();
  if (Error error = call->run(program))
    return error;
  return call->adapt(program, thresholds);
}

static Error runFunctions(runtime::Program &program, Profile &profile,
                          Thresholds &thresholds) {
  for (const std::string &function : profile.functions)
    if (Error error = callOnce(program, function, thresholds))
      return error;
  return Error::success();
}

static bool takesThresholds(const FunctionInfo &function) {
  return any_of(function.arguments, [](const TensorInfo &argument) {
    return argument.name == "thresholds" &&
           argument.access != TensorInfo::Access::Write;
  });
}

/// Finds thresholds for the rate, where there is one: those of a sub-layer are
/// right once those of all before it are.
static Error settle(runtime::Program &program, const Profile &profile,
                    Recorder &recorder, Thresholds &thresholds) {
  if (!thresholds.rate)
    return Error::success();
  for (const std::string &name : profile.functions) {
    const FunctionInfo *function = program.lookup(name);
    if (!function || !takesThresholds(*function))
      continue;
    do {
      if (Error error = callOnce(program, name, thresholds))
        return error;
      recorder.restart();
    } while (++thresholds.rounds < thresholds.values.size());
    return Error::success();
  }
  return createStringError("expected a function that takes thresholds for a "
                           "rate of tokens that skip, but got none");
}

/// Runs the functions on the PTX machine, and yields what it counted.
static Expected<StringMap<Counters>> count(runtime::Program &program,
                                           Profile &profile, Recorder &recorder,
                                           Thresholds &thresholds) {
  auto machine = Machine::load();
  if (!machine)
    return machine.takeError();
  if (Error error = machine->count())
    return error;
  if (Error error = settle(program, profile, recorder, thresholds))
    return error;
  machine->take();
  if (Error error = runFunctions(program, profile, thresholds))
    return error;
  return machine->take();
}

//===----------------------------------------------------------------------===//
// Times
//===----------------------------------------------------------------------===//

static constexpr int kWarmUps = 3, kRounds = 11;

static Expected<std::vector<Call>> prepareCalls(runtime::Program &program,
                                                const Profile &profile,
                                                Thresholds &thresholds) {
  std::vector<Call> calls;
  for (const std::string &function : profile.functions) {
    auto call = Call::prepare(program, function, thresholds);
    if (!call)
      return call.takeError();
    calls.push_back(std::move(*call));
  }
  return calls;
}

static Error runCalls(runtime::Program &program, ArrayRef<Call> calls) {
  for (const Call &call : calls)
    if (Error error = call.run(program))
      return error;
  return Error::success();
}

/// The median of steps without events, on the host's clock.
static Expected<double> timeStep(runtime::Program &program,
                                 ArrayRef<Call> calls) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> steps;
  for (int round = 0; round < kWarmUps + kRounds; ++round) {
    auto start = Clock::now();
    if (Error error = runCalls(program, calls))
      return error;
    std::chrono::duration<double> elapsed = Clock::now() - start;
    if (round >= kWarmUps)
      steps.push_back(elapsed.count());
  }
  return findMedian(std::move(steps));
}

/// Times whole steps, then every launch where it stands.
static Error timeInPlace(runtime::Program &program, Profile &profile,
                         Recorder &recorder, Thresholds &thresholds) {
  auto calls = prepareCalls(program, profile, thresholds);
  if (!calls)
    return calls.takeError();
  recorder.runAll(/*launchTimer=*/nullptr);
  auto step = timeStep(program, *calls);
  if (!step)
    return step.takeError();
  profile.stepSeconds = *step;
  LaunchTimer timer(static_cast<runtime::cuda::CUDADevice &>(program.device()));
  recorder.runAll(&timer);
  for (int round = 0; round < kRounds; ++round) {
    recorder.restart();
    if (Error error =
            joinErrors(runCalls(program, *calls), timer.finishRound()))
      return error;
  }
  recorder.takeTimes();
  return Error::success();
}

Expected<Profile> nag::profile::measure(mlir::ModuleOp program,
                                        const Options &options) {
  Profile profile;
  profile.chip = options.chip;
  profile.precision = options.precision;
  profile.functions = options.functions;
  Recorder recorder(profile, options);
  cuda::CompileOptions compile;
  options.configure(compile);
  compile.observer = &recorder;
  auto compiled = cuda::createProgram(program, compile, options.device);
  if (!compiled)
    return compiled.takeError();
  if (profile.functions.empty())
    profile.functions = chooseFunctions(**compiled);
  Thresholds thresholds;
  thresholds.rate = options.skipRate;
  if (options.device == "vm") {
    auto counters = count(**compiled, profile, recorder, thresholds);
    if (!counters)
      return counters.takeError();
    recorder.finish(*counters);
    profile.executedShares = thresholds.executedShares;
    return profile;
  }
  if (Error error = settle(**compiled, profile, recorder, thresholds))
    return error;
  auto &gpu = static_cast<runtime::cuda::CUDADevice &>((*compiled)->device());
  profile.timedDevice = gpu.getDescription();
  recorder.time(gpu);
  Error error = options.timesInPlace
                    ? timeInPlace(**compiled, profile, recorder, thresholds)
                    : runFunctions(**compiled, profile, thresholds);
  if (Error failed = joinErrors(std::move(error), recorder.takeError()))
    return failed;
  recorder.finish({});
  profile.executedShares = thresholds.executedShares;
  return profile;
}
