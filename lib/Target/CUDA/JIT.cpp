// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A program whose host functions run in this process and whose kernels run on a
// CUDA device.
#include "nag/Runtime/CUDA/Device.h"
#include "nag/Target/CPU/Compiler.h"
#include "nag/Target/CUDA/Compiler.h"
#include "nag/Target/CUDA/KernelCache.h"
#include "nag/Target/CompiledProgram.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

using namespace llvm;
using namespace nag;
using namespace nag::cuda;
using runtime::Buffer;
using runtime::cuda::CUDADevice;
using runtime::cuda::LoadedModule;

namespace {

/// What the generated host functions see of the program: the context of the
/// nag_gpu_* functions. The first failure is kept and ends all later work.
class LaunchContext {
public:
  LaunchContext(CUDADevice &cudaDevice, ProgramObserver *programObserver)
      : device(cudaDevice), observer(programObserver) {}

  Error load(const LoweredProgram &program, StringRef image);

  void launch(int64_t kernel, const int64_t *sizes, void **arguments);
  void copy(void *to, const void *from, int64_t bytes);
  void *getScratch() const { return scratch.get(); }
  void *getConstant(const void *host, int64_t bytes);

  /// The failure since the last call.
  Error takeFailure();
  /// That, or the failure of the work still in the stream.
  Error finish();

private:
  void keep(Error error);

  struct Kernel {
    std::string name;
    runtime::cuda::Function function;
  };

  void launchKernel(const Kernel &kernel, const int64_t *sizes,
                    void **arguments);

  CUDADevice &device;
  ProgramObserver *observer;
  std::unique_ptr<LoadedModule> module;
  std::vector<Kernel> kernels;
  Buffer scratch;
  DenseMap<const void *, Buffer> constants;
  std::string failure;
};

class CUDAProgram : public CompiledProgram {
public:
  static Expected<std::unique_ptr<runtime::Program>>
  create(LoweredProgram lowered, StringRef image, SmallVector<char, 0> object,
         StringRef deviceName, ProgramObserver *observer);
  ~CUDAProgram() override { releaseWorkspace(); }

  runtime::Device &device() override { return *gpu; }
  Error enqueue(StringRef function, ArrayRef<void *> arguments,
                void *stream) override;

protected:
  Error beginCall() override { return gpu->makeCurrent(); }
  Error finishCall() override { return context->finish(); }

private:
  std::unique_ptr<CUDADevice> gpu;
  std::unique_ptr<LaunchContext> context;
};

} // namespace

//===----------------------------------------------------------------------===//
// LaunchContext
//===----------------------------------------------------------------------===//

Error LaunchContext::load(const LoweredProgram &program, StringRef image) {
  // A program may only hand on or copy what it is given.
  if (program.kernels.empty())
    return Error::success();
  auto loaded = LoadedModule::load(device, image);
  if (!loaded)
    return loaded.takeError();
  module = std::move(*loaded);
  for (const KernelInfo &info : program.kernels) {
    auto function = module->getKernel(info.name, info.sharedBytes);
    if (!function)
      return function.takeError();
    kernels.push_back({info.name, *function});
  }
  auto buffer = Buffer::create(device, program.scratchBytes, /*zeroed=*/false);
  if (!buffer)
    return buffer.takeError();
  scratch = std::move(*buffer);
  return Error::success();
}

void LaunchContext::keep(Error error) {
  if (error && failure.empty())
    failure = toString(std::move(error));
  else
    consumeError(std::move(error));
}

void LaunchContext::launch(int64_t number, const int64_t *sizes,
                           void **arguments) {
  if (!failure.empty())
    return;
  auto launchNow = [&] { launchKernel(kernels[number], sizes, arguments); };
  if (observer)
    observer->launch(number, launchNow);
  else
    launchNow();
}

void LaunchContext::launchKernel(const Kernel &kernel, const int64_t *sizes,
                                 void **arguments) {
  runtime::cuda::Result result = device.getDriver()->cuLaunchKernel(
      kernel.function, sizes[0], sizes[1], sizes[2], sizes[3], sizes[4],
      sizes[5], sizes[6], device.getStream(), arguments, nullptr);
  if (result == 0)
    return;
  // What went wrong may be an earlier kernel's work.
  keep(device.checkFindings());
  keep(device.getDriver().check(result, "at the launch of kernel '" +
                                            kernel.name + "'"));
}

void LaunchContext::copy(void *to, const void *from, int64_t bytes) {
  if (!failure.empty())
    return;
  if (observer)
    observer->copy(bytes);
  keep(device.copy(to, from, bytes));
}

