// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The driver's objects behind CUDA's handles, and the ways into it.
#ifndef PTXVM_DRIVER_STATE_H
#define PTXVM_DRIVER_STATE_H

#ifdef PTXVM_USE_CUDA_H // a check of our declarations against NVIDIA's
#include <cuda.h>
#endif
#include "Records.h"
#include "Settings.h"
#include "nag/PTXVM/CudaDriver.h"
#include "nag/PTXVM/Launch.h"

#include <chrono>
#include <cstring>
#include <new>
#include <set>
#include <unordered_map>

struct CUfunc_st {
  CUmod_st *module = nullptr;
  const ptxvm::KernelInfo *kernel = nullptr;
  int maxDynamicShared = 0;
  int carveout = -1;
};

struct CUmod_st {
  CUctx_st *context = nullptr; // null when a library owns it
  std::shared_ptr<ptxvm::Module> image;
  std::map<std::string, CUfunc_st, std::less<>> functions;
};

struct CUlib_st {
  std::unique_ptr<CUmod_st> module;
};

struct CUstream_st {
  CUctx_st *context = nullptr;
  unsigned flags = 0;
  int priority = 0;
  unsigned long long id = 0;
};

struct CUevent_st {
  CUctx_st *context = nullptr;
  unsigned flags = 0;
  bool isRecorded = false;
  std::chrono::steady_clock::time_point time;
};

struct CUctx_st {
  unsigned flags = 0;
  unsigned apiVersion = 3020;
  bool isPrimary = false;
  bool isActive = true; // false: a primary context that was released or reset
  unsigned retainCount = 0;
  unsigned long long id = 0;
  CUresult error = CUDA_SUCCESS; // sticky, of a kernel that failed
  CUfunc_cache cacheConfig = CU_FUNC_CACHE_PREFER_NONE;
  std::map<int, size_t> limits;
};

struct CUmemPoolHandle_st {
  uint64_t releaseThreshold = 0;
  std::map<int, int> flags; // the attributes that are integers
};

namespace ptxvm::driver {

/// An answer whose type the caller knows.
template <typename T> CUresult put(void *target, T value) {
  std::memcpy(target, &value, sizeof(value));
  return CUDA_SUCCESS;
}

/// Owns the objects of one kind; a handle that is not in it is not followed.
template <typename T> class Handles {
public:
  T *add(std::unique_ptr<T> object) {
    T *handle = object.get();
    objects.emplace(handle, std::move(object));
    return handle;
  }
  T *find(const void *handle) const {
    auto found = objects.find(handle);
    return found == objects.end() ? nullptr : found->second.get();
  }
  bool remove(const void *handle) { return objects.erase(handle) != 0; }
  template <typename Fn> void removeIf(Fn test) {
    for (auto at = objects.begin(); at != objects.end();)
      at = test(*at->second) ? objects.erase(at) : std::next(at);
  }

private:
  std::unordered_map<const void *, std::unique_ptr<T>> objects;
};

struct MemoryInfo {
  CUctx_st *context = nullptr;
  bool isHost = false; // pinned memory of the host
  unsigned flags = 0;
};

/// The whole driver. Never destroyed: programs call it from their own exit
/// handlers.
struct Driver {
  std::recursive_mutex guard;
  Settings settings;
  bool isReady = false;
  std::unique_ptr<DeviceMemory> memory;
  Records records;
  Handles<CUctx_st> contexts;
  Handles<CUmod_st> modules;
  Handles<CUlib_st> libraries;
  Handles<CUstream_st> streams;
  Handles<CUevent_st> events;
  Handles<CUmemPoolHandle_st> pools;
  std::unordered_map<const void *, CUfunc_st *> functions;
  std::map<uint64_t, MemoryInfo> allocations; // by device address
  std::map<const void *, size_t> registered;  // host ranges
  std::unordered_map<std::string, std::shared_ptr<Module>> cache; // by text
  CUctx_st *primary = nullptr;
  unsigned primaryFlags = 0;
  CUmemPoolHandle_st *defaultPool = nullptr, *currentPool = nullptr;
  unsigned long long nextId = 1;

  CUfunc_st *findFunction(const void *handle) const {
    auto found = functions.find(handle);
    return found == functions.end() ? nullptr : found->second;
  }
};
Driver &driver();

/// The current context of this thread, null when none is.
CUctx_st *currentContext();
void pushContext(CUctx_st *context);
/// False when the stack of contexts is empty.
bool popContext();
void setContext(CUctx_st *context);

/// Writes the address of `bytes` of new device memory to `result`.
CUresult allocateDevice(Driver &state, CUctx_st &context, CUdeviceptr *result,
                        size_t bytes);
/// The device address behind a host pointer into the device's range, else 0.
uint64_t addressOfHost(Driver &state, const void *pointer);

/// Frees everything that lives in a context.
void clearContext(CUctx_st &context);

/// Null, the two special streams, and streams of the context.
bool isStream(CUctx_st &context, CUstream stream);
bool isDevice(CUdevice device);

/// The bytes of a file; CUDA_ERROR_FILE_NOT_FOUND where it cannot be opened.
CUresult readFile(const char *name, std::string &text);
/// Loads an image (PTX text) and answers JIT options.
CUresult loadImage(const void *image, unsigned count, CUjit_option *options,
                   void **values, std::shared_ptr<Module> &module);

//===----------------------------------------------------------------------===//
// Every function of the API runs inside one of these.
//===----------------------------------------------------------------------===//

/// Locks the driver; no C++ exception leaves it.
template <typename Fn> CUresult anytime(Fn body) {
  try {
    Driver &state = driver();
    std::lock_guard<std::recursive_mutex> lock(state.guard);
    return body(state);
  } catch (const std::bad_alloc &) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  } catch (...) {
    return CUDA_ERROR_UNKNOWN;
  }
}

/// After cuInit.
template <typename Fn> CUresult initialized(Fn body) {
  return anytime([&](Driver &state) {
    return state.isReady ? body(state) : CUDA_ERROR_NOT_INITIALIZED;
  });
}

/// With a current context that no kernel has broken.
template <typename Fn> CUresult inContext(Fn body) {
  return initialized([&](Driver &state) {
    CUctx_st *context = currentContext();
    if (!context)
      return CUDA_ERROR_INVALID_CONTEXT;
    if (!state.contexts.find(context) || !context->isActive)
      return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    if (context->error != CUDA_SUCCESS)
      return context->error;
    return body(state, *context);
  });
}

/// The same, for work on a stream.
template <typename Fn> CUresult onStream(CUstream stream, Fn body) {
  return inContext([&](Driver &state, CUctx_st &context) {
    return isStream(context, stream) ? body(state, context)
                                     : CUDA_ERROR_INVALID_HANDLE;
  });
}

} // namespace ptxvm::driver

#endif // PTXVM_DRIVER_STATE_H
