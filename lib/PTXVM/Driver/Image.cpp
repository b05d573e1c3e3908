// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Loads images, which are PTX texts, and answers the options of the JIT
// compiler.
#include "State.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
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

} // namespace

CUresult ptxvm::driver::readFile(const char *name, std::string &text) {
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

CUresult ptxvm::driver::loadImage(const void *image, unsigned count,
                                  CUjit_option *options, void **values,
                                  std::shared_ptr<Module> &module) {
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
