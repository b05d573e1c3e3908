// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Target/CompiledProgram.h"

#include "llvm/ExecutionEngine/Orc/AbsoluteSymbols.h"
#include "llvm/ExecutionEngine/Orc/ExecutionUtils.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/SmallVectorMemoryBuffer.h"

using namespace llvm;
using namespace nag;

CompiledProgram::CompiledProgram() = default;
CompiledProgram::~CompiledProgram() = default;

static Error defineSymbols(orc::LLJIT &jit, ArrayRef<HostSymbol> given,
                           const char *file) {
  orc::SymbolMap symbols;
  for (const HostSymbol &symbol : given)
    symbols[jit.mangleAndIntern(symbol.name)] = {
        orc::ExecutorAddr::fromPtr(symbol.address),
        JITSymbolFlags::Exported | JITSymbolFlags::Callable};
  orc::JITDylib &library = jit.getMainJITDylib();
  if (Error error = library.define(orc::absoluteSymbols(std::move(symbols))))
    return error;
  char prefix = jit.getDataLayout().getGlobalPrefix();
  if (file) {
    auto generator = orc::DynamicLibrarySearchGenerator::Load(file, prefix);
    if (!generator)
      return generator.takeError();
    library.addGenerator(std::move(*generator));
  }
  auto process =
      orc::DynamicLibrarySearchGenerator::GetForCurrentProcess(prefix);
  if (!process)
    return process.takeError();
  library.addGenerator(std::move(*process));
  return Error::success();
}

Error CompiledProgram::load(Manifest manifest, SmallVector<char, 0> object,
                            ArrayRef<HostSymbol> symbols,
                            const char *libraryFile) {
  auto created = orc::LLJITBuilder().create();
  if (!created)
    return created.takeError();
  jit = std::move(*created);
  if (Error error = defineSymbols(*jit, symbols, libraryFile))
    return error;
  if (Error error =
          jit->addObjectFile(std::make_unique<SmallVectorMemoryBuffer>(
              std::move(object), /*RequiresNullTerminator=*/false)))
    return error;
  int64_t bytes = 0;
  for (EntryPoint &entry : manifest.functions) {
    auto address = jit->lookup(entry.symbol);
    if (!address)
      return address.takeError();
    entries.push_back(address->toPtr<Entry>());
    bytes = std::max(bytes, entry.workspaceBytes);
    infos.push_back(std::move(entry.info));
  }
  parameterInfos = std::move(manifest.parameters);
  configuration = std::move(manifest.config);
  auto buffer = runtime::Buffer::create(device(), bytes, /*zeroed=*/false);
  if (!buffer)
    return buffer.takeError();
  workspace = std::move(*buffer);
  return Error::success();
}

Error CompiledProgram::invoke(StringRef function, ArrayRef<void *> arguments) {
  const runtime::FunctionInfo *info = lookup(function);
  if (!info)
    return createStringError("expected a function of the program, but got '" +
                             function + "'");
  if (arguments.size() != info->arguments.size())
    return createStringError("function '" + function + "': expected " +
                             Twine(info->arguments.size()) +
                             " buffers, but got " + Twine(arguments.size()));
  SmallVector<void *, 32> buffers(arguments);
  entries[info - infos.data()](buffers.data(), workspace.get());
  return Error::success();
}

Error CompiledProgram::call(StringRef function, ArrayRef<void *> arguments) {
  if (Error error = beginCall())
    return error;
  if (Error error = invoke(function, arguments))
    return error;
  return finishCall();
}
