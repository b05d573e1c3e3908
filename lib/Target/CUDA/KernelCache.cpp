// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Target/CUDA/KernelCache.h"
#include "nag/Runtime/Files.h"

#include "llvm-c/Core.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CachePruning.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/SHA256.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace nag;
using namespace nag::cuda;

/// Before the text in a file; the digest of the text follows.
static constexpr StringLiteral kHeader = "// nag kernel cache 1 ";
static constexpr uint64_t kMaxFolderBytes = 1 << 30;

namespace {
/// A stream that is hashed.
class HashStream : public raw_ostream {
public:
  ~HashStream() override { flush(); }
  std::string digest() {
    flush();
    return toHex(hash.final(), /*LowerCase=*/true);
  }

private:
  void write_impl(const char *data, size_t bytes) override {
    hash.update(StringRef(data, bytes));
    position += bytes;
  }
  uint64_t current_pos() const override { return position; }

  SHA256 hash;
  uint64_t position = 0;
};
} // namespace

static std::string getDigest(StringRef text) {
  HashStream stream;
  stream << text;
  return stream.digest();
}

/// The compiler: its file, as the linker left it, and LLVM's version.
static void printCompiler(raw_ostream &os) {
  std::string path = runtime::getOwnFile();
  sys::fs::file_status status;
  if (!sys::fs::status(path, status))
    os << status.getSize() << ' '
       << status.getLastModificationTime().time_since_epoch().count();
  unsigned major, minor, patch;
  LLVMGetVersion(&major, &minor, &patch);
  os << " LLVM " << major << '.' << minor << '.' << patch << '\n';
}

std::string KernelCache::getDefaultFolder() {
  SmallString<128> path;
  if (!sys::path::cache_directory(path))
    return std::string();
  sys::path::append(path, "nag");
  return std::string(path);
}

Expected<KernelCache> KernelCache::open(StringRef folder) {
  if (Error error = runtime::createDirectories(folder))
    return error;
  return KernelCache(folder.str());
}

std::string KernelCache::getKey(mlir::gpu::GPUModuleOp device, StringRef chip) {
  HashStream stream;
  stream << kHeader << chip << ' ';
  printCompiler(stream);
  device->print(stream, mlir::OpPrintingFlags().printGenericOpForm());
  return stream.digest();
}

/// pruneCache knows its files by such names.
std::string KernelCache::getPath(StringRef key) const {
  SmallString<128> path(folder);
  sys::path::append(path, "llvmcache-" + key + ".ptx");
  return std::string(path);
}

std::optional<std::string> KernelCache::lookup(StringRef key) const {
  auto file = runtime::MappedFile::open(getPath(key));
  if (!file) {
    consumeError(file.takeError());
    return std::nullopt;
  }
  StringRef text = toStringRef(file->bytes());
  if (!text.consume_front(kHeader))
    return std::nullopt;
  auto [digest, ptx] = text.split('\n');
  if (digest != getDigest(ptx))
    return std::nullopt;
  return ptx.str();
}

static Error write(StringRef path, StringRef ptx) {
  auto file = runtime::AtomicFile::create(path);
  if (!file)
    return file.takeError();
  if (Error error = file->write((kHeader + getDigest(ptx) + "\n" + ptx).str()))
    return error;
  return file->commit();
}

void KernelCache::store(StringRef key, StringRef ptx) const {
  consumeError(write(getPath(key), ptx));
  CachePruningPolicy policy;
  policy.Expiration = std::chrono::hours(30 * 24);
  policy.MaxSizeBytes = kMaxFolderBytes;
  pruneCache(folder, policy);
}
