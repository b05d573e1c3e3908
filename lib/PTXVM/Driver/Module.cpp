// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Modules, libraries, functions and their attributes. Images are PTX texts.
#include "State.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

using namespace ptxvm;
using namespace ptxvm::driver;

namespace {

constexpr size_t cachedTexts = 256;

/// A log buffer of the caller, filled as the JIT compiler does.
class JitLog {
public:
  CUresult read(unsigned count, CUjit_option *options, void **optionValues) {
    values = optionValues;
    if (count && (!options || !values))
      return CUDA_ERROR_INVALID_VALUE;
    for (unsigned k = 0; k < count; ++k) {
      unsigned option = static_cast<unsigned>(options[k]);
      if (option >= CU_JIT_NUM_OPTIONS)
        return CUDA_ERROR_INVALID_VALUE;
      if (option == CU_JIT_ERROR_LOG_BUFFER)
        errorBuffer = static_cast<char *>(values[k]);
      else if (option == CU_JIT_INFO_LOG_BUFFER)
        infoBuffer = static_cast<char *>(values[k]);
      else if (option == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES)
        errorSize = &values[k];
      else if (option == CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES)
        infoSize = &values[k];
      else if (option == CU_JIT_WALL_TIME)
        wallTime = &values[k];
    }
    return CUDA_SUCCESS;
  }
  void error(const std::string &text) { put(errorBuffer, errorSize, text); }
  void info(const std::string &text) { put(infoBuffer, infoSize, text); }
  void time(double milliseconds) {
    if (!wallTime)
      return;
    float value = static_cast<float>(milliseconds);
    std::memcpy(wallTime, &value, sizeof(value));
  }

private:
  /// The size option holds the room and receives what was filled.
  static void put(char *buffer, void **size, const std::string &text) {
    if (!size)
      return;
    size_t room = reinterpret_cast<size_t>(*size), filled = 0;
    if (buffer && room) {
      filled = std::min(room - 1, text.size());
      std::memcpy(buffer, text.data(), filled);
      buffer[filled] = '\0';
    }
    *size = reinterpret_cast<void *>(filled);
  }

