// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What is known about a pointer.
#include "State.h"

#include <cstring>

using namespace ptxvm;
using namespace ptxvm::driver;

namespace {

/// The live allocation that holds a device address or a pinned host pointer.
const Allocation *findLive(Driver &state, uint64_t pointer, uint64_t &address) {
  address = pointer;
  if (!state.memory->inRange(address, 1))
    address = addressOfHost(state, reinterpret_cast<const void *>(pointer));
  const Allocation *found = address ? state.memory->find(address) : nullptr;
  return found && !found->isFree ? found : nullptr;
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

} // namespace

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
