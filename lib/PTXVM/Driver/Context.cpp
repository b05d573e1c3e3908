// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Contexts: the primary one, others, and each thread's stack of them.
#include "State.h"

#include <algorithm>

using namespace ptxvm::driver;

namespace {

thread_local std::vector<CUctx_st *> contextStack;

CUctx_st *makeContext(Driver &state, unsigned flags) {
  CUctx_st *context = state.contexts.add(std::make_unique<CUctx_st>());
  context->flags = flags;
  context->id = state.nextId++;
  context->limits = {{CU_LIMIT_STACK_SIZE, 1024},
                     {CU_LIMIT_PRINTF_FIFO_SIZE, 1 << 20},
                     {CU_LIMIT_MALLOC_HEAP_SIZE, 8 << 20},
                     {CU_LIMIT_MAX_L2_FETCH_GRANULARITY, 64},
                     {CU_LIMIT_PERSISTING_L2_CACHE_SIZE, 0}};
  return context;
}

bool areFlags(unsigned flags) {
  return (flags & ~unsigned(CU_CTX_FLAGS_MASK)) == 0 && (flags & 7) <= 4;
}

CUresult create(CUcontext *result, unsigned flags, CUdevice device,
                unsigned version) {
  return initialized([&](Driver &state) {
    if (!result || !areFlags(flags))
      return CUDA_ERROR_INVALID_VALUE;
    if (!isDevice(device))
      return CUDA_ERROR_INVALID_DEVICE;
    *result = makeContext(state, flags);
    (*result)->apiVersion = version;
    pushContext(*result);
    return CUDA_SUCCESS;
  });
}

/// Runs on a context named by handle; null is the current one.
template <typename Fn> CUresult inNamed(CUcontext handle, Fn body) {
  if (!handle)
    return inContext(
        [&](Driver &, CUctx_st &context) { return body(context); });
  return initialized([&](Driver &state) {
    CUctx_st *context = state.contexts.find(handle);
    return context && context->isActive ? body(*context)
                                        : CUDA_ERROR_INVALID_CONTEXT;
  });
}

void endPrimary(Driver &state) {
  if (!state.primary || !state.primary->isActive)
    return;
  clearContext(*state.primary);
  state.primary->isActive = false;
  state.primary->error = CUDA_SUCCESS;
}

} // namespace

namespace ptxvm::driver {

CUctx_st *currentContext() {
  return contextStack.empty() ? nullptr : contextStack.back();
}
void pushContext(CUctx_st *context) { contextStack.push_back(context); }
bool popContext() {
  if (contextStack.empty())
    return false;
  contextStack.pop_back();
  return true;
}
void setContext(CUctx_st *context) {
  popContext();
  if (context)
    pushContext(context);
}

void clearContext(CUctx_st &context) {
  Driver &state = driver();
  auto isOurs = [&](const auto &object) { return object.context == &context; };
  for (auto at = state.functions.begin(); at != state.functions.end();)
    at =
        isOurs(*at->second->module) ? state.functions.erase(at) : std::next(at);
  state.modules.removeIf(isOurs);
  state.streams.removeIf(isOurs);
  state.events.removeIf(isOurs);
  for (auto at = state.allocations.begin(); at != state.allocations.end();)
    if (isOurs(at->second)) {
      state.memory->release(at->first);
      at = state.allocations.erase(at);
    } else {
      ++at;
    }
}

} // namespace ptxvm::driver

//===----------------------------------------------------------------------===//
// The primary context
//===----------------------------------------------------------------------===//

CUresult cuDevicePrimaryCtxRetain(CUcontext *result, CUdevice device) {
  return initialized([&](Driver &state) {
    if (!result)
      return CUDA_ERROR_INVALID_VALUE;
    if (!isDevice(device))
      return CUDA_ERROR_INVALID_DEVICE;
    if (!state.primary) {
      state.primary = makeContext(state, state.primaryFlags);
      state.primary->isPrimary = true;
    } else if (!state.primary->isActive) {
      state.primary->isActive = true;
      state.primary->flags = state.primaryFlags;
    }
    ++state.primary->retainCount;
    *result = state.primary;
    return CUDA_SUCCESS;
  });
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  return initialized([&](Driver &state) {
    if (!isDevice(device))
      return CUDA_ERROR_INVALID_DEVICE;
    if (!state.primary || state.primary->retainCount == 0)
      return CUDA_ERROR_INVALID_CONTEXT;
    if (--state.primary->retainCount == 0)
      endPrimary(state);
    return CUDA_SUCCESS;
  });
}

CUresult cuDevicePrimaryCtxReset_v2(CUdevice device) {
  return initialized([&](Driver &state) {
    if (!isDevice(device))
      return CUDA_ERROR_INVALID_DEVICE;
    bool isRetained = state.primary && state.primary->retainCount;
    endPrimary(state);
    if (isRetained) // its holders go on with an empty context
      state.primary->isActive = true;
    return CUDA_SUCCESS;
  });
}

CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned flags) {
  return initialized([&](Driver &state) {
    if (!isDevice(device))
      return CUDA_ERROR_INVALID_DEVICE;
    if (!areFlags(flags))
      return CUDA_ERROR_INVALID_VALUE;
    state.primaryFlags = flags;
    if (state.primary)
      state.primary->flags = flags;
    return CUDA_SUCCESS;
  });
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags,
                                    int *active) {
  return initialized([&](Driver &state) {
    if (!isDevice(device))
      return CUDA_ERROR_INVALID_DEVICE;
    if (!flags || !active)
      return CUDA_ERROR_INVALID_VALUE;
    *flags = state.primaryFlags;
    *active = state.primary && state.primary->isActive;
    return CUDA_SUCCESS;
  });
}

