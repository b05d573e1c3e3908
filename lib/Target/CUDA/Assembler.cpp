// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Target/CUDA/Assembler.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/Regex.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace nag::cuda;

std::optional<std::string> nag::cuda::findAssembler() {
  if (auto path = sys::findProgramByName("ptxas"))
    return *path;
  if (auto path = sys::findProgramByName("ptxas", {"/usr/local/cuda/bin"}))
    return *path;
  return std::nullopt;
}

static int64_t readNumber(StringRef text) {
  int64_t number = 0;
  text.getAsInteger(10, number);
  return number;
}

StringMap<KernelResources> nag::cuda::parseResources(StringRef output) {
  Regex properties("Function properties for ([^ ]+)");
  Regex stack("([0-9]+) bytes stack frame, ([0-9]+) bytes spill stores, "
              "([0-9]+) bytes spill loads");
  Regex registers("Used ([0-9]+) registers");
  Regex shared("([0-9]+) bytes smem");
  StringMap<KernelResources> kernels;
  KernelResources *kernel = nullptr;
  SmallVector<StringRef> lines, match;
  output.split(lines, '\n');
  for (StringRef line : lines) {
    if (properties.match(line, &match))
      kernel = &kernels[match[1]];
    if (!kernel)
      continue;
    if (stack.match(line, &match)) {
      kernel->stackBytes = readNumber(match[1]);
      kernel->spillStoreBytes = readNumber(match[2]);
      kernel->spillLoadBytes = readNumber(match[3]);
    }
    if (registers.match(line, &match))
      kernel->registers = readNumber(match[1]);
    if (shared.match(line, &match))
      kernel->sharedBytes = readNumber(match[1]);
  }
  return kernels;
}

namespace {
/// A temporary file that goes away.
class ScratchFile {
public:
  static Expected<ScratchFile> create(StringRef suffix) {
    ScratchFile file;
    if (std::error_code code =
            sys::fs::createTemporaryFile("nag", suffix, file.path))
      return createStringError("cannot create a temporary file: " +
                               code.message());
    file.remover = std::make_unique<FileRemover>(file.path);
    return file;
  }

  SmallString<128> path;

private:
  std::unique_ptr<FileRemover> remover;
};
} // namespace

static Expected<std::string> readFile(StringRef path) {
  auto buffer = MemoryBuffer::getFile(path);
  if (!buffer)
    return createStringError(path + ": " + buffer.getError().message());
  return (*buffer)->getBuffer().str();
}

Expected<Cubin> nag::cuda::assemble(StringRef ptx, StringRef chip) {
  auto assembler = findAssembler();
  if (!assembler)
    return createStringError("expected the assembler ptxas on PATH or in "
                             "/usr/local/cuda/bin, but found none");
  auto source = ScratchFile::create("ptx");
  auto image = ScratchFile::create("cubin");
  auto log = ScratchFile::create("log");
  if (Error error = joinErrors(
          joinErrors(source.takeError(), image.takeError()), log.takeError()))
    return error;
  std::error_code code;
  raw_fd_ostream os(source->path, code);
  os << ptx;
  os.close();
  if (code || os.has_error())
    return createStringError(source->path + ": cannot write");
  StringRef arguments[] = {*assembler, "-v",        "-arch",     chip,
                           "-o",       image->path, source->path};
  std::optional<StringRef> redirects[] = {std::nullopt, StringRef(log->path),
                                          StringRef(log->path)};
  int result =
      sys::ExecuteAndWait(*assembler, arguments, std::nullopt, redirects);
  auto output = readFile(log->path);
  if (!output)
    return output.takeError();
  if (result != 0)
    return createStringError("ptxas: " +
                             StringRef(*output).split('\n').first.trim());
  auto bytes = readFile(image->path);
  if (!bytes)
    return bytes.takeError();
  return Cubin{std::move(*bytes), parseResources(*output)};
}
