// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Device and pinned memory, and what is known about a pointer. Pinned memory
// lies in the device's range too: its host pointer is the host's view of it.
#include "State.h"

#include <cstring>

using namespace ptxvm;
using namespace ptxvm::driver;

namespace {

constexpr size_t pitchUnit = 512;

CUresult allocate(Driver &state, CUctx_st &context, uint64_t bytes,
                  const MemoryInfo &traits, uint64_t &address) {
  if (bytes == 0)
    return CUDA_ERROR_INVALID_VALUE;
  address = state.memory->allocate(bytes);
  if (address == 0)
    return CUDA_ERROR_OUT_OF_MEMORY;
  MemoryInfo &info = state.allocations[address];
  info = traits;
  info.context = &context;
  return CUDA_SUCCESS;
}

CUresult allocateDevice(Driver &state, CUctx_st &context, CUdeviceptr *result,
                        size_t bytes) {
  uint64_t address = 0;
  if (!result)
    return CUDA_ERROR_INVALID_VALUE;
  CUresult code = allocate(state, context, bytes, {}, address);
  if (code == CUDA_SUCCESS)
    *result = address;
  return code;
}

CUresult release(Driver &state, uint64_t address, bool isHost) {
  auto found = state.allocations.find(address);
  if (found == state.allocations.end() || found->second.isHost != isHost)
    return CUDA_ERROR_INVALID_VALUE;
  state.memory->release(address);
  state.allocations.erase(found);
  return CUDA_SUCCESS;
}

/// The device address behind a host pointer into the device's range, else 0.
uint64_t addressOfHost(Driver &state, const void *pointer) {
  uint64_t offset =
      reinterpret_cast<uint64_t>(pointer) -
      reinterpret_cast<uint64_t>(state.memory->host(DeviceMemory::base));
  return offset < state.memory->capacity() ? DeviceMemory::base + offset : 0;
}

/// The live allocation that holds a device address or a pinned host pointer.
const Allocation *findLive(Driver &state, uint64_t pointer, uint64_t &address) {
  address = pointer;
  if (!state.memory->inRange(address, 1))
    address = addressOfHost(state, reinterpret_cast<const void *>(pointer));
  const Allocation *found = address ? state.memory->find(address) : nullptr;
  return found && !found->isFree ? found : nullptr;
}

template <typename T> CUresult put(void *target, T value) {
  std::memcpy(target, &value, sizeof(value));
  return CUDA_SUCCESS;
}

CUresult pointerAttribute(Driver &state, CUctx_st &context, void *value,
                          int attribute, uint64_t pointer) {
  uint64_t address = 0;
  const Allocation *found = findLive(state, pointer, address);
  if (!found)
    return CUDA_ERROR_INVALID_VALUE;
  auto info = state.allocations.find(found->address); // none: a variable
  bool isHost = info != state.allocations.end() && info->second.isHost;
  switch (attribute) {
  case CU_POINTER_ATTRIBUTE_CONTEXT:
    return put(value, info != state.allocations.end() ? info->second.context
                                                      : &context);
  case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
    return put<unsigned>(value,
                         isHost ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE);
  case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
    return put(value, address);
  case CU_POINTER_ATTRIBUTE_HOST_POINTER:
    return isHost ? put(value, state.memory->host(address))
                  : CUDA_ERROR_INVALID_VALUE;
  case CU_POINTER_ATTRIBUTE_BUFFER_ID:
    return put<unsigned long long>(value, found->address / 512);
  case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
    return put<unsigned>(value, 1);
  case CU_POINTER_ATTRIBUTE_IS_MANAGED:
    return put<unsigned>(value, 0);
  case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
    return put<int>(value, 0);
  case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
    return put(value, found->address);
  case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
    return put<size_t>(value, found->size);
  case CU_POINTER_ATTRIBUTE_MAPPED:
    return put<unsigned>(value, 1);
  default:
    return attribute > 0 && attribute < 22 ? CUDA_ERROR_NOT_SUPPORTED
                                           : CUDA_ERROR_INVALID_VALUE;
  }
}

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

//===----------------------------------------------------------------------===//
// Device memory
//===----------------------------------------------------------------------===//

CUresult cuMemGetInfo_v2(size_t *available, size_t *total) {
  return inContext([&](Driver &state, CUctx_st &) {
    if (!available && !total)
      return CUDA_ERROR_INVALID_VALUE;
    if (available)
      *available = state.memory->available();
    if (total)
      *total = state.memory->capacity();
    return CUDA_SUCCESS;
  });
}

CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t bytes) {
  return inContext([&](Driver &state, CUctx_st &context) {
    return allocateDevice(state, context, address, bytes);
  });
}

CUresult cuMemAllocPitch_v2(CUdeviceptr *address, size_t *pitch, size_t width,
                            size_t height, unsigned elementSize) {
  return inContext([&](Driver &state, CUctx_st &context) {
    bool isSize = elementSize == 4 || elementSize == 8 || elementSize == 16;
    if (!pitch || width == 0 || height == 0 || !isSize)
      return CUDA_ERROR_INVALID_VALUE;
    size_t row = (width + pitchUnit - 1) / pitchUnit * pitchUnit;
    if (row < width || height > SIZE_MAX / row)
      return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult code = allocateDevice(state, context, address, row * height);
    if (code == CUDA_SUCCESS)
      *pitch = row;
    return code;
  });
}