  void **values = nullptr;
  char *errorBuffer = nullptr, *infoBuffer = nullptr;
  void **errorSize = nullptr, **infoSize = nullptr, **wallTime = nullptr;
};

/// ELF files and fat binaries hold code for the chip itself.
bool isBinary(const char *image) {
  return std::strncmp(image,
                      "\x7f"
                      "ELF",
                      4) == 0 ||
         std::strncmp(image, "\x50\xed\x55\xba", 4) == 0 ||
         std::strncmp(image, "\xb1\x43\x62\x46", 4) == 0;
}

/// sm_80 runs on every later chip, sm_90a on 9.0 alone.
bool runsOn(const std::string &target, const Settings &settings) {
  int chip = settings.major * 10 + settings.minor;
  int wanted = std::atoi(target.c_str() + 3);
  return target.back() == 'a' ? wanted == chip : wanted <= chip;
}

CUresult codeFor(Diagnostic::Cause cause) {
  switch (cause) {
  case Diagnostic::IsaVersion:
    return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
  case Diagnostic::OutOfMemory:
    return CUDA_ERROR_OUT_OF_MEMORY;
  default:
    return CUDA_ERROR_INVALID_PTX;
  }
}

std::shared_ptr<Module> findCached(Driver &state, const char *text) {
  auto found = state.cache.find(text);
  return found == state.cache.end() ? nullptr : found->second;
}

/// Texts without variables mean the same to every module made of them.
void remember(Driver &state, const char *text,
              const std::shared_ptr<Module> &module) {
  if (!module->globals().empty())
    return;
  if (state.cache.size() >= cachedTexts)
    for (auto at = state.cache.begin(); at != state.cache.end();)
      at = at->second.use_count() == 1 ? state.cache.erase(at) : std::next(at);
  state.cache.emplace(text, module);
}

CUresult loadText(Driver &state, const char *text, JitLog &log,
                  std::shared_ptr<Module> &module) {
  auto refuse = [&](CUresult code, const std::string &message) {
    state.records.lastMessage = message;
    log.error("ptx-vm: " + message + "\n");
    return code;
  };
  if (isBinary(text))
    return refuse(CUDA_ERROR_NO_BINARY_FOR_GPU,
                  "expected PTX text, but got a binary image");
  module = findCached(state, text);
  if (!module) {
    Diagnostic diagnostic;
    module = Module::load(text, *state.memory, diagnostic);
    if (!module)
      return refuse(codeFor(diagnostic.cause),
                    "line " + std::to_string(diagnostic.line) + ": " +
                        diagnostic.message);
    remember(state, text, module);
  }
  if (!runsOn(module->target(), state.settings))
    return refuse(CUDA_ERROR_NO_BINARY_FOR_GPU,
                  "expected a target that runs on sm_" +
                      std::to_string(state.settings.major) +
                      std::to_string(state.settings.minor) + ", but got " +
                      module->target());
  return CUDA_SUCCESS;
}

std::unique_ptr<CUmod_st> makeModule(Driver &state, CUctx_st *context,
                                     std::shared_ptr<Module> image) {
  auto module = std::make_unique<CUmod_st>();
  module->context = context;
  for (const KernelInfo &kernel : image->kernels()) {
    CUfunc_st &function = module->functions[kernel.name];
    function.module = module.get();
    function.kernel = &kernel;
    function.maxDynamicShared = std::max(
        0, defaultSharedPerBlock - static_cast<int>(kernel.staticSharedBytes));
    state.functions[&function] = &function;
  }
  module->image = std::move(image);
  return module;
}

void forgetFunctions(Driver &state, CUmod_st &module) {
  for (auto &[name, function] : module.functions)
    state.functions.erase(&function);
}

CUresult readFile(const char *name, std::string &text) {
  std::FILE *file = std::fopen(name, "rb");
  if (!file)
    return CUDA_ERROR_FILE_NOT_FOUND;
  char buffer[65536];
  while (size_t got = std::fread(buffer, 1, sizeof(buffer), file))
    text.append(buffer, got);
  bool failed = std::ferror(file);
  std::fclose(file);
  return failed ? CUDA_ERROR_OPERATING_SYSTEM : CUDA_SUCCESS;
}

CUmod_st *findModule(Driver &state, CUmodule handle) {
  if (CUmod_st *module = state.modules.find(handle))
    return module;
  for (auto &[function, entry] : state.functions) // modules of libraries
    if (entry->module == handle)
      return entry->module;
  return nullptr;
}

CUresult globalOf(const CUmod_st &module, const char *name,
                  CUdeviceptr *address, size_t *bytes) {
  if (!name || (!address && !bytes))
    return CUDA_ERROR_INVALID_VALUE;
  const GlobalInfo *global = module.image->findGlobal(name);
  if (!global)
    return CUDA_ERROR_NOT_FOUND;
  if (address)
    *address = global->address;
  if (bytes)
    *bytes = global->size;
  return CUDA_SUCCESS;
}

CUresult functionOf(CUmod_st &module, const char *name, CUfunc_st *&result) {
  auto found = module.functions.find(name);
  if (found == module.functions.end())
    return CUDA_ERROR_NOT_FOUND;
  result = &found->second;
  return CUDA_SUCCESS;
}

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
template <typename Fn> CUresult onModule(CUmodule handle, Fn body) {
  return inContext([&](Driver &state, CUctx_st &) {
    CUmod_st *module = findModule(state, handle);
    return module ? body(*module) : CUDA_ERROR_INVALID_HANDLE;
  });
}
template <typename Fn> CUresult onLibrary(CUlibrary handle, Fn body) {
  return inContext([&](Driver &state, CUctx_st &) {
    CUlib_st *library = state.libraries.find(handle);
    return library ? body(*library->module) : CUDA_ERROR_INVALID_HANDLE;
  });
}

} // namespace

namespace ptxvm::driver {

CUresult loadImage(const void *image, unsigned count, CUjit_option *options,
                   void **values, std::shared_ptr<Module> &module) {
  JitLog log;
  if (CUresult wrong = log.read(count, options, values))
    return wrong;
  if (!image)
    return CUDA_ERROR_INVALID_VALUE;
  auto start = std::chrono::steady_clock::now();
  CUresult result =
      loadText(driver(), static_cast<const char *>(image), log, module);
  std::chrono::duration<double, std::milli> elapsed =
      std::chrono::steady_clock::now() - start;
  log.time(elapsed.count());
  if (result == CUDA_SUCCESS) {
    log.error("");
    log.info("");
  }
  return result;
}

} // namespace ptxvm::driver

//===----------------------------------------------------------------------===//
// Modules
//===----------------------------------------------------------------------===//

CUresult cuModuleLoadDataEx(CUmodule *result, const void *image, unsigned count,
                            CUjit_option *options, void **values) {
  return inContext([&](Driver &state, CUctx_st &context) {
    if (!result)
      return CUDA_ERROR_INVALID_VALUE;
    std::shared_ptr<Module> module;
    CUresult code = loadImage(image, count, options, values, module);
    if (code == CUDA_SUCCESS)
      *result = state.modules.add(makeModule(state, &context, module));
    return code;
  });
}

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
  return cuModuleLoadDataEx(module, image, 0, nullptr, nullptr);
}

CUresult cuModuleLoadFatBinary(CUmodule *module, const void *image) {
  return cuModuleLoadDataEx(module, image, 0, nullptr, nullptr);
}

CUresult cuModuleLoad(CUmodule *module, const char *file) {
  return inContext([&](Driver &, CUctx_st &) {
    if (!module || !file)
      return CUDA_ERROR_INVALID_VALUE;
    std::string text;
    CUresult code = readFile(file, text);
    return code ? code : cuModuleLoadData(module, text.c_str());
  });
}

