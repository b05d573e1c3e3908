// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A compiled program in this process.
#include "nag/Runtime/Kernels.h"
#include "nag/Target/CPU/Compiler.h"

#include "llvm/ExecutionEngine/Orc/AbsoluteSymbols.h"
#include "llvm/ExecutionEngine/Orc/ExecutionUtils.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/SmallVectorMemoryBuffer.h"
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

/// Functions by name, called on buffers of host memory.
class CPUProgram : public runtime::Program {
public:
  static Expected<std::unique_ptr<runtime::Program>>
  create(Manifest manifest, SmallVector<char, 0> object, int threads);

  ArrayRef<runtime::FunctionInfo> functions() const override { return infos; }
  ArrayRef<runtime::ParameterInfo> parameters() const override {
    return parameterInfos;
  }
  const json::Object &config() const override { return configuration; }
  runtime::Device &device() override { return memory; }
  Error call(StringRef function, ArrayRef<void *> arguments) override;

private:
  using Entry = void (*)(void **arguments, void *workspace);
  Error load(const Manifest &manifest, SmallVector<char, 0> object);

  std::vector<runtime::FunctionInfo> infos;
  std::vector<Entry> entries;
  std::vector<runtime::ParameterInfo> parameterInfos;
  json::Object configuration;
  runtime::HostDevice memory;
  int threads = 0;
  runtime::Buffer workspace;
  std::unique_ptr<orc::LLJIT> jit;
};
} // namespace

/// What generated code calls: the GEMMs of this library; the OpenMP runtime and
/// the C library of this process.
static Error defineSymbols(orc::LLJIT &jit) {
  orc::SymbolMap symbols;
  auto add = [&](StringRef name, auto *function) {
    symbols[jit.mangleAndIntern(name)] = {orc::ExecutorAddr::fromPtr(function),
                                          JITSymbolFlags::Exported |
                                              JITSymbolFlags::Callable};
  };
  add("nag_gemm_f32", &nag_gemm_f32);
  add("nag_gemm_f64", &nag_gemm_f64);
  orc::JITDylib &library = jit.getMainJITDylib();
  if (Error error = library.define(orc::absoluteSymbols(std::move(symbols))))
    return error;
  char prefix = jit.getDataLayout().getGlobalPrefix();
  auto openmp =
      orc::DynamicLibrarySearchGenerator::Load(OpenMP::get().path(), prefix);
  if (!openmp)
    return openmp.takeError();
  library.addGenerator(std::move(*openmp));
  auto process =
      orc::DynamicLibrarySearchGenerator::GetForCurrentProcess(prefix);
  if (!process)
    return process.takeError();
  library.addGenerator(std::move(*process));
  return Error::success();
}

Error CPUProgram::load(const Manifest &manifest, SmallVector<char, 0> object) {
  auto created = orc::LLJITBuilder().create();
  if (!created)
    return created.takeError();
  jit = std::move(*created);
  if (Error error = defineSymbols(*jit))
    return error;
  if (Error error =
          jit->addObjectFile(std::make_unique<SmallVectorMemoryBuffer>(
              std::move(object), /*RequiresNullTerminator=*/false)))
    return error;
  int64_t bytes = 0;
  for (const EntryPoint &entry : manifest.functions) {
    auto address = jit->lookup(entry.symbol);
    if (!address)
      return address.takeError();
    entries.push_back(address->toPtr<Entry>());
    bytes = std::max(bytes, entry.workspaceBytes);
  }
  auto buffer = runtime::Buffer::create(memory, bytes, /*zeroed=*/false);
  if (!buffer)
    return buffer.takeError();
  workspace = std::move(*buffer);
  return Error::success();
}

Expected<std::unique_ptr<runtime::Program>>
CPUProgram::create(Manifest manifest, SmallVector<char, 0> object,
                   int threads) {
  auto program = std::make_unique<CPUProgram>();
  if (Error error = program->load(manifest, std::move(object)))
    return error;
  for (EntryPoint &entry : manifest.functions)
    program->infos.push_back(std::move(entry.info));
  program->parameterInfos = std::move(manifest.parameters);
  program->configuration = std::move(manifest.config);
  program->threads = threads;
  return program;
}

Error CPUProgram::call(StringRef function, ArrayRef<void *> arguments) {
  const runtime::FunctionInfo *info = lookup(function);
  if (!info)
    return createStringError("expected a function of the program, but got '" +
                             function + "'");
  if (arguments.size() != info->arguments.size())
    return createStringError("function '" + function + "': expected " +
                             Twine(info->arguments.size()) +
                             " buffers, but got " + Twine(arguments.size()));
  // The setting is the calling thread's own.
  if (threads > 0)
    OpenMP::get().setThreads(threads);
  SmallVector<void *, 32> buffers(arguments);
  entries[info - infos.data()](buffers.data(), workspace.get());
  return Error::success();
}

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