CUresult cuMemFree_v2(CUdeviceptr address) {
  return inContext([&](Driver &state, CUctx_st &) {
    return release(state, address, false);
  });
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size,
                                 CUdeviceptr pointer) {
  return inContext([&](Driver &state, CUctx_st &) {
    const Allocation *found = state.memory->find(pointer);
    if (!found || found->isFree)
      return CUDA_ERROR_NOT_FOUND;
    if (base)
      *base = found->address;
    if (size)
      *size = found->size;
    return CUDA_SUCCESS;
  });
}

CUresult cuMemAllocAsync(CUdeviceptr *address, size_t bytes, CUstream stream) {
  return onStream(stream, [&](Driver &state, CUctx_st &context) {
    return allocateDevice(state, context, address, bytes);
  });
}

CUresult cuMemFreeAsync(CUdeviceptr address, CUstream stream) {
  return onStream(stream, [&](Driver &state, CUctx_st &) {
    return release(state, address, false);
  });
}

CUresult cuMemAllocManaged(CUdeviceptr *, size_t, unsigned) {
  return inContext(
      [](Driver &, CUctx_st &) { return CUDA_ERROR_NOT_SUPPORTED; });
}

//===----------------------------------------------------------------------===//
// Pools: every one draws from the same memory
//===----------------------------------------------------------------------===//

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

//===----------------------------------------------------------------------===//
// Pinned memory
//===----------------------------------------------------------------------===//

CUresult cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) {
  return inContext([&](Driver &state, CUctx_st &context) {
    if (!memory || flags > 7)
      return CUDA_ERROR_INVALID_VALUE;
    uint64_t address = 0;
    MemoryInfo traits;
    traits.isHost = true;
    traits.flags = flags | CU_MEMHOSTALLOC_DEVICEMAP;
    CUresult code = allocate(state, context, bytes, traits, address);
    if (code != CUDA_SUCCESS)
      return code;
    // What the host writes there is not seen.
    state.memory->markInitialized(address, bytes);
    *memory = state.memory->host(address);
    return CUDA_SUCCESS;
  });
}

CUresult cuMemAllocHost_v2(void **memory, size_t bytes) {
  return cuMemHostAlloc(memory, bytes, 0);
}

CUresult cuMemFreeHost(void *memory) {
  return inContext([&](Driver &state, CUctx_st &) {
    return release(state, addressOfHost(state, memory), true);
  });
}

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *address, void *memory,
                                      unsigned flags) {
  return inContext([&](Driver &state, CUctx_st &) {
    uint64_t inside = addressOfHost(state, memory);
    if (!address || flags || !inside)
      return CUDA_ERROR_INVALID_VALUE;
    const Allocation *found = state.memory->find(inside);
    if (!found || found->isFree)
      return CUDA_ERROR_INVALID_VALUE;
    *address = inside;
    return CUDA_SUCCESS;
  });
}

CUresult cuMemHostGetFlags(unsigned *flags, void *memory) {
  return inContext([&](Driver &state, CUctx_st &) {
    auto found = state.allocations.find(addressOfHost(state, memory));
    if (!flags || found == state.allocations.end() || !found->second.isHost)
      return CUDA_ERROR_INVALID_VALUE;
    *flags = found->second.flags;
    return CUDA_SUCCESS;
  });
}

CUresult cuMemHostRegister_v2(void *memory, size_t bytes, unsigned flags) {
  return inContext([&](Driver &state, CUctx_st &) {
    if (!memory || bytes == 0 || flags > 15)
      return CUDA_ERROR_INVALID_VALUE;
    return state.registered.emplace(memory, bytes).second
               ? CUDA_SUCCESS
               : CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  });
}

CUresult cuMemHostUnregister(void *memory) {
  return inContext([&](Driver &state, CUctx_st &) {
    if (!memory)
      return CUDA_ERROR_INVALID_VALUE;
    return state.registered.erase(memory)
               ? CUDA_SUCCESS
               : CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
  });
}

//===----------------------------------------------------------------------===//
// Pointers
//===----------------------------------------------------------------------===//

CUresult cuPointerGetAttribute(void *value, CUpointer_attribute attribute,
                               CUdeviceptr pointer) {
  return inContext([&](Driver &state, CUctx_st &context) {
    return value ? pointerAttribute(state, context, value, attribute, pointer)
                 : CUDA_ERROR_INVALID_VALUE;
  });
}

CUresult cuPointerGetAttributes(unsigned count, CUpointer_attribute *attributes,
                                void **values, CUdeviceptr pointer) {
  return inContext([&](Driver &state, CUctx_st &context) {
    if (!attributes || !values)
      return CUDA_ERROR_INVALID_VALUE;
    for (unsigned k = 0; k < count; ++k) {
      if (!values[k])
        return CUDA_ERROR_INVALID_VALUE;
      // For a pointer that CUDA does not know every answer is zero.
      if (pointerAttribute(state, context, values[k], attributes[k], pointer))
        std::memset(values[k], 0,
                    attributes[k] <= CU_POINTER_ATTRIBUTE_HOST_POINTER &&
                            attributes[k] != CU_POINTER_ATTRIBUTE_MEMORY_TYPE
                        ? 8
                        : 4);
    }
    return CUDA_SUCCESS;
  });
}
