// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Device and pinned memory. Pinned memory lies in the device's range too: its
// host pointer is the host's view of it.
#include "State.h"

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

CUresult release(Driver &state, uint64_t address, bool isHost) {
  auto found = state.allocations.find(address);
  if (found == state.allocations.end() || found->second.isHost != isHost)
    return CUDA_ERROR_INVALID_VALUE;
  state.memory->release(address);
  state.allocations.erase(found);
  return CUDA_SUCCESS;
}

} // namespace

CUresult ptxvm::driver::allocateDevice(Driver &state, CUctx_st &context,
                                       CUdeviceptr *result, size_t bytes) {
  uint64_t address = 0;
  if (!result)
    return CUDA_ERROR_INVALID_VALUE;
  CUresult code = allocate(state, context, bytes, {}, address);
  if (code == CUDA_SUCCESS)
    *result = address;
  return code;
}

uint64_t ptxvm::driver::addressOfHost(Driver &state, const void *pointer) {
  uint64_t offset =
      reinterpret_cast<uint64_t>(pointer) -
      reinterpret_cast<uint64_t>(state.memory->host(DeviceMemory::base));
  return offset < state.memory->capacity() ? DeviceMemory::base + offset : 0;
}

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
