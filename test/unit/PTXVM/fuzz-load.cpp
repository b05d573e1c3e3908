// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Loads arbitrary bytes as PTX and runs what loads, one small block per kernel.
// Built with -fsanitize=fuzzer this is a libFuzzer target
// (scripts/fuzz_ptx.sh); built with NAG_FUZZ_MAIN it runs the files and folders
// it is given, once each.
#include "nag/PTXVM/Launch.h"

#include <cstdio>
#include <cstdlib>

using namespace ptxvm;

namespace {

constexpr uint64_t mostLocalBytes = 1 << 16; // per thread; more only takes time

void runKernel(const Module &module, const KernelInfo &kernel,
               uint32_t checks) {
  if (kernel.localBytes > mostLocalBytes)
    return;
  LaunchOptions options;
  options.checks = checks;
  options.profile = checks != 0;
  options.threads = 1;
  options.branchLimit = 200;
  std::vector<uint8_t> params(kernel.paramBytes);
  uint32_t threads = std::min(kernel.maxThreads, 40u);
  Dim3 block{threads};
  if (kernel.requiredThreads[0])
    block = {kernel.requiredThreads[0], std::max(kernel.requiredThreads[1], 1u),
             std::max(kernel.requiredThreads[2], 1u)};
  launch(module, kernel, {1}, block, 64, params, options);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static DeviceMemory *memory = new DeviceMemory(1 << 24);
  Diagnostic diagnostic;
  auto module = Module::load({reinterpret_cast<const char *>(data), size},
                             *memory, diagnostic);
  if (!module) {
    // A refusal says why, in one line.
    if (diagnostic.message.empty() ||
        diagnostic.message.find('\n') != std::string::npos)
      std::abort();
    return 0;
  }
  for (const KernelInfo &kernel : module->kernels())
    for (uint32_t checks : {0u, allChecks})
      runKernel(*module, kernel, checks);
  return 0;
}

#ifdef NAG_FUZZ_MAIN
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

int main(int count, char **arguments) {
  std::vector<std::filesystem::path> files;
  for (int k = 1; k < count; ++k) {
    if (!std::filesystem::is_directory(arguments[k])) {
      files.emplace_back(arguments[k]);
      continue;
    }
    for (const auto &entry : std::filesystem::directory_iterator(arguments[k]))
      files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const auto &path : files) {
    std::ifstream file(path, std::ios::binary);
    std::string text((std::istreambuf_iterator<char>(file)),
                     std::istreambuf_iterator<char>());
    // Whole, and cut at every eighth: truncation is the commonest damage.
    for (size_t eighth = 8; eighth > 0; --eighth)
      LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t *>(text.data()),
                             text.size() * eighth / 8);
  }
  std::printf("%zu files\n", files.size());
  return files.empty();
}
#endif
