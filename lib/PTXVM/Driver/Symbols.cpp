// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// cuGetProcAddress and the names that older programs link to.
#include "State.h"

#include <cstring>

using namespace ptxvm::driver;

// Forms of CUDA before version 13 that are not in its header.
extern "C" {
CUresult cuCtxCreate_v2(CUcontext *context, unsigned flags, CUdevice device);
CUresult cuCtxCreate_v3(CUcontext *context, void *affinities, int count,
                        unsigned flags, CUdevice device);
}

namespace {

struct Symbol {
  const char *name; // without its version
  void *function;
  int since; // CUDA version, when several forms share a name
};

#define PTXVM_SYMBOL(name, function, since)                                    \
  {#name, reinterpret_cast<void *>(function), since}
const Symbol symbols[] = {
    PTXVM_SYMBOL(cuGetErrorName, cuGetErrorName, 0),
    PTXVM_SYMBOL(cuGetErrorString, cuGetErrorString, 0),
    PTXVM_SYMBOL(cuInit, cuInit, 0),
    PTXVM_SYMBOL(cuDriverGetVersion, cuDriverGetVersion, 0),
    PTXVM_SYMBOL(cuGetProcAddress, cuGetProcAddress_v2, 12000),
    PTXVM_SYMBOL(cuDeviceGet, cuDeviceGet, 0),
    PTXVM_SYMBOL(cuDeviceGetCount, cuDeviceGetCount, 0),
    PTXVM_SYMBOL(cuDeviceGetName, cuDeviceGetName, 0),
    PTXVM_SYMBOL(cuDeviceGetUuid, cuDeviceGetUuid_v2, 11040),
    PTXVM_SYMBOL(cuDeviceTotalMem, cuDeviceTotalMem_v2, 0),
    PTXVM_SYMBOL(cuDeviceGetAttribute, cuDeviceGetAttribute, 0),
    PTXVM_SYMBOL(cuDeviceGetPCIBusId, cuDeviceGetPCIBusId, 0),
    PTXVM_SYMBOL(cuDeviceGetByPCIBusId, cuDeviceGetByPCIBusId, 0),
    PTXVM_SYMBOL(cuDeviceCanAccessPeer, cuDeviceCanAccessPeer, 0),
    PTXVM_SYMBOL(cuDeviceGetDefaultMemPool, cuDeviceGetDefaultMemPool, 0),
    PTXVM_SYMBOL(cuDeviceGetMemPool, cuDeviceGetMemPool, 0),
    PTXVM_SYMBOL(cuDeviceSetMemPool, cuDeviceSetMemPool, 0),
    PTXVM_SYMBOL(cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain, 0),
    PTXVM_SYMBOL(cuDevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease_v2, 0),
    PTXVM_SYMBOL(cuDevicePrimaryCtxReset, cuDevicePrimaryCtxReset_v2, 0),
    PTXVM_SYMBOL(cuDevicePrimaryCtxSetFlags, cuDevicePrimaryCtxSetFlags_v2, 0),
    PTXVM_SYMBOL(cuDevicePrimaryCtxGetState, cuDevicePrimaryCtxGetState, 0),
    PTXVM_SYMBOL(cuCtxCreate, cuCtxCreate_v2, 0),
    PTXVM_SYMBOL(cuCtxCreate, cuCtxCreate_v3, 11040),
    PTXVM_SYMBOL(cuCtxCreate, cuCtxCreate_v4, 12050),
    PTXVM_SYMBOL(cuCtxDestroy, cuCtxDestroy_v2, 0),
    PTXVM_SYMBOL(cuCtxPushCurrent, cuCtxPushCurrent_v2, 0),
    PTXVM_SYMBOL(cuCtxPopCurrent, cuCtxPopCurrent_v2, 0),
    PTXVM_SYMBOL(cuCtxSetCurrent, cuCtxSetCurrent, 0),
    PTXVM_SYMBOL(cuCtxGetCurrent, cuCtxGetCurrent, 0),
    PTXVM_SYMBOL(cuCtxGetDevice, cuCtxGetDevice, 0),
    PTXVM_SYMBOL(cuCtxGetDevice_v2, cuCtxGetDevice_v2, 0),
    PTXVM_SYMBOL(cuCtxGetFlags, cuCtxGetFlags, 0),
    PTXVM_SYMBOL(cuCtxSetFlags, cuCtxSetFlags, 0),
    PTXVM_SYMBOL(cuCtxGetId, cuCtxGetId, 0),
    PTXVM_SYMBOL(cuCtxGetApiVersion, cuCtxGetApiVersion, 0),
    PTXVM_SYMBOL(cuCtxSynchronize, cuCtxSynchronize, 0),
    PTXVM_SYMBOL(cuCtxSynchronize_v2, cuCtxSynchronize_v2, 0),
    PTXVM_SYMBOL(cuCtxSetLimit, cuCtxSetLimit, 0),
    PTXVM_SYMBOL(cuCtxGetLimit, cuCtxGetLimit, 0),
    PTXVM_SYMBOL(cuCtxGetCacheConfig, cuCtxGetCacheConfig, 0),
    PTXVM_SYMBOL(cuCtxSetCacheConfig, cuCtxSetCacheConfig, 0),
    PTXVM_SYMBOL(cuCtxGetStreamPriorityRange, cuCtxGetStreamPriorityRange, 0),
    PTXVM_SYMBOL(cuCtxResetPersistingL2Cache, cuCtxResetPersistingL2Cache, 0),
    PTXVM_SYMBOL(cuCtxEnablePeerAccess, cuCtxEnablePeerAccess, 0),
    PTXVM_SYMBOL(cuCtxDisablePeerAccess, cuCtxDisablePeerAccess, 0),
    PTXVM_SYMBOL(cuModuleLoad, cuModuleLoad, 0),
    PTXVM_SYMBOL(cuModuleLoadData, cuModuleLoadData, 0),
    PTXVM_SYMBOL(cuModuleLoadDataEx, cuModuleLoadDataEx, 0),
    PTXVM_SYMBOL(cuModuleLoadFatBinary, cuModuleLoadFatBinary, 0),
    PTXVM_SYMBOL(cuModuleUnload, cuModuleUnload, 0),
    PTXVM_SYMBOL(cuModuleGetLoadingMode, cuModuleGetLoadingMode, 0),
    PTXVM_SYMBOL(cuModuleGetFunction, cuModuleGetFunction, 0),
    PTXVM_SYMBOL(cuModuleGetFunctionCount, cuModuleGetFunctionCount, 0),
    PTXVM_SYMBOL(cuModuleEnumerateFunctions, cuModuleEnumerateFunctions, 0),
    PTXVM_SYMBOL(cuModuleGetGlobal, cuModuleGetGlobal_v2, 0),
    PTXVM_SYMBOL(cuLibraryLoadData, cuLibraryLoadData, 0),
    PTXVM_SYMBOL(cuLibraryLoadFromFile, cuLibraryLoadFromFile, 0),
    PTXVM_SYMBOL(cuLibraryUnload, cuLibraryUnload, 0),
    PTXVM_SYMBOL(cuLibraryGetKernel, cuLibraryGetKernel, 0),
    PTXVM_SYMBOL(cuLibraryGetKernelCount, cuLibraryGetKernelCount, 0),
    PTXVM_SYMBOL(cuLibraryGetModule, cuLibraryGetModule, 0),
    PTXVM_SYMBOL(cuLibraryGetGlobal, cuLibraryGetGlobal, 0),
    PTXVM_SYMBOL(cuKernelGetFunction, cuKernelGetFunction, 0),
    PTXVM_SYMBOL(cuKernelGetName, cuKernelGetName, 0),
    PTXVM_SYMBOL(cuKernelGetAttribute, cuKernelGetAttribute, 0),
    PTXVM_SYMBOL(cuKernelSetAttribute, cuKernelSetAttribute, 0),
    PTXVM_SYMBOL(cuKernelGetParamInfo, cuKernelGetParamInfo, 0),
    PTXVM_SYMBOL(cuFuncGetAttribute, cuFuncGetAttribute, 0),
    PTXVM_SYMBOL(cuFuncSetAttribute, cuFuncSetAttribute, 0),
    PTXVM_SYMBOL(cuFuncSetCacheConfig, cuFuncSetCacheConfig, 0),
    PTXVM_SYMBOL(cuFuncGetModule, cuFuncGetModule, 0),
    PTXVM_SYMBOL(cuFuncGetName, cuFuncGetName, 0),
    PTXVM_SYMBOL(cuFuncGetParamInfo, cuFuncGetParamInfo, 0),
    PTXVM_SYMBOL(cuFuncIsLoaded, cuFuncIsLoaded, 0),
    PTXVM_SYMBOL(cuFuncLoad, cuFuncLoad, 0),
    PTXVM_SYMBOL(cuMemGetInfo, cuMemGetInfo_v2, 0),
    PTXVM_SYMBOL(cuMemAlloc, cuMemAlloc_v2, 0),
    PTXVM_SYMBOL(cuMemAllocPitch, cuMemAllocPitch_v2, 0),
    PTXVM_SYMBOL(cuMemFree, cuMemFree_v2, 0),
    PTXVM_SYMBOL(cuMemGetAddressRange, cuMemGetAddressRange_v2, 0),
    PTXVM_SYMBOL(cuMemAllocHost, cuMemAllocHost_v2, 0),
    PTXVM_SYMBOL(cuMemHostAlloc, cuMemHostAlloc, 0),
    PTXVM_SYMBOL(cuMemFreeHost, cuMemFreeHost, 0),
    PTXVM_SYMBOL(cuMemHostGetDevicePointer, cuMemHostGetDevicePointer_v2, 0),
    PTXVM_SYMBOL(cuMemHostGetFlags, cuMemHostGetFlags, 0),
    PTXVM_SYMBOL(cuMemHostRegister, cuMemHostRegister_v2, 0),
    PTXVM_SYMBOL(cuMemHostUnregister, cuMemHostUnregister, 0),
    PTXVM_SYMBOL(cuMemAllocManaged, cuMemAllocManaged, 0),
    PTXVM_SYMBOL(cuMemAllocAsync, cuMemAllocAsync, 0),
    PTXVM_SYMBOL(cuMemFreeAsync, cuMemFreeAsync, 0),
    PTXVM_SYMBOL(cuMemAllocFromPoolAsync, cuMemAllocFromPoolAsync, 0),
    PTXVM_SYMBOL(cuMemPoolCreate, cuMemPoolCreate, 0),
    PTXVM_SYMBOL(cuMemPoolDestroy, cuMemPoolDestroy, 0),
    PTXVM_SYMBOL(cuMemPoolTrimTo, cuMemPoolTrimTo, 0),
    PTXVM_SYMBOL(cuMemPoolSetAttribute, cuMemPoolSetAttribute, 0),
    PTXVM_SYMBOL(cuMemPoolGetAttribute, cuMemPoolGetAttribute, 0),
    PTXVM_SYMBOL(cuPointerGetAttribute, cuPointerGetAttribute, 0),
    PTXVM_SYMBOL(cuPointerGetAttributes, cuPointerGetAttributes, 0),
    PTXVM_SYMBOL(cuMemcpy, cuMemcpy, 0),
    PTXVM_SYMBOL(cuMemcpyAsync, cuMemcpyAsync, 0),
    PTXVM_SYMBOL(cuMemcpyPeer, cuMemcpyPeer, 0),
    PTXVM_SYMBOL(cuMemcpyPeerAsync, cuMemcpyPeerAsync, 0),
    PTXVM_SYMBOL(cuMemcpyHtoD, cuMemcpyHtoD_v2, 0),
    PTXVM_SYMBOL(cuMemcpyDtoH, cuMemcpyDtoH_v2, 0),
    PTXVM_SYMBOL(cuMemcpyDtoD, cuMemcpyDtoD_v2, 0),
    PTXVM_SYMBOL(cuMemcpyHtoDAsync, cuMemcpyHtoDAsync_v2, 0),
    PTXVM_SYMBOL(cuMemcpyDtoHAsync, cuMemcpyDtoHAsync_v2, 0),
    PTXVM_SYMBOL(cuMemcpyDtoDAsync, cuMemcpyDtoDAsync_v2, 0),
    PTXVM_SYMBOL(cuMemcpy2D, cuMemcpy2D_v2, 0),
    PTXVM_SYMBOL(cuMemcpy2DUnaligned, cuMemcpy2DUnaligned_v2, 0),
    PTXVM_SYMBOL(cuMemcpy2DAsync, cuMemcpy2DAsync_v2, 0),
    PTXVM_SYMBOL(cuMemsetD8, cuMemsetD8_v2, 0),
    PTXVM_SYMBOL(cuMemsetD16, cuMemsetD16_v2, 0),
    PTXVM_SYMBOL(cuMemsetD32, cuMemsetD32_v2, 0),
    PTXVM_SYMBOL(cuMemsetD2D8, cuMemsetD2D8_v2, 0),
    PTXVM_SYMBOL(cuMemsetD2D16, cuMemsetD2D16_v2, 0),
    PTXVM_SYMBOL(cuMemsetD2D32, cuMemsetD2D32_v2, 0),
    PTXVM_SYMBOL(cuMemsetD8Async, cuMemsetD8Async, 0),
    PTXVM_SYMBOL(cuMemsetD16Async, cuMemsetD16Async, 0),
    PTXVM_SYMBOL(cuMemsetD32Async, cuMemsetD32Async, 0),
    PTXVM_SYMBOL(cuMemsetD2D8Async, cuMemsetD2D8Async, 0),
    PTXVM_SYMBOL(cuMemsetD2D16Async, cuMemsetD2D16Async, 0),
    PTXVM_SYMBOL(cuMemsetD2D32Async, cuMemsetD2D32Async, 0),
    PTXVM_SYMBOL(cuStreamCreate, cuStreamCreate, 0),
    PTXVM_SYMBOL(cuStreamCreateWithPriority, cuStreamCreateWithPriority, 0),
    PTXVM_SYMBOL(cuStreamDestroy, cuStreamDestroy_v2, 0),
    PTXVM_SYMBOL(cuStreamQuery, cuStreamQuery, 0),
    PTXVM_SYMBOL(cuStreamSynchronize, cuStreamSynchronize, 0),
    PTXVM_SYMBOL(cuStreamWaitEvent, cuStreamWaitEvent, 0),
    PTXVM_SYMBOL(cuStreamAddCallback, cuStreamAddCallback, 0),
    PTXVM_SYMBOL(cuStreamGetPriority, cuStreamGetPriority, 0),
    PTXVM_SYMBOL(cuStreamGetFlags, cuStreamGetFlags, 0),
    PTXVM_SYMBOL(cuStreamGetId, cuStreamGetId, 0),
    PTXVM_SYMBOL(cuStreamGetCtx, cuStreamGetCtx, 0),
    PTXVM_SYMBOL(cuStreamGetDevice, cuStreamGetDevice, 0),
    PTXVM_SYMBOL(cuStreamIsCapturing, cuStreamIsCapturing, 0),
    PTXVM_SYMBOL(cuEventCreate, cuEventCreate, 0),
    PTXVM_SYMBOL(cuEventDestroy, cuEventDestroy_v2, 0),
    PTXVM_SYMBOL(cuEventRecord, cuEventRecord, 0),
    PTXVM_SYMBOL(cuEventRecordWithFlags, cuEventRecordWithFlags, 0),
    PTXVM_SYMBOL(cuEventQuery, cuEventQuery, 0),
    PTXVM_SYMBOL(cuEventSynchronize, cuEventSynchronize, 0),
    PTXVM_SYMBOL(cuEventElapsedTime, cuEventElapsedTime_v2, 12080),
    PTXVM_SYMBOL(cuLaunchKernel, cuLaunchKernel, 0),
    PTXVM_SYMBOL(cuLaunchKernelEx, cuLaunchKernelEx, 0),
    PTXVM_SYMBOL(cuLaunchCooperativeKernel, cuLaunchCooperativeKernel, 0),
    PTXVM_SYMBOL(cuLaunchHostFunc, cuLaunchHostFunc, 0),
    PTXVM_SYMBOL(cuOccupancyMaxActiveBlocksPerMultiprocessor,
                 cuOccupancyMaxActiveBlocksPerMultiprocessor, 0),
    PTXVM_SYMBOL(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags,
                 cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags, 0),
    PTXVM_SYMBOL(cuOccupancyMaxPotentialBlockSize,
                 cuOccupancyMaxPotentialBlockSize, 0),
    PTXVM_SYMBOL(cuOccupancyMaxPotentialBlockSizeWithFlags,
                 cuOccupancyMaxPotentialBlockSizeWithFlags, 0),
    PTXVM_SYMBOL(cuOccupancyAvailableDynamicSMemPerBlock,
                 cuOccupancyAvailableDynamicSMemPerBlock, 0),
};
#undef PTXVM_SYMBOL

/// The newest form that a program of this CUDA version knows.
const Symbol *findSymbol(const char *name, int version, bool &isKnown) {
  const Symbol *best = nullptr;
  isKnown = false;
  for (const Symbol &symbol : symbols) {
    if (std::strcmp(symbol.name, name) != 0)
      continue;
    isKnown = true;
    if (symbol.since <= version && (!best || symbol.since >= best->since))
      best = &symbol;
  }
  return best;
}

} // namespace

CUresult cuGetProcAddress_v2(const char *name, void **function, int version,
                             cuuint64_t flags,
                             CUdriverProcAddressQueryResult *status) {
  if (!name || !function || flags > 2)
    return CUDA_ERROR_INVALID_VALUE;
  bool isKnown = false;
  const Symbol *symbol = findSymbol(name, version, isKnown);
  *function = symbol ? symbol->function : nullptr;
  if (status)
    *status = symbol    ? CU_GET_PROC_ADDRESS_SUCCESS
              : isKnown ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
                        : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  // With a status to tell it, an unknown name is no error.
  return symbol || status ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

#ifndef PTXVM_USE_CUDA_H // cuda.h makes macros of these names
extern "C" {
CUresult cuGetProcAddress(const char *name, void **function, int version,
                          cuuint64_t flags) {
  return cuGetProcAddress_v2(name, function, version, flags, nullptr);
}
CUresult cuCtxCreate(CUcontext *context, unsigned flags, CUdevice device) {
  return cuCtxCreate_v2(context, flags, device);
}
CUresult cuCtxDestroy(CUcontext context) { return cuCtxDestroy_v2(context); }
CUresult cuCtxPushCurrent(CUcontext context) {
  return cuCtxPushCurrent_v2(context);
}
CUresult cuCtxPopCurrent(CUcontext *context) {
  return cuCtxPopCurrent_v2(context);
}
CUresult cuStreamDestroy(CUstream stream) { return cuStreamDestroy_v2(stream); }
CUresult cuEventDestroy(CUevent event) { return cuEventDestroy_v2(event); }
CUresult cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end) {
  return cuEventElapsedTime_v2(milliseconds, start, end);
}
CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device) {
  return cuDeviceGetUuid_v2(uuid, device);
}
CUresult cuDevicePrimaryCtxRelease(CUdevice device) {
  return cuDevicePrimaryCtxRelease_v2(device);
}
CUresult cuDevicePrimaryCtxReset(CUdevice device) {
  return cuDevicePrimaryCtxReset_v2(device);
}
CUresult cuDevicePrimaryCtxSetFlags(CUdevice device, unsigned flags) {
  return cuDevicePrimaryCtxSetFlags_v2(device, flags);
}
CUresult cuMemHostRegister(void *memory, size_t bytes, unsigned flags) {
  return cuMemHostRegister_v2(memory, bytes, flags);
}
}
#endif
