// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Initialisation and what the device is.
#include "State.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unordered_map>

using namespace ptxvm;
using namespace ptxvm::driver;

namespace ptxvm::driver {

Driver &driver() {
  static Driver *state = new Driver();
  return *state;
}

bool isDevice(CUdevice device) { return device == 0; }

} // namespace ptxvm::driver

namespace {

constexpr char busId[] = "0000:01:00.0";

void atExit() {
  anytime([](Driver &state) {
    const std::string &file = state.settings.countersFile;
    if (!file.empty() && !state.records.writeCounters(file))
      std::fprintf(stderr, "ptx-vm: cannot write %s\n", file.c_str());
    return CUDA_SUCCESS;
  });
}

std::string deviceName(const Settings &settings) {
  return "NAG PTX machine (sm_" + std::to_string(settings.major) +
         std::to_string(settings.minor) + ")";
}

/// Answers a query about the device after the common checks.
template <typename Fn> CUresult query(bool valid, CUdevice device, Fn body) {
  return initialized([&](Driver &state) {
    if (!valid)
      return CUDA_ERROR_INVALID_VALUE;
    if (!isDevice(device))
      return CUDA_ERROR_INVALID_DEVICE;
    return body(state);
  });
}

/// Attributes that are the same for every chip.
const std::unordered_map<int, int> fixedAttributes = {
    {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, maxThreadsPerBlock},
    {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, maxThreadsPerBlock},
    {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, maxThreadsPerBlock},
    {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, 64},
    {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, 0x7fffffff},
    {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, 65535},
    {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z, 65535},
    {CU_DEVICE_ATTRIBUTE_MAX_PITCH, 0x7fffffff},
    {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, defaultSharedPerBlock},
    {CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK,
     reservedSharedPerBlock},
    {CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY, 65536},
    {CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32},
    {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK, registersPerMultiprocessor},
    {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR,
     registersPerMultiprocessor},
    {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR,
     threadsPerMultiprocessor},
    {CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR,
     blocksPerMultiprocessor},
    {CU_DEVICE_ATTRIBUTE_CLOCK_RATE, 1000000}, // kHz
    {CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, 1000000},
    {CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, 5120},
    {CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT, 512},
    {CU_DEVICE_ATTRIBUTE_GPU_OVERLAP, 1},
    {CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT, 1},
    {CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED, 1},
    {CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS, 1},
    {CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1},
    {CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 1},
    {CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, 1},
    {CU_DEVICE_ATTRIBUTE_PCI_BUS_ID, 1},
};

/// False for attributes that the machine does not know; known to CUDA or not,
/// those within its range count as absent features.
bool attributeOf(const Settings &settings, int attribute, int &value) {
  auto fixed = fixedAttributes.find(attribute);
  if (fixed != fixedAttributes.end()) {
    value = fixed->second;
    return true;
  }
  DeviceLimits limits = limitsOf(settings);
  switch (attribute) {
  case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
    value = limits.multiprocessors;
    return true;
  case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:
    value = limits.l2Bytes;
    return true;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
    value = settings.major;
    return true;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
    value = settings.minor;
    return true;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
    value = limits.sharedPerMultiprocessor;
    return true;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
    value = limits.sharedPerBlock;
    return true;
  default:
    value = 0;
    return attribute > 0 && attribute < 160;
  }
}

} // namespace

CUresult cuInit(unsigned flags) {
  return anytime([&](Driver &state) -> CUresult {
    if (flags != 0)
      return CUDA_ERROR_INVALID_VALUE;
    if (state.isReady)
      return CUDA_SUCCESS;
    std::string problem;
    if (!state.settings.readEnvironment(problem)) {
      std::fprintf(stderr, "ptx-vm: error: %s\n", problem.c_str());
      return CUDA_ERROR_INVALID_VALUE;
    }
    state.memory = std::make_unique<DeviceMemory>(state.settings.memoryBytes);
    if (state.memory->capacity() == 0)
      return CUDA_ERROR_OUT_OF_MEMORY;
    state.defaultPool = state.currentPool =
        state.pools.add(std::make_unique<CUmemPoolHandle_st>());
    state.isReady = true;
    std::atexit(atExit);
    return CUDA_SUCCESS;
  });
}

CUresult cuDriverGetVersion(int *version) {
  if (!version)
    return CUDA_ERROR_INVALID_VALUE;
  *version = CUDA_VERSION;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  return query(device, ordinal, [&](Driver &) {
    *device = 0;
    return CUDA_SUCCESS;
  });
}

CUresult cuDeviceGetCount(int *count) {
  return query(count, 0, [&](Driver &) {
    *count = 1;
    return CUDA_SUCCESS;
  });
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
  return query(name && length > 0, device, [&](Driver &state) {
    std::snprintf(name, static_cast<size_t>(length), "%s",
                  deviceName(state.settings).c_str());
    return CUDA_SUCCESS;
  });
}

CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) {
  return query(uuid, device, [&](Driver &) {
    std::memcpy(uuid->bytes, "NAG PTX machine", 16);
    return CUDA_SUCCESS;
  });
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
  return query(bytes, device, [&](Driver &state) {
    *bytes = state.memory->capacity();
    return CUDA_SUCCESS;
  });
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute,
                              CUdevice device) {
  return query(value, device, [&](Driver &state) {
    return attributeOf(state.settings, attribute, *value)
               ? CUDA_SUCCESS
               : CUDA_ERROR_INVALID_VALUE;
  });
}

CUresult cuDeviceGetPCIBusId(char *text, int length, CUdevice device) {
  return query(text && length > 0, device, [&](Driver &) {
    std::snprintf(text, static_cast<size_t>(length), "%s", busId);
    return CUDA_SUCCESS;
  });
}

CUresult cuDeviceGetByPCIBusId(CUdevice *device, const char *text) {
  return query(device && text, 0, [&](Driver &) {
    *device = 0;
    return std::strcmp(text, busId) == 0 ? CUDA_SUCCESS
                                         : CUDA_ERROR_INVALID_DEVICE;
  });
}

CUresult cuDeviceCanAccessPeer(int *can, CUdevice device, CUdevice peer) {
  return query(can && isDevice(peer), device, [&](Driver &) {
    *can = 0;
    return CUDA_SUCCESS;
  });
}
