// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ProfileOptions.h"

#include "nag/Driver/Target.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Process.h"

#include <chrono>

using namespace llvm;
using namespace nag;
using namespace nag::tool;

ProfileOptions::ProfileOptions(cl::SubCommand &command, StringRef deviceText)
    : input(cl::Positional, cl::sub(command), cl::Required,
            cl::desc("<model.mlir>")),
      target("target", cl::sub(command), cl::init("cuda"),
             cl::value_desc("cuda"), cl::desc("Target (default: cuda)")),
      chip("chip", cl::sub(command), cl::init("sm_80"),
           cl::value_desc("sm_80|sm_90a"),
           cl::desc("Chip to generate code for (default: sm_80)")),
      precision("precision", cl::sub(command), cl::init("f32"),
                cl::value_desc("f32|tf32|bf16"),
                cl::desc("How contractions of f32 tensors multiply (default: "
                         "f32)")),
      device("device", cl::sub(command), cl::init("vm"),
             cl::value_desc("vm|number"), cl::desc(deviceText)) {}

Expected<profile::Options> ProfileOptions::read() const {
  if (target != "cuda")
    return make_error<UsageError>("--target: expected cuda, but got '" +
                                  target + "'");
  driver::TargetOptions chosen;
  chosen.target = target;
  chosen.chip = chip;
  chosen.precision = precision;
  chosen.device = device;
  if (Error error = chosen.check())
    return make_error<UsageError>("--" + toString(std::move(error)));
  profile::Options options;
  options.chip = chip;
  options.precision = precision;
  options.device = device;
  return options;
}

/// A step needs @loss alone.
static void keepLoss(mlir::ModuleOp module) {
  if (!module.lookupSymbol("loss"))
    return;
  for (auto function :
       make_early_inc_range(module.getOps<mlir::func::FuncOp>()))
    if (!function.isPrivate() && function.getName() != "loss")
      function.erase();
}

/// A module in a context of its own.
struct ProfileOptions::Module {
  explicit Module(const mlir::DialectRegistry &registry) : context(registry) {}

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  bool isStep = false;
};

Expected<std::unique_ptr<ProfileOptions::Module>>
ProfileOptions::readModule() const {
  mlir::DialectRegistry registry;
  registerDialects(registry);
  auto result = std::make_unique<Module>(registry);
  auto module = driver::readModule(input, result->context);
  if (!module)
    return module.takeError();
  result->module = std::move(*module);
  result->isStep = result->module->lookupSymbol("loss") != nullptr;
  return result;
}

Expected<profile::Profile>
ProfileOptions::measure(const profile::Options &options) const {
  auto module = readModule();
  if (!module)
    return module.takeError();
  profile::Options own = options;
  own.differentiate = (*module)->isStep && own.functions.empty();
  if (own.differentiate)
    keepLoss(*(*module)->module);
  DiagnosticCollector diagnostics((*module)->context);
  auto result = profile::measure(*(*module)->module, own);
  if (!result)
    return diagnostics.takeError(input + ": " + toString(result.takeError()));
  return result;
}

Error ProfileOptions::inspect(cuda::ProgramObserver &observer) const {
  auto options = read();
  auto module = readModule();
  if (Error error = joinErrors(options.takeError(), module.takeError()))
    return error;
  options->differentiate = (*module)->isStep;
  if ((*module)->isStep)
    keepLoss(*(*module)->module);
  cuda::CompileOptions compile;
  options->configure(compile);
  compile.observer = &observer;
  DiagnosticCollector diagnostics((*module)->context);
  auto lowered = cuda::lower(*(*module)->module, compile);
  if (lowered)
    return Error::success();
  return diagnostics.takeError(input + ": " + toString(lowered.takeError()));
}

//===----------------------------------------------------------------------===//
// CountProgress
//===----------------------------------------------------------------------===//

static double now() {
  using Clock = std::chrono::steady_clock;
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

CountProgress::CountProgress(std::string workName, std::string unitName)
    : work(std::move(workName)), unit(std::move(unitName)),
      isTerminal(sys::Process::StandardErrIsDisplayed()), start(now()),
      last(start) {}

std::function<void(int64_t, int64_t)> CountProgress::getCallback() {
  return [this](int64_t done, int64_t total) { update(done, total); };
}

void CountProgress::update(int64_t done, int64_t total) {
  constexpr double redraw = 0.1, line = 10;
  if (now() - last < (isTerminal ? redraw : line))
    return;
  last = now();
  std::string text = formatv("{0}: {1} {2} of at most {3}, {4:F0} s", work,
                             unit, done, total, last - start);
  if (isTerminal)
    errs() << '\r' << text << "\x1b[K";
  else
    errs() << text << '\n';
  isDrawn = true;
}

void CountProgress::finish() {
  if (isTerminal && isDrawn)
    errs() << "\r\x1b[K";
  isDrawn = false;
}
