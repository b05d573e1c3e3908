// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The CUDA driver API (CUDA Driver API reference, CUDA 12 and later) in a
// library loaded by name at run time: NVIDIA's on a machine with a GPU, the PTX
// virtual machine's elsewhere.
#ifndef NAG_RUNTIME_CUDA_DRIVER_H
#define NAG_RUNTIME_CUDA_DRIVER_H

#include "nag/PTXVM/CudaExtension.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/DynamicLibrary.h"
#include "llvm/Support/Error.h"

#include <cstddef>
#include <cstdint>
#include <memory>

namespace nag::runtime::cuda {

/// CUresult: 0 is success.
using Result = int;
using DeviceOrdinal = int;
using DevicePointer = unsigned long long;
using Context = struct CUctx_st *;
using Module = struct CUmod_st *;
using Function = struct CUfunc_st *;
using Stream = struct CUstream_st *;
using Event = struct CUevent_st *;

/// The attributes, options and codes of cuda.h that we use.
enum : int {
  kComputeCapabilityMajor = 75, // CU_DEVICE_ATTRIBUTE_...
  kComputeCapabilityMinor = 76,
  kMaxDynamicSharedBytes = 8, // CU_FUNC_ATTRIBUTE_...
  kErrorLogBuffer = 5,        // CU_JIT_...
  kErrorLogBufferBytes = 6,
  kOutOfMemory = 2,      // CUDA_ERROR_...
  kEventWithoutTime = 2, // CU_EVENT_...
};

/// The functions we call, under their names in the driver's library.
struct DriverFunctions {
  Result (*cuInit)(unsigned flags);
  Result (*cuDriverGetVersion)(int *version);
  Result (*cuGetErrorName)(Result error, const char **name);
  Result (*cuGetErrorString)(Result error, const char **text);
  Result (*cuDeviceGetCount)(int *count);
  Result (*cuDeviceGet)(DeviceOrdinal *device, int ordinal);
  Result (*cuDeviceGetName)(char *name, int bytes, DeviceOrdinal device);
  Result (*cuDeviceGetAttribute)(int *value, int attribute,
                                 DeviceOrdinal device);
  Result (*cuDevicePrimaryCtxRetain)(Context *context, DeviceOrdinal device);
  Result (*cuDevicePrimaryCtxRelease_v2)(DeviceOrdinal device);
  Result (*cuCtxSetCurrent)(Context context);
  Result (*cuModuleLoadDataEx)(Module *module, const void *image,
                               unsigned options, int *names, void **values);
  Result (*cuModuleUnload)(Module module);
  Result (*cuModuleGetFunction)(Function *function, Module module,
                                const char *name);
  Result (*cuFuncSetAttribute)(Function function, int attribute, int value);
  Result (*cuMemAlloc_v2)(DevicePointer *pointer, size_t bytes);
  Result (*cuMemFree_v2)(DevicePointer pointer);
  Result (*cuMemGetInfo_v2)(size_t *available, size_t *total);
  Result (*cuMemcpyHtoD_v2)(DevicePointer to, const void *from, size_t bytes);
  Result (*cuMemcpyDtoH_v2)(void *to, DevicePointer from, size_t bytes);
  Result (*cuMemcpyDtoDAsync_v2)(DevicePointer to, DevicePointer from,
                                 size_t bytes, Stream stream);
  Result (*cuMemsetD8Async)(DevicePointer to, unsigned char value, size_t count,
                            Stream stream);
  Result (*cuStreamCreate)(Stream *stream, unsigned flags);
  Result (*cuStreamDestroy_v2)(Stream stream);
  Result (*cuStreamSynchronize)(Stream stream);
  Result (*cuStreamWaitEvent)(Stream stream, Event event, unsigned flags);
  Result (*cuEventCreate)(Event *event, unsigned flags);
  Result (*cuEventRecord)(Event event, Stream stream);
  Result (*cuEventElapsedTime)(float *milliseconds, Event start, Event end);
  Result (*cuEventDestroy_v2)(Event event);
  Result (*cuLaunchKernel)(Function function, unsigned gridX, unsigned gridY,
                           unsigned gridZ, unsigned blockX, unsigned blockY,
                           unsigned blockZ, unsigned sharedBytes, Stream stream,
                           void **arguments, void **extra);
};

/// What the PTX machine's library has beyond CUDA.
struct MachineFunctions {
  void (*nagPtxvmShowFindings)(int show);
  size_t (*nagPtxvmFindingCount)();
  int (*nagPtxvmGetFinding)(size_t index, NagPtxvmFinding *finding);
};

class Driver {
public:
  /// Loads the library and initialises the driver. Fails when there is none,
  /// when it lacks a function, and when it is older than CUDA 12.0.
  static llvm::Expected<std::unique_ptr<Driver>> load(llvm::StringRef library);

  const DriverFunctions &functions() const { return api; }
  const DriverFunctions *operator->() const { return &api; }

  /// Null but for the PTX machine.
  const MachineFunctions *getMachine() const {
    return machine.nagPtxvmGetFinding ? &machine : nullptr;
  }

  /// Success for 0; else "<what>: CUDA_ERROR_...: text".
  llvm::Error check(Result result, const llvm::Twine &what) const;

private:
  Driver() = default;
  llvm::Error lookUpFunctions(llvm::StringRef library);

  llvm::sys::DynamicLibrary handle;
  DriverFunctions api = {};
  MachineFunctions machine = {};
};

/// The driver's library for a device's name: NVIDIA's for a number, the PTX
/// machine's for "vm" (NAG_PTXVM_LIBRARY, or beside this program).
std::string getDriverLibrary(llvm::StringRef device);

/// The error for such a library that cannot be loaded for `reason`.
std::string explainMissing(llvm::StringRef library, llvm::StringRef reason);

} // namespace nag::runtime::cuda

#endif // NAG_RUNTIME_CUDA_DRIVER_H
