// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/CUDA/Driver.h"
#include "nag/Runtime/Files.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"

using namespace llvm;
using namespace nag::runtime::cuda;

/// CUDA 12.0, the first that knows PTX ISA 8.0.
static constexpr int kOldestVersion = 12000;

static constexpr StringLiteral kDriverLibrary = "libcuda.so.1";
static constexpr StringLiteral kMachineLibrary = "libnagptxvm-cuda.so";

std::string nag::runtime::cuda::getDriverLibrary(StringRef device) {
  if (device != "vm")
    return kDriverLibrary.str();
  if (auto path = sys::Process::GetEnv("NAG_PTXVM_LIBRARY"))
    return *path;
  // This code is in a program (bin/) or in the Python package (nag/).
  SmallString<128> folder(getOwnFile());
  sys::path::remove_filename(folder);
  for (StringRef up : {"../lib", "../../lib", "."}) {
    SmallString<128> path(folder);
    sys::path::append(path, up, kMachineLibrary);
    if (sys::fs::exists(path))
      return std::string(path);
  }
  return kMachineLibrary.str();
}

Error Driver::check(Result result, const Twine &what) const {
  if (result == 0)
    return Error::success();
  const char *name = nullptr, *text = nullptr;
  if (api.cuGetErrorName(result, &name) != 0 || !name)
    name = "unknown error";
  if (api.cuGetErrorString(result, &text) != 0 || !text)
    text = "the driver has no text for it";
  return createStringError(what + ": " + name + " (" + Twine(result) +
                           "): " + text);
}

Error Driver::lookUpFunctions(StringRef library) {
  StringRef missing;
  auto lookUp = [&](auto &function, const char *name) {
    void *address = handle.getAddressOfSymbol(name);
    if (!address && missing.empty())
      missing = name;
    function = reinterpret_cast<std::decay_t<decltype(function)>>(address);
  };
#define NAG_LOOK_UP(name) lookUp(machine.name, #name)
  NAG_LOOK_UP(nagPtxvmShowFindings);
  NAG_LOOK_UP(nagPtxvmFindingCount);
  NAG_LOOK_UP(nagPtxvmGetFinding);
#undef NAG_LOOK_UP
  if (!missing.empty())
    machine = {};
  missing = StringRef();
#define NAG_LOOK_UP(name) lookUp(api.name, #name)
  NAG_LOOK_UP(cuInit);
  NAG_LOOK_UP(cuDriverGetVersion);
  NAG_LOOK_UP(cuGetErrorName);
  NAG_LOOK_UP(cuGetErrorString);
  NAG_LOOK_UP(cuDeviceGetCount);
  NAG_LOOK_UP(cuDeviceGet);
  NAG_LOOK_UP(cuDeviceGetName);
  NAG_LOOK_UP(cuDeviceGetAttribute);
  NAG_LOOK_UP(cuDevicePrimaryCtxRetain);
  NAG_LOOK_UP(cuDevicePrimaryCtxRelease_v2);
  NAG_LOOK_UP(cuCtxSetCurrent);
  NAG_LOOK_UP(cuModuleLoadDataEx);
  NAG_LOOK_UP(cuModuleUnload);
  NAG_LOOK_UP(cuModuleGetFunction);
  NAG_LOOK_UP(cuFuncSetAttribute);
  NAG_LOOK_UP(cuMemAlloc_v2);
  NAG_LOOK_UP(cuMemFree_v2);
  NAG_LOOK_UP(cuMemGetInfo_v2);
  NAG_LOOK_UP(cuMemcpyHtoD_v2);
  NAG_LOOK_UP(cuMemcpyDtoH_v2);
  NAG_LOOK_UP(cuMemcpyDtoDAsync_v2);
  NAG_LOOK_UP(cuMemsetD8Async);
  NAG_LOOK_UP(cuStreamCreate);
  NAG_LOOK_UP(cuStreamDestroy_v2);
  NAG_LOOK_UP(cuStreamSynchronize);
  NAG_LOOK_UP(cuStreamWaitEvent);
  NAG_LOOK_UP(cuEventCreate);
  NAG_LOOK_UP(cuEventRecord);
  NAG_LOOK_UP(cuEventElapsedTime);
  NAG_LOOK_UP(cuEventDestroy_v2);
  NAG_LOOK_UP(cuLaunchKernel);
#undef NAG_LOOK_UP
  if (missing.empty())
    return Error::success();
  return createStringError(library +
                           ": expected a CUDA driver of version "
                           "12.0 or later, but it has no " +
                           missing);
}

std::string nag::runtime::cuda::explainMissing(StringRef library,
                                               StringRef reason) {
  if (library.ends_with(kMachineLibrary))
    return ("no PTX machine: " + reason +
            "; `make build` builds it, NAG_PTXVM_LIBRARY names it elsewhere")
        .str();
  StringRef way = library == kDriverLibrary ? "; the device vm needs none" : "";
  return ("no CUDA driver: " + reason + way).str();
}

Expected<std::unique_ptr<Driver>> Driver::load(StringRef library) {
  std::string reason;
  std::unique_ptr<Driver> driver(new Driver());
  driver->handle =
      sys::DynamicLibrary::getLibrary(library.str().c_str(), &reason);
  if (!driver->handle.isValid())
    return createStringError(explainMissing(library, reason));
  if (Error error = driver->lookUpFunctions(library))
    return error;
  if (Error error = driver->check((*driver)->cuInit(0), "cuInit"))
    return error;
  int version = 0;
  if (Error error = driver->check((*driver)->cuDriverGetVersion(&version),
                                  "cuDriverGetVersion"))
    return error;
  if (version < kOldestVersion)
    return createStringError(
        library + ": expected a driver for CUDA 12.0 or later, but got CUDA " +
        Twine(version / 1000) + "." + Twine(version % 1000 / 10));
  return driver;
}
