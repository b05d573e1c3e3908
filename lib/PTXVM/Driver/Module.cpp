// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Modules and libraries: what images hold.
#include "State.h"

#include <algorithm>

using namespace ptxvm;
using namespace ptxvm::driver;

namespace {

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