//===----------------------------------------------------------------------===//
// Other contexts. CUDA 13 declares the fourth form of cuCtxCreate; programs
// built earlier call the others.
//===----------------------------------------------------------------------===//

CUresult cuCtxCreate_v4(CUcontext *context, CUctxCreateParams *params,
                        unsigned flags, CUdevice device) {
  return params ? CUDA_ERROR_NOT_SUPPORTED
                : create(context, flags, device, CUDA_VERSION);
}
extern "C" CUresult cuCtxCreate_v2(CUcontext *context, unsigned flags,
                                   CUdevice device) {
  return create(context, flags, device, 3020);
}
extern "C" CUresult cuCtxCreate_v3(CUcontext *context, void *, int count,
                                   unsigned flags, CUdevice device) {
  return count ? CUDA_ERROR_NOT_SUPPORTED
               : create(context, flags, device, 11040);
}

CUresult cuCtxDestroy_v2(CUcontext handle) {
  return initialized([&](Driver &state) {
    CUctx_st *context = state.contexts.find(handle);
    if (!context || context->isPrimary)
      return CUDA_ERROR_INVALID_CONTEXT;
    clearContext(*context);
    if (currentContext() == context)
      popContext();
    state.contexts.remove(context);
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxPushCurrent_v2(CUcontext handle) {
  return initialized([&](Driver &state) {
    if (!state.contexts.find(handle))
      return CUDA_ERROR_INVALID_CONTEXT;
    pushContext(handle);
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxPopCurrent_v2(CUcontext *context) {
  return initialized([&](Driver &) {
    CUctx_st *popped = currentContext();
    if (!popContext())
      return CUDA_ERROR_INVALID_CONTEXT;
    if (context)
      *context = popped;
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxSetCurrent(CUcontext handle) {
  return initialized([&](Driver &state) {
    if (handle && !state.contexts.find(handle))
      return CUDA_ERROR_INVALID_CONTEXT;
    setContext(handle);
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxGetCurrent(CUcontext *context) {
  return initialized([&](Driver &) {
    if (!context)
      return CUDA_ERROR_INVALID_VALUE;
    *context = currentContext();
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxGetDevice(CUdevice *device) {
  return cuCtxGetDevice_v2(device, nullptr);
}
CUresult cuCtxGetDevice_v2(CUdevice *device, CUcontext handle) {
  return inNamed(handle, [&](CUctx_st &) {
    if (!device)
      return CUDA_ERROR_INVALID_VALUE;
    *device = 0;
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxGetFlags(unsigned *flags) {
  return inContext([&](Driver &, CUctx_st &context) {
    if (!flags)
      return CUDA_ERROR_INVALID_VALUE;
    *flags = context.flags;
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxSetFlags(unsigned flags) {
  return inContext([&](Driver &, CUctx_st &context) {
    if (!areFlags(flags))
      return CUDA_ERROR_INVALID_VALUE;
    context.flags = flags;
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxGetId(CUcontext handle, unsigned long long *id) {
  return inNamed(handle, [&](CUctx_st &context) {
    if (!id)
      return CUDA_ERROR_INVALID_VALUE;
    *id = context.id;
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxGetApiVersion(CUcontext handle, unsigned *version) {
  return inNamed(handle, [&](CUctx_st &context) {
    if (!version)
      return CUDA_ERROR_INVALID_VALUE;
    *version = context.apiVersion;
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxSynchronize(void) {
  return inContext([](Driver &, CUctx_st &) { return CUDA_SUCCESS; });
}
CUresult cuCtxSynchronize_v2(CUcontext handle) {
  return inNamed(handle, [](CUctx_st &context) { return context.error; });
}

CUresult cuCtxSetLimit(CUlimit limit, size_t value) {
  return inContext([&](Driver &, CUctx_st &context) {
    auto known = context.limits.find(limit);
    if (known == context.limits.end())
      return CUDA_ERROR_UNSUPPORTED_LIMIT;
    known->second = value;
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxGetLimit(size_t *value, CUlimit limit) {
  return inContext([&](Driver &, CUctx_st &context) {
    auto known = context.limits.find(limit);
    if (!value)
      return CUDA_ERROR_INVALID_VALUE;
    if (known == context.limits.end())
      return CUDA_ERROR_UNSUPPORTED_LIMIT;
    *value = known->second;
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxGetCacheConfig(CUfunc_cache *config) {
  return inContext([&](Driver &, CUctx_st &context) {
    if (!config)
      return CUDA_ERROR_INVALID_VALUE;
    *config = context.cacheConfig;
    return CUDA_SUCCESS;
  });
}
CUresult cuCtxSetCacheConfig(CUfunc_cache config) {
  return inContext([&](Driver &, CUctx_st &context) {
    if (static_cast<unsigned>(config) > CU_FUNC_CACHE_PREFER_EQUAL)
      return CUDA_ERROR_INVALID_VALUE;
    context.cacheConfig = config;
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  return inContext([&](Driver &, CUctx_st &) {
    if (least)
      *least = 0;
    if (greatest)
      *greatest = -5;
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxResetPersistingL2Cache(void) { return cuCtxSynchronize(); }

CUresult cuCtxEnablePeerAccess(CUcontext, unsigned) {
  return inContext(
      [](Driver &, CUctx_st &) { return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED; });
}
CUresult cuCtxDisablePeerAccess(CUcontext) {
  return inContext(
      [](Driver &, CUctx_st &) { return CUDA_ERROR_PEER_ACCESS_NOT_ENABLED; });
}