/// Constants stand in the loaded host code: their addresses are theirs alone.
void *LaunchContext::getConstant(const void *host, int64_t bytes) {
  Buffer &constant = constants[host];
  if (constant.get() || !failure.empty())
    return constant.get();
  auto buffer = Buffer::create(device, bytes, /*zeroed=*/false);
  if (!buffer) {
    keep(buffer.takeError());
    return nullptr;
  }
  constant = std::move(*buffer);
  keep(device.copyToDevice(constant.get(), host, bytes));
  return constant.get();
}

Error LaunchContext::takeFailure() {
  if (failure.empty())
    return Error::success();
  return createStringError(std::exchange(failure, std::string()));
}

Error LaunchContext::finish() {
  keep(device.synchronize());
  return takeFailure();
}

static void launchKernel(LaunchContext *context, int64_t kernel,
                         const int64_t *sizes, void **arguments) {
  context->launch(kernel, sizes, arguments);
}
static void copyMemory(LaunchContext *context, void *to, const void *from,
                       int64_t bytes) {
  context->copy(to, from, bytes);
}
static void *getScratch(LaunchContext *context) {
  return context->getScratch();
}
static void *getConstant(LaunchContext *context, const void *host,
                         int64_t bytes) {
  return context->getConstant(host, bytes);
}

//===----------------------------------------------------------------------===//
// CUDAProgram
//===----------------------------------------------------------------------===//

Expected<std::unique_ptr<runtime::Program>>
CUDAProgram::create(LoweredProgram lowered, StringRef image,
                    SmallVector<char, 0> object, StringRef deviceName,
                    ProgramObserver *observer) {
  auto program = std::make_unique<CUDAProgram>();
  auto gpu = CUDADevice::open(deviceName);
  if (!gpu)
    return gpu.takeError();
  program->gpu = std::move(*gpu);
  if (!program->gpu->supports(lowered.chip))
    return createStringError("expected a device that runs code for " +
                             lowered.chip + ", but got " +
                             program->gpu->getDescription());
  program->context = std::make_unique<LaunchContext>(*program->gpu, observer);
  if (Error error = program->context->load(lowered, image))
    return error;
  HostSymbol symbols[] = {
      {"nag_gpu_context", program->context.get()},
      {"nag_gpu_launch", reinterpret_cast<void *>(&launchKernel)},
      {"nag_gpu_copy", reinterpret_cast<void *>(&copyMemory)},
      {"nag_gpu_scratch", reinterpret_cast<void *>(&getScratch)},
      {"nag_gpu_constant", reinterpret_cast<void *>(&getConstant)}};
  if (Error error = program->load(std::move(lowered.manifest),
                                  std::move(object), symbols))
    return error;
  return program;
}

Error CUDAProgram::enqueue(StringRef function, ArrayRef<void *> arguments,
                           void *stream) {
  if (Error error = beginCall())
    return error;
  if (Error error = gpu->useStream(static_cast<runtime::cuda::Stream>(stream)))
    return error;
  Error failure = invoke(function, arguments);
  if (!failure)
    failure = context->takeFailure();
  return joinErrors(std::move(failure), gpu->useOwnStream());
}

static Expected<std::string> compileKernels(const LoweredProgram &program) {
  LLVMContext context;
  auto device =
      translateToLLVM(program.getDeviceModule(), program.chip, context);
  if (!device)
    return device.takeError();
  return emitPTX(**device, program.chip);
}

/// PTX text of the program's kernels, from the cache where it is there.
static Expected<std::string> getKernels(const LoweredProgram &program,
                                        StringRef cacheFolder) {
  if (!program.device)
    return std::string();
  if (cacheFolder.empty())
    return compileKernels(program);
  auto cache = KernelCache::open(cacheFolder);
  if (!cache)
    return cache.takeError();
  std::string key =
      KernelCache::getKey(program.getDeviceModule(), program.chip);
  if (std::optional<std::string> ptx = cache->lookup(key))
    return std::move(*ptx);
  auto ptx = compileKernels(program);
  if (ptx)
    cache->store(key, *ptx);
  return ptx;
}

Expected<std::unique_ptr<runtime::Program>>
nag::cuda::createProgram(mlir::ModuleOp program, const CompileOptions &options,
                         StringRef deviceName) {
  auto lowered = lower(program, options);
  if (!lowered)
    return lowered.takeError();
  auto ptx = getKernels(*lowered, options.kernelCache);
  if (!ptx)
    return ptx.takeError();
  LLVMContext context;
  if (options.observer)
    if (Error error = options.observer->seeDevice(*lowered, *ptx))
      return error;
  auto host = cpu::translateToLLVM(program, context);
  if (!host)
    return host.takeError();
  auto object = cpu::emitObject(**host);
  if (!object)
    return object.takeError();
  return CUDAProgram::create(std::move(*lowered), *ptx, std::move(*object),
                             deviceName, options.observer);
}
