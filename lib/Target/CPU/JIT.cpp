// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A compiled program in this process.
#include "nag/Runtime/Kernels.h"
#include "nag/Target/CPU/Compiler.h"
#include "nag/Target/CompiledProgram.h"

#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include <dlfcn.h>

using namespace llvm;
using namespace nag;
using namespace nag::cpu;

extern "C" void __kmpc_fork_call();

namespace {
/// LLVM's OpenMP runtime. A process that loads this library privately (Python)
/// does not offer the runtime's symbols to everyone, and another runtime may
/// have taken names that both have; what only LLVM's has leads to its file.
class OpenMP {
public:
  static const OpenMP &get() {
    static const OpenMP runtime;
    return runtime;
  }
  const char *path() const { return file.c_str(); }
  void setThreads(int count) const {
    if (set)
      set(count);
  }

private:
  OpenMP() {
    Dl_info info;
    if (!dladdr(reinterpret_cast<void *>(&__kmpc_fork_call), &info))
      return;
    file = info.dli_fname;
    if (void *handle = dlopen(file.c_str(), RTLD_NOW | RTLD_NOLOAD))
      set =
          reinterpret_cast<void (*)(int)>(dlsym(handle, "omp_set_num_threads"));
  }

  std::string file;
  void (*set)(int) = nullptr;
};

/// Kernels are functions of this process too.
class CPUProgram : public CompiledProgram {
public:
  static Expected<std::unique_ptr<runtime::Program>>
  create(Manifest manifest, SmallVector<char, 0> object, int threads) {
    auto program = std::make_unique<CPUProgram>();
    program->threads = threads;
    auto symbol = [](const char *name, auto *function) {
      return HostSymbol{name, reinterpret_cast<void *>(function)};
    };
    HostSymbol symbols[] = {
        symbol("nag_gemm_f32", &nag_gemm_f32),
        symbol("nag_gemm_f64", &nag_gemm_f64),
        symbol("nag_route_capacity_f32", &nag_route_capacity_f32),
        symbol("nag_route_capacity_f64", &nag_route_capacity_f64),
        symbol("nag_route_rate_f32", &nag_route_rate_f32),
        symbol("nag_route_rate_f64", &nag_route_rate_f64),
        symbol("nag_route_threshold_f32", &nag_route_threshold_f32),
        symbol("nag_route_threshold_f64", &nag_route_threshold_f64),
        symbol("nag_quantile_f32", &nag_quantile_f32),
        symbol("nag_quantile_f64", &nag_quantile_f64),
        symbol("nag_carry_rows", &nag_carry_rows)};
    if (Error error = program->load(std::move(manifest), std::move(object),
                                    symbols, OpenMP::get().path()))
      return error;
    return program;
  }
  ~CPUProgram() override { releaseWorkspace(); }

  runtime::Device &device() override { return memory; }

protected:
  Error beginCall() override {
    // The setting is the calling thread's own.
    if (threads > 0)
      OpenMP::get().setThreads(threads);
    return Error::success();
  }

private:
  runtime::HostDevice memory;
  int threads = 0;
};
} // namespace

Expected<std::unique_ptr<runtime::Program>>
nag::cpu::createProgram(mlir::ModuleOp program, const CompileOptions &options) {
  auto manifest = lowerToLLVMDialect(program, options);
  if (!manifest)
    return manifest.takeError();
  LLVMContext context;
  auto module = translateToLLVM(program, context);
  if (!module)
    return module.takeError();
  auto object = emitObject(**module);
  if (!object)
    return object.takeError();
  return CPUProgram::create(std::move(*manifest), std::move(*object),
                            options.threads);
}
