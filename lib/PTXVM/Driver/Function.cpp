// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Functions and their attributes; a library's kernel is its function.
#include "State.h"

using namespace ptxvm;
using namespace ptxvm::driver;

namespace {

CUresult attributeOf(const Driver &state, const CUfunc_st &function,
                     int attribute, int &value) {
  switch (attribute) {
  case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    value = static_cast<int>(function.kernel->maxThreads);
    break;
  case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
    value = static_cast<int>(function.kernel->staticSharedBytes);
    break;
  case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
    value = static_cast<int>(function.kernel->localBytes);
    break;
  case CU_FUNC_ATTRIBUTE_NUM_REGS:
    value = reportedRegisters;
    break;
  case CU_FUNC_ATTRIBUTE_PTX_VERSION:
    value = static_cast<int>(function.module->image->isaVersion());
    break;
  case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
    value = state.settings.major * 10 + state.settings.minor;
    break;
  case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
    value = function.maxDynamicShared;
    break;
  case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
    value = function.carveout;
    break;
  default:
    value = 0;
    return attribute >= 0 &&
                   attribute <=
                       CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE
               ? CUDA_SUCCESS
               : CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

CUresult setAttribute(const Driver &state, CUfunc_st &function, int attribute,
                      int value) {
  if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
    int limit = limitsOf(state.settings).sharedPerBlock -
                static_cast<int>(function.kernel->staticSharedBytes);
    if (value < 0 || value > limit)
      return CUDA_ERROR_INVALID_VALUE;
    function.maxDynamicShared = value;
    return CUDA_SUCCESS;
  }
  if (attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT) {
    if (value < -1 || value > 100)
      return CUDA_ERROR_INVALID_VALUE;
    function.carveout = value;
    return CUDA_SUCCESS;
  }
  return CUDA_ERROR_INVALID_VALUE;
}

CUresult paramOf(const CUfunc_st &function, size_t index, size_t *offset,
                 size_t *size) {
  if (!offset || index >= function.kernel->params.size())
    return CUDA_ERROR_INVALID_VALUE;
  const ParamInfo &param = function.kernel->params[index];
  *offset = param.offset;
  if (size)
    *size = param.size;
  return CUDA_SUCCESS;
}

/// Runs on a function named by a CUfunction or CUkernel handle.
template <typename Fn> CUresult onFunction(const void *handle, Fn body) {
  return inContext([&](Driver &state, CUctx_st &) {
    CUfunc_st *function = state.findFunction(handle);
    return function ? body(state, *function) : CUDA_ERROR_INVALID_HANDLE;
  });
}

} // namespace

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute,
                            CUfunction handle) {
  return onFunction(handle, [&](Driver &state, CUfunc_st &function) {
    return value ? attributeOf(state, function, attribute, *value)
                 : CUDA_ERROR_INVALID_VALUE;
  });
}

CUresult cuFuncSetAttribute(CUfunction handle, CUfunction_attribute attribute,
                            int value) {
  return onFunction(handle, [&](Driver &state, CUfunc_st &function) {
    return setAttribute(state, function, attribute, value);
  });
}

CUresult cuFuncSetCacheConfig(CUfunction handle, CUfunc_cache config) {
  return onFunction(handle, [&](Driver &, CUfunc_st &) {
    return static_cast<unsigned>(config) <= CU_FUNC_CACHE_PREFER_EQUAL
               ? CUDA_SUCCESS
               : CUDA_ERROR_INVALID_VALUE;
  });
}

CUresult cuFuncGetModule(CUmodule *module, CUfunction handle) {
  return onFunction(handle, [&](Driver &, CUfunc_st &function) {
    if (!module)
      return CUDA_ERROR_INVALID_VALUE;
    *module = function.module;
    return CUDA_SUCCESS;
  });
}

CUresult cuFuncGetName(const char **name, CUfunction handle) {
  return onFunction(handle, [&](Driver &, CUfunc_st &function) {
    if (!name)
      return CUDA_ERROR_INVALID_VALUE;
    *name = function.kernel->name.c_str();
    return CUDA_SUCCESS;
  });
}

CUresult cuFuncGetParamInfo(CUfunction handle, size_t index, size_t *offset,
                            size_t *size) {
  return onFunction(handle, [&](Driver &, CUfunc_st &function) {
    return paramOf(function, index, offset, size);
  });
}

CUresult cuFuncIsLoaded(CUfunctionLoadingState *loaded, CUfunction handle) {
  return onFunction(handle, [&](Driver &, CUfunc_st &) {
    if (!loaded)
      return CUDA_ERROR_INVALID_VALUE;
    *loaded = CU_FUNCTION_LOADING_STATE_LOADED;
    return CUDA_SUCCESS;
  });
}

CUresult cuFuncLoad(CUfunction handle) {
  return onFunction(handle, [](Driver &, CUfunc_st &) { return CUDA_SUCCESS; });
}

//===----------------------------------------------------------------------===//
// Kernels of libraries
//===----------------------------------------------------------------------===//

CUresult cuKernelGetFunction(CUfunction *result, CUkernel handle) {
  return onFunction(handle, [&](Driver &, CUfunc_st &function) {
    if (!result)
      return CUDA_ERROR_INVALID_VALUE;
    *result = &function;
    return CUDA_SUCCESS;
  });
}

CUresult cuKernelGetName(const char **name, CUkernel handle) {
  return cuFuncGetName(name, reinterpret_cast<CUfunction>(handle));
}

CUresult cuKernelGetAttribute(int *value, CUfunction_attribute attribute,
                              CUkernel handle, CUdevice device) {
  return isDevice(device)
             ? cuFuncGetAttribute(value, attribute,
                                  reinterpret_cast<CUfunction>(handle))
             : CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuKernelSetAttribute(CUfunction_attribute attribute, int value,
                              CUkernel handle, CUdevice device) {
  return isDevice(device)
             ? cuFuncSetAttribute(reinterpret_cast<CUfunction>(handle),
                                  attribute, value)
             : CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuKernelGetParamInfo(CUkernel handle, size_t index, size_t *offset,
                              size_t *size) {
  return cuFuncGetParamInfo(reinterpret_cast<CUfunction>(handle), index, offset,
                            size);
}
