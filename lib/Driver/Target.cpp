// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Driver/Target.h"

#include "nag/Conversion/GPUChips.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/Transforms/DifferentiableModels.h"
#include "nag/Runtime/CUDA/Device.h"
#include "nag/Target/CPU/Compiler.h"
#include "nag/Target/CUDA/Compiler.h"
#include "nag/Target/CUDA/KernelCache.h"

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace llvm;
using namespace nag;
using namespace nag::driver;

static constexpr int kMaxThreads = 1024;

namespace {
struct Target {
  StringLiteral name;
  Error (*check)(const TargetOptions &options);
  Expected<std::unique_ptr<runtime::Program>> (*create)(
      mlir::ModuleOp module, const ProgramOptions &options);
};
} // namespace

static Error wrong(const Twine &option, const Twine &expected,
                   const Twine &actual) {
  return createStringError(option + ": expected " + expected + ", but got '" +
                           actual + "'");
}

//===- cpu ----------------------------------------------------------------===//

static Error checkCPU(const TargetOptions &options) {
  if (!options.device.empty())
    return wrong("device", "no device for the target cpu", options.device);
  if (!options.chip.empty())
    return wrong("chip", "no chip for the target cpu, which is this computer's",
                 options.chip);
  if (!options.schedule.empty())
    return wrong("schedule", "no schedules for the target cpu",
                 options.schedule);
  if (options.precision != "f32")
    return wrong("precision", "f32 for the target cpu", options.precision);
  if (options.kernelCache)
    return wrong("kernel-cache", "no kernel cache for the target cpu",
                 *options.kernelCache);
  return Error::success();
}

static Expected<std::unique_ptr<runtime::Program>>
createCPU(mlir::ModuleOp module, const ProgramOptions &options) {
  cpu::CompileOptions compile;
  compile.differentiate = !options.differentiate.empty();
  if (compile.differentiate)
    compile.training.function = options.differentiate;
  compile.training.recompute = options.recompute;
  compile.training.fuseHead = compile.pipeline.fuse = options.target.fuse;
  compile.threads = int(options.target.threads);
  return cpu::createProgram(module, compile);
}

//===- cuda ---------------------------------------------------------------===//

static Error checkCUDA(const TargetOptions &options) {
  int number;
  StringRef device = options.device;
  bool isNumber = !device.getAsInteger(10, number) && number >= 0;
  if (!device.empty() && device != "vm" && !isNumber)
    return wrong("device", "vm or the number of a GPU", device);
  StringRef chip = options.chip;
  if (!chip.empty() && !lookupGPUChip(chip))
    return wrong("chip", listGPUChips(), chip);
  if (!is_contained({"f32", "tf32", "bf16"}, options.precision))
    return wrong("precision", "f32, tf32 or bf16", options.precision);
  return Error::success();
}

/// The given folder, or the user's where there is one to write to.
static std::string getKernelCache(const TargetOptions &options) {
  if (options.kernelCache)
    return *options.kernelCache;
  std::string folder = cuda::KernelCache::getDefaultFolder();
  if (folder.empty())
    return folder;
  if (auto cache = cuda::KernelCache::open(folder); !cache) {
    consumeError(cache.takeError());
    return std::string();
  }
  return folder;
}

/// The latest chip that the GPU runs code for; empty where that is none.
static StringRef findLatestChip(const runtime::cuda::CUDADevice &gpu) {
  StringRef latest;
  for (const GPUChip &chip : getGPUChips())
    if (gpu.supports(chip.name))
      latest = chip.name;
  return latest;
}

static Expected<std::unique_ptr<runtime::Program>>
createCUDA(mlir::ModuleOp module, const ProgramOptions &options) {
  StringRef device = options.target.device.empty()
                         ? StringRef("0")
                         : StringRef(options.target.device);
  StringRef chip = options.target.chip;
  // Open until the program has opened it as well, so that its context is made
  // once. The PTX machine runs code for all chips.
  std::unique_ptr<runtime::cuda::CUDADevice> gpu;
  if (chip.empty() && device != "vm") {
    auto opened = runtime::cuda::CUDADevice::open(device);
    if (!opened)
      return opened.takeError();
    gpu = std::move(*opened);
    chip = findLatestChip(*gpu);
  }
  cuda::CompileOptions compile;
  compile.differentiate = !options.differentiate.empty();
  if (compile.differentiate)
    compile.training.function = options.differentiate;
  compile.training.recompute = options.recompute;
  compile.training.fuseHead = compile.plan.fuse = options.target.fuse;
  if (!chip.empty())
    compile.kernels.chip = chip.str();
  compile.kernels.tf32 = options.target.precision == "tf32";
  compile.kernels.schedule = options.target.schedule;
  compile.training.bf16 = options.target.precision == "bf16";
  compile.keepRoundings = options.keepRoundings;
  compile.kernelCache = getKernelCache(options.target);
  return cuda::createProgram(module, compile, device);
}

//===- The table ----------------------------------------------------------===//

static ArrayRef<Target> targets() {
  static const Target table[] = {{"cpu", checkCPU, createCPU},
                                 {"cuda", checkCUDA, createCUDA}};
  return table;
}

static const Target *lookup(StringRef name) {
  const Target *found = find_if(
      targets(), [&](const Target &target) { return target.name == name; });
  return found == targets().end() ? nullptr : found;
}

std::string nag::driver::listTargets() {
  auto names = map_range(targets(), [](const Target &t) { return t.name; });
  return join(names, ", ");
}

Error TargetOptions::check() const {
  const Target *found = lookup(target);
  if (!found)
    return wrong("target", listTargets(), target);
  if (threads < 0 || threads > kMaxThreads)
    return wrong("threads", "a number in [1, " + Twine(kMaxThreads) + "]",
                 Twine(threads));
  return found->check(*this);
}

Expected<std::unique_ptr<runtime::Program>>
nag::driver::createProgram(mlir::ModuleOp module,
                           const ProgramOptions &options) {
  if (Error error = options.target.check())
    return error;
  return lookup(options.target.target)->create(module, options);
}

void nag::driver::registerDialects(mlir::DialectRegistry &registry) {
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  registry.insert<NagDialect>();
  registerDifferentiableExternalModels(registry);
  cpu::registerTranslations(registry);
}
