// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/CUDA/Device.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include <algorithm>

using namespace llvm;
using namespace nag::runtime;
using namespace nag::runtime::cuda;

static DevicePointer toDevice(const void *buffer) {
  return reinterpret_cast<DevicePointer>(buffer);
}

//===----------------------------------------------------------------------===//
// CUDADevice
//===----------------------------------------------------------------------===//

Expected<std::unique_ptr<CUDADevice>> CUDADevice::open(StringRef name) {
  std::unique_ptr<CUDADevice> device(new CUDADevice());
  if (Error error = device->initialize(name))
    return error;
  return device;
}

/// The device of that number: the machine has one, number 0.
static Expected<DeviceOrdinal> findDevice(const Driver &driver,
                                          StringRef name) {
  int number = 0, count = 0;
  if (name != "vm" && (name.getAsInteger(10, number) || number < 0))
    return createStringError("expected the device 'vm' or the number of a GPU,"
                             " but got '" +
                             name + "'");
  if (Error error =
          driver.check(driver->cuDeviceGetCount(&count), "cuDeviceGetCount"))
    return error;
  if (number >= count)
    return createStringError("device " + Twine(number) +
                             ": expected a number below " + Twine(count) +
                             ", the number of GPUs");
  DeviceOrdinal ordinal = 0;
  if (Error error =
          driver.check(driver->cuDeviceGet(&ordinal, number), "cuDeviceGet"))
    return error;
  return ordinal;
}

Error CUDADevice::initialize(StringRef name) {
  auto loaded = Driver::load(getDriverLibrary(name));
  if (!loaded)
    return loaded.takeError();
  driver = std::move(*loaded);
  if (const MachineFunctions *machine = driver->getMachine()) {
    machine->nagPtxvmShowFindings(0);
    // Others' of this process are not ours.
    consumeError(checkFindings());
  }
  auto found = findDevice(*driver, name);
  if (!found)
    return found.takeError();
  ordinal = *found;
  const DriverFunctions &api = driver->functions();
  int major = 0, minor = 0;
  char text[256] = "";
  if (Error error = driver->check(
          api.cuDeviceGetAttribute(&major, kComputeCapabilityMajor, ordinal),
          "cuDeviceGetAttribute"))
    return error;
  if (Error error = driver->check(
          api.cuDeviceGetAttribute(&minor, kComputeCapabilityMinor, ordinal),
          "cuDeviceGetAttribute"))
    return error;
  if (Error error = driver->check(
          api.cuDeviceGetName(text, sizeof(text), ordinal), "cuDeviceGetName"))
    return error;
  capability = 10 * major + minor;
  description = (Twine(text) + ", sm_" + Twine(capability)).str();
  if (Error error =
          driver->check(api.cuDevicePrimaryCtxRetain(&context, ordinal),
                        "cuDevicePrimaryCtxRetain"))
    return error;
  if (Error error = makeCurrent())
    return error;
  if (Error error = driver->check(api.cuStreamCreate(&stream, /*flags=*/0),
                                  "cuStreamCreate"))
    return error;
  current = stream;
  return driver->check(api.cuEventCreate(&event, kEventWithoutTime),
                       "cuEventCreate");
}

CUDADevice::~CUDADevice() {
  if (event)
    (*driver)->cuEventDestroy_v2(event);
  if (stream)
    (*driver)->cuStreamDestroy_v2(stream);
  if (context)
    (*driver)->cuDevicePrimaryCtxRelease_v2(ordinal);
}

bool CUDADevice::supports(StringRef chip) const {
  int wanted = 0;
  if (!chip.consume_front("sm_") || chip.consumeInteger(10, wanted))
    return false;
  return chip == "a" ? capability == wanted : capability >= wanted;
}

Expected<void *> CUDADevice::allocate(size_t bytes, bool zeroed) {
  if (Error error = makeCurrent())
    return error;
  const DriverFunctions &api = driver->functions();
  DevicePointer pointer = 0;
  Result result = api.cuMemAlloc_v2(&pointer, std::max<size_t>(bytes, 1));
  if (result == kOutOfMemory) {
    size_t available = 0, total = 0;
    api.cuMemGetInfo_v2(&available, &total);
    return createStringError("out of memory on " + description + ": expected " +
                             Twine(bytes) + " free bytes, but " +
                             Twine(available) + " of " + Twine(total) +
                             " are free");
  }
  if (Error error = driver->check(result, "cuMemAlloc"))
    return error;
  if (zeroed)
    if (Error error = driver->check(
            api.cuMemsetD8Async(pointer, 0, bytes, stream), "cuMemsetD8"))
      return error;
  return reinterpret_cast<void *>(pointer);
}

