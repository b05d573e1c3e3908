// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Pools of memory: every one draws from the same memory.
#include "State.h"

#include <cstring>

using namespace ptxvm;
using namespace ptxvm::driver;

namespace {

CUresult poolAttribute(Driver &state, CUmemPoolHandle_st &pool, int attribute,
                       void *value, bool isWrite) {
  if (!value)
    return CUDA_ERROR_INVALID_VALUE;
  switch (attribute) {
  case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
  case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
  case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES: {
    int &flag = pool.flags.emplace(attribute, 1).first->second;
    std::memcpy(isWrite ? static_cast<void *>(&flag) : value,
                isWrite ? value : &flag, sizeof(flag));
    return CUDA_SUCCESS;
  }
  case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
    std::memcpy(isWrite ? static_cast<void *>(&pool.releaseThreshold) : value,
                isWrite ? value : &pool.releaseThreshold, 8);
    return CUDA_SUCCESS;
  case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
  case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
  case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
  case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
    return isWrite ? CUDA_SUCCESS
                   : put<uint64_t>(value, state.memory->capacity() -
                                              state.memory->available());
  default:
    return CUDA_ERROR_INVALID_VALUE;
  }
}

/// Runs on a pool named by its handle.
template <typename Fn> CUresult onPool(CUmemoryPool handle, Fn body) {
  return initialized([&](Driver &state) {
    CUmemPoolHandle_st *pool = state.pools.find(handle);
    return pool ? body(state, *pool) : CUDA_ERROR_INVALID_VALUE;
  });
}

CUresult answerPool(CUmemoryPool *result, CUdevice device, bool isDefault) {
  return initialized([&](Driver &state) {
    if (!result)
      return CUDA_ERROR_INVALID_VALUE;
    if (!isDevice(device))
      return CUDA_ERROR_INVALID_DEVICE;
    *result = isDefault ? state.defaultPool : state.currentPool;
    return CUDA_SUCCESS;
  });
}

} // namespace

CUresult cuMemAllocFromPoolAsync(CUdeviceptr *address, size_t bytes,
                                 CUmemoryPool pool, CUstream stream) {
  return onStream(stream, [&](Driver &state, CUctx_st &context) {
    return state.pools.find(pool)
               ? allocateDevice(state, context, address, bytes)
               : CUDA_ERROR_INVALID_VALUE;
  });
}

CUresult cuMemPoolCreate(CUmemoryPool *pool, const CUmemPoolProps *properties) {
  return initialized([&](Driver &state) {
    if (!pool || !properties)
      return CUDA_ERROR_INVALID_VALUE;
    *pool = state.pools.add(std::make_unique<CUmemPoolHandle_st>());
    return CUDA_SUCCESS;
  });
}

CUresult cuMemPoolDestroy(CUmemoryPool handle) {
  return onPool(handle, [](Driver &state, CUmemPoolHandle_st &pool) {
    if (&pool == state.defaultPool)
      return CUDA_ERROR_INVALID_VALUE;
    if (&pool == state.currentPool)
      state.currentPool = state.defaultPool;
    state.pools.remove(&pool);
    return CUDA_SUCCESS;
  });
}

CUresult cuMemPoolTrimTo(CUmemoryPool handle, size_t) {
  return onPool(handle,
                [](Driver &, CUmemPoolHandle_st &) { return CUDA_SUCCESS; });
}

CUresult cuMemPoolSetAttribute(CUmemoryPool handle,
                               CUmemPool_attribute attribute, void *value) {
  return onPool(handle, [&](Driver &state, CUmemPoolHandle_st &pool) {
    return poolAttribute(state, pool, attribute, value, true);
  });
}

CUresult cuMemPoolGetAttribute(CUmemoryPool handle,
                               CUmemPool_attribute attribute, void *value) {
  return onPool(handle, [&](Driver &state, CUmemPoolHandle_st &pool) {
    return poolAttribute(state, pool, attribute, value, false);
  });
}

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice device) {
  return answerPool(pool, device, true);
}
CUresult cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice device) {
  return answerPool(pool, device, false);
}
CUresult cuDeviceSetMemPool(CUdevice device, CUmemoryPool handle) {
  return onPool(handle, [&](Driver &state, CUmemPoolHandle_st &pool) {
    if (!isDevice(device))
      return CUDA_ERROR_INVALID_DEVICE;
    state.currentPool = &pool;
    return CUDA_SUCCESS;
  });
}
