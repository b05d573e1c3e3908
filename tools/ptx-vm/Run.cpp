// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Run.h"
#include "Results.h"

#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/WithColor.h"
#include "llvm/Support/raw_ostream.h"

#include <ctime>

using namespace llvm;
using namespace ptxvm_tool;

int ptxvm_tool::fail(ExitCode code, const Twine &message) {
  WithColor::error(errs(), "ptx-vm") << message << "\n";
  return code;
}

std::unique_ptr<ptxvm::Module>
ptxvm_tool::loadModule(const std::string &file, ptxvm::DeviceMemory &memory) {
  auto buffer = MemoryBuffer::getFileOrSTDIN(file);
  if (!buffer) {
    fail(failedRun, file + ": " + buffer.getError().message());
    return nullptr;
  }
  StringRef text = (*buffer)->getBuffer();
  ptxvm::Diagnostic diagnostic;
  auto module =
      ptxvm::Module::load({text.data(), text.size()}, memory, diagnostic);
  if (!module)
    errs() << file << ":" << diagnostic.line
           << ": error: " << diagnostic.message << "\n";
  return module;
}

namespace {

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

/// Time that all threads of this process spent on processors.
double processorSeconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * now.tv_nsec;
}

ptxvm::LaunchResult launch(const ptxvm::Module &module,
                           const ptxvm::KernelInfo &kernel,
                           const KernelRun &request,
                           const std::vector<uint8_t> &params, Timing &best) {
  ptxvm::LaunchResult result;
  for (unsigned k = 0; k < std::max(request.repeats, 1u); ++k) {
    double before = processorSeconds();
    result = ptxvm::launch(module, kernel.name, request.grid, request.block,
                           request.sharedBytes, params, request.options);
    double spent = processorSeconds() - before;
    best.seconds =
        k == 0 ? result.seconds : std::min(best.seconds, result.seconds);
    best.processorSeconds =
        k == 0 ? spent : std::min(best.processorSeconds, spent);
  }
  return result;
}

} // namespace

int ptxvm_tool::runKernel(KernelRun &request) {
  ptxvm::DeviceMemory memory;
  std::unique_ptr<ptxvm::Module> module = loadModule(request.file, memory);
  if (!module)
    return failedRun;
  if (request.entry.empty() && module->kernels().size() == 1)
    request.entry = module->kernels()[0].name;
  const ptxvm::KernelInfo *kernel = module->findKernel(request.entry);
  if (!kernel)
    return fail(wrongUse, "--entry: no kernel '" + request.entry + "' in " +
                              request.file);
  std::vector<uint8_t> params;
  if (Error error = bindArguments(request.arguments, *kernel, memory, params))
    return fail(wrongUse, "--arg: " + toString(std::move(error)));
  Timing best;
  ptxvm::LaunchResult result = launch(*module, *kernel, request, params, best);
  Expected<std::vector<Printed>> arrays = collectArrays(request, memory);
  if (!arrays)
    return fail(wrongUse, "--print: " + toString(arrays.takeError()));
  if (request.asJson)
    printJson(result, *arrays, best.seconds);
  else
    printText(result, *arrays, request.showCounters);
  if (request.showTime)
    printTime(best, result.counters);
  outs().flush();
  if (Error error = writeOutputs(request, memory))
    return fail(failedRun, "--out: " + toString(std::move(error)));
  if (result.status != ptxvm::LaunchStatus::Ok)
    return fail(failedRun, result.message);
  return result.findingsTotal ? failedRun : ok;
}