void CUDADevice::release(void *buffer) {
  (*driver)->cuMemFree_v2(toDevice(buffer));
}

Error CUDADevice::copyToDevice(void *buffer, const void *host, size_t bytes) {
  if (Error error = synchronize())
    return error;
  return driver->check(
      (*driver)->cuMemcpyHtoD_v2(toDevice(buffer), host, bytes),
      "cuMemcpyHtoD");
}

Error CUDADevice::copyToHost(void *host, const void *buffer, size_t bytes) {
  if (Error error = synchronize())
    return error;
  return driver->check(
      (*driver)->cuMemcpyDtoH_v2(host, toDevice(buffer), bytes),
      "cuMemcpyDtoH");
}

Error CUDADevice::makeCurrent() {
  return driver->check((*driver)->cuCtxSetCurrent(context), "cuCtxSetCurrent");
}

Error CUDADevice::copy(void *to, const void *from, size_t bytes) {
  return driver->check((*driver)->cuMemcpyDtoDAsync_v2(
                           toDevice(to), toDevice(from), bytes, current),
                       "cuMemcpyDtoDAsync");
}

Error CUDADevice::useStream(Stream other) {
  if (other == current)
    return Error::success();
  if (Error error = driver->check((*driver)->cuEventRecord(event, current),
                                  "cuEventRecord"))
    return error;
  if (Error error =
          driver->check((*driver)->cuStreamWaitEvent(other, event, /*flags=*/0),
                        "cuStreamWaitEvent"))
    return error;
  current = other;
  return Error::success();
}

Error CUDADevice::synchronize() {
  Error error = makeCurrent();
  if (!error)
    error = driver->check((*driver)->cuStreamSynchronize(stream),
                          "cuStreamSynchronize");
  Error found = checkFindings();
  if (!found)
    return error;
  consumeError(std::move(error));
  return found;
}

static std::string format(const uint32_t (&index)[3]) {
  return formatv("({0},{1},{2})", index[0], index[1], index[2]);
}

static Error describe(const NagPtxvmFinding &finding) {
  return createStringError(
      formatv("kernel '{0}': {1}: {2} (PTX line {3}, block {4}, thread {5})",
              finding.kernel, finding.kind, finding.message, finding.line,
              format(finding.block), format(finding.thread))
          .str());
}

Error CUDADevice::checkFindings() {
  const MachineFunctions *machine = driver->getMachine();
  if (!machine)
    return Error::success();
  Error result = Error::success();
  findings.resize(machine->nagPtxvmFindingCount());
  for (auto [index, reported] : enumerate(findings)) {
    NagPtxvmFinding finding;
    if (machine->nagPtxvmGetFinding(index, &finding) != 0 ||
        std::exchange(reported, finding.count) >= finding.count || result)
      continue;
    result = describe(finding);
  }
  return result;
}

//===----------------------------------------------------------------------===//
// LoadedModule
//===----------------------------------------------------------------------===//

Expected<std::unique_ptr<LoadedModule>> LoadedModule::load(CUDADevice &device,
                                                           StringRef image) {
  std::unique_ptr<LoadedModule> loaded(new LoadedModule(device));
  char log[4096] = "";
  int names[] = {kErrorLogBuffer, kErrorLogBufferBytes};
  void *values[] = {log, reinterpret_cast<void *>(sizeof(log))};
  const Driver &driver = device.getDriver();
  Result result = driver->cuModuleLoadDataEx(&loaded->module, image.data(), 2,
                                             names, values);
  StringRef details = StringRef(log).trim().split('\n').first;
  if (Error error = driver.check(
          result, details.empty() ? Twine("cuModuleLoadDataEx") : details))
    return error;
  return loaded;
}

LoadedModule::~LoadedModule() {
  if (module)
    device.getDriver()->cuModuleUnload(module);
}

Expected<Function> LoadedModule::getKernel(StringRef name,
                                           int64_t sharedBytes) {
  const Driver &driver = device.getDriver();
  Function function = nullptr;
  if (Error error = driver.check(
          driver->cuModuleGetFunction(&function, module, name.str().c_str()),
          name))
    return error;
  if (Error error = driver.check(
          driver->cuFuncSetAttribute(function, kMaxDynamicSharedBytes,
                                     sharedBytes),
          name + ": " + Twine(sharedBytes) + " bytes of dynamic shared memory"))
    return error;
  return function;
}