CUresult cuModuleUnload(CUmodule handle) {
  return inContext([&](Driver &state, CUctx_st &) {
    CUmod_st *module = state.modules.find(handle);
    if (!module)
      return CUDA_ERROR_INVALID_HANDLE;
    forgetFunctions(state, *module);
    state.modules.remove(module);
    return CUDA_SUCCESS;
  });
}

CUresult cuModuleGetLoadingMode(CUmoduleLoadingMode *mode) {
  return initialized([&](Driver &) {
    if (!mode)
      return CUDA_ERROR_INVALID_VALUE;
    *mode = CU_MODULE_EAGER_LOADING;
    return CUDA_SUCCESS;
  });
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule handle,
                             const char *name) {
  return onModule(handle, [&](CUmod_st &module) {
    return function && name ? functionOf(module, name, *function)
                            : CUDA_ERROR_INVALID_VALUE;
  });
}

CUresult cuModuleGetFunctionCount(unsigned *count, CUmodule handle) {
  return onModule(handle, [&](CUmod_st &module) {
    if (!count)
      return CUDA_ERROR_INVALID_VALUE;
    *count = static_cast<unsigned>(module.functions.size());
    return CUDA_SUCCESS;
  });
}

CUresult cuModuleEnumerateFunctions(CUfunction *functions, unsigned count,
                                    CUmodule handle) {
  return onModule(handle, [&](CUmod_st &module) {
    if (!functions || count == 0)
      return CUDA_ERROR_INVALID_VALUE;
    for (auto &[name, function] : module.functions)
      if (count-- != 0)
        *functions++ = &function;
      else
        break;
    return CUDA_SUCCESS;
  });
}

CUresult cuModuleGetGlobal_v2(CUdeviceptr *address, size_t *bytes,
                              CUmodule handle, const char *name) {
  return onModule(handle, [&](CUmod_st &module) {
    return globalOf(module, name, address, bytes);
  });
}

//===----------------------------------------------------------------------===//
// Libraries: modules that belong to no context. A kernel is its function.
//===----------------------------------------------------------------------===//

CUresult cuLibraryLoadData(CUlibrary *result, const void *code,
                           CUjit_option *jitOptions, void **jitValues,
                           unsigned jitCount, CUlibraryOption *options,
                           void **values, unsigned count) {
  return initialized([&](Driver &state) {
    if (!result || (count && (!options || !values)))
      return CUDA_ERROR_INVALID_VALUE;
    std::shared_ptr<Module> module;
    CUresult failed = loadImage(code, jitCount, jitOptions, jitValues, module);
    if (failed)
      return failed;
    auto library = std::make_unique<CUlib_st>();
    library->module = makeModule(state, nullptr, module);
    *result = state.libraries.add(std::move(library));
    return CUDA_SUCCESS;
  });
}

CUresult cuLibraryLoadFromFile(CUlibrary *library, const char *file,
                               CUjit_option *jitOptions, void **jitValues,
                               unsigned jitCount, CUlibraryOption *options,
                               void **values, unsigned count) {
  return initialized([&](Driver &) {
    if (!library || !file)
      return CUDA_ERROR_INVALID_VALUE;
    std::string text;
    CUresult code = readFile(file, text);
    return code
               ? code
               : cuLibraryLoadData(library, text.c_str(), jitOptions, jitValues,
                                   jitCount, options, values, count);
  });
}

CUresult cuLibraryUnload(CUlibrary handle) {
  return initialized([&](Driver &state) {
    CUlib_st *library = state.libraries.find(handle);
    if (!library)
      return CUDA_ERROR_INVALID_HANDLE;
    forgetFunctions(state, *library->module);
    state.libraries.remove(library);
    return CUDA_SUCCESS;
  });
}

CUresult cuLibraryGetKernel(CUkernel *kernel, CUlibrary handle,
                            const char *name) {
  return onLibrary(handle, [&](CUmod_st &module) {
    if (!kernel || !name)
      return CUDA_ERROR_INVALID_VALUE;
    CUfunc_st *function = nullptr;
    CUresult code = functionOf(module, name, function);
    if (code == CUDA_SUCCESS)
      *kernel = reinterpret_cast<CUkernel>(function);
    return code;
  });
}

CUresult cuLibraryGetKernelCount(unsigned *count, CUlibrary handle) {
  return onLibrary(handle, [&](CUmod_st &module) {
    if (!count)
      return CUDA_ERROR_INVALID_VALUE;
    *count = static_cast<unsigned>(module.functions.size());
    return CUDA_SUCCESS;
  });
}

CUresult cuLibraryGetModule(CUmodule *result, CUlibrary handle) {
  return onLibrary(handle, [&](CUmod_st &module) {
    if (!result)
      return CUDA_ERROR_INVALID_VALUE;
    *result = &module;
    return CUDA_SUCCESS;
  });
}

CUresult cuLibraryGetGlobal(CUdeviceptr *address, size_t *bytes,
                            CUlibrary handle, const char *name) {
  return onLibrary(handle, [&](CUmod_st &module) {
    return globalOf(module, name, address, bytes);
  });
}

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

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

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
