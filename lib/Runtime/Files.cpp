// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Files.h"
#include "nag/Runtime/Errors.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace nag::runtime;

/// Linux writes at most this many bytes at once.
static constexpr size_t maxWrite = size_t(1) << 30;

static llvm::Error writeAll(int descriptor, llvm::StringRef path,
                            const void *data, size_t bytes) {
  const char *from = static_cast<const char *>(data);
  while (bytes > 0) {
    ssize_t written = ::write(descriptor, from, std::min(bytes, maxWrite));
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      return makeSystemError(path, "cannot write", errno);
    from += written;
    bytes -= written;
  }
  return llvm::Error::success();
}

//===- MappedFile ---------------------------------------------------------===//

MappedFile &MappedFile::operator=(MappedFile &&other) noexcept {
  std::swap(data, other.data);
  std::swap(length, other.length);
  return *this;
}

MappedFile::~MappedFile() {
  if (length)
    ::munmap(const_cast<uint8_t *>(data), length);
}

llvm::Expected<MappedFile> MappedFile::open(llvm::StringRef path) {
  int descriptor = ::open(path.str().c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    return makeSystemError(path, "cannot open", errno);
  llvm::scope_exit close([&] { ::close(descriptor); });
  struct stat status;
  if (::fstat(descriptor, &status) != 0)
    return makeSystemError(path, "cannot read", errno);
  if (!S_ISREG(status.st_mode))
    return makeError("{0}: expected a regular file", path);
  MappedFile file;
  if (status.st_size == 0)
    return file;
  void *data =
      ::mmap(nullptr, status.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (data == MAP_FAILED)
    return makeSystemError(path, "cannot map", errno);
  file.data = static_cast<const uint8_t *>(data);
  file.length = status.st_size;
  return file;
}

//===- AtomicFile ---------------------------------------------------------===//

AtomicFile &AtomicFile::operator=(AtomicFile &&other) noexcept {
  std::swap(descriptor, other.descriptor);
  std::swap(path, other.path);
  std::swap(temporary, other.temporary);
  return *this;
}

AtomicFile::~AtomicFile() {
  if (descriptor < 0)
    return;
  ::close(descriptor);
  if (!isInPlace())
    ::unlink(temporary.c_str());
}

llvm::Expected<AtomicFile> AtomicFile::create(llvm::StringRef path) {
  AtomicFile file;
  file.path = path.str();
  struct stat status;
  bool exists = ::stat(file.path.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode))
    return makeSystemError(path, "cannot write", EISDIR);
  // A rename would take a device or a pipe away.
  if (exists && !S_ISREG(status.st_mode)) {
    file.descriptor = ::open(file.path.c_str(), O_WRONLY | O_CLOEXEC);
    if (file.descriptor < 0)
      return makeSystemError(path, "cannot open for writing", errno);
    return file;
  }
  file.temporary =
      llvm::formatv("{0}.{1}{2}", path, ::getpid(), temporarySuffix).str();
  file.descriptor = ::open(file.temporary.c_str(),
                           O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file.descriptor < 0)
    return makeSystemError(path, "cannot create", errno);
  return file;
}

llvm::Error AtomicFile::write(const void *data, size_t bytes) {
  return writeAll(descriptor, path, data, bytes);
}

/// Makes a rename in the folder of `path` last.
static llvm::Error syncFolder(llvm::StringRef path) {
  std::string folder = llvm::sys::path::parent_path(path).str();
  if (folder.empty())
    folder = ".";
  int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0)
    return makeSystemError(folder, "cannot open", errno);
  int status = ::fsync(descriptor), number = errno;
  ::close(descriptor);
  // Some file systems cannot sync a folder; the rename itself stands.
  if (status != 0 && number != EINVAL)
    return makeSystemError(folder, "cannot sync", number);
  return llvm::Error::success();
}

llvm::Error AtomicFile::commit() {
  if (isInPlace()) {
    if (::close(std::exchange(descriptor, -1)) != 0)
      return makeSystemError(path, "cannot write", errno);
    return llvm::Error::success();
  }
  if (::fsync(descriptor) != 0)
    return makeSystemError(path, "cannot write", errno);
  int closed = ::close(std::exchange(descriptor, -1)), number = errno;
  if (closed == 0 && ::rename(temporary.c_str(), path.c_str()) == 0)
    return syncFolder(path);
  if (closed == 0)
    number = errno;
  ::unlink(temporary.c_str());
  return makeSystemError(path, "cannot write", number);
}

//===- AppendFile ---------------------------------------------------------===//

AppendFile &AppendFile::operator=(AppendFile &&other) noexcept {
  std::swap(descriptor, other.descriptor);
  std::swap(path, other.path);
  return *this;
}

AppendFile::~AppendFile() {
  if (descriptor >= 0)
    ::close(descriptor);
}

llvm::Expected<AppendFile> AppendFile::open(llvm::StringRef path,
                                            uint64_t keepBytes) {
  AppendFile file;
  file.path = path.str();
  file.descriptor = ::open(file.path.c_str(),
                           O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file.descriptor < 0)
    return makeSystemError(path, "cannot open for writing", errno);
  struct stat status;
  if (::fstat(file.descriptor, &status) != 0)
    return makeSystemError(path, "cannot open for writing", errno);
  // Pipes and devices have nothing to cut off.
  if (S_ISREG(status.st_mode) && ::ftruncate(file.descriptor, keepBytes) != 0)
    return makeSystemError(path, "cannot shorten", errno);
  return file;
}

llvm::Error AppendFile::append(llvm::StringRef line) {
  return writeAll(descriptor, path, line.data(), line.size());
}

llvm::Error nag::runtime::createDirectories(llvm::StringRef path) {
  if (std::error_code code = llvm::sys::fs::create_directories(path))
    return makeSystemError(path, "cannot create folder", code.value());
  if (!llvm::sys::fs::is_directory(path))
    return makeError("{0}: expected a folder", path);
  if (::faccessat(AT_FDCWD, path.str().c_str(), W_OK | X_OK, AT_EACCESS) != 0)
    return makeSystemError(path, "cannot write to folder", errno);
  return llvm::Error::success();
}

std::string nag::runtime::getOwnFile() {
  static int anchor;
  Dl_info info;
  // A program knows itself by the name it was called by, which may hold no
  // folder.
  if (dladdr(&anchor, &info) && llvm::StringRef(info.dli_fname).contains('/'))
    return info.dli_fname;
  return llvm::sys::fs::getMainExecutable(nullptr, &anchor);
}
