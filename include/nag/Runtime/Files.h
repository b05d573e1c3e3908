// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Files that are read in place and files that appear whole or not at all. Every
// error names the path and what the system said.
#ifndef NAG_RUNTIME_FILES_H
#define NAG_RUNTIME_FILES_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <string>
#include <utility>

namespace nag::runtime {

/// The bytes of a regular file, mapped read-only.
class MappedFile {
public:
  MappedFile() = default;
  MappedFile(MappedFile &&other) noexcept { *this = std::move(other); }
  MappedFile &operator=(MappedFile &&other) noexcept;
  ~MappedFile();

  /// Fails when `path` is missing, unreadable or no regular file.
  static llvm::Expected<MappedFile> open(llvm::StringRef path);

  llvm::ArrayRef<uint8_t> bytes() const { return {data, length}; }

private:
  const uint8_t *data = nullptr;
  size_t length = 0;
};

/// Writes a file under a temporary name beside its own and gives it its name
/// in commit(), after its data is on disk. Without commit() nothing remains
/// and an earlier file of that name is untouched. Devices and pipes are written
/// to as they are: a rename would put a file in their place.
class AtomicFile {
public:
  AtomicFile(AtomicFile &&other) noexcept { *this = std::move(other); }
  AtomicFile &operator=(AtomicFile &&other) noexcept;
  ~AtomicFile();

  static llvm::Expected<AtomicFile> create(llvm::StringRef path);

  llvm::Error write(const void *data, size_t bytes);
  llvm::Error write(llvm::StringRef text) {
    return write(text.data(), text.size());
  }
  llvm::Error commit();

  /// Where the data is until commit().
  llvm::StringRef temporaryPath() const { return temporary; }
  /// What every temporary name ends with.
  static constexpr llvm::StringLiteral temporarySuffix = ".partial";

private:
  AtomicFile() = default;

  int descriptor = -1;
  /// Without a temporary name, the file is written in place.
  std::string path, temporary;
  bool isInPlace() const { return temporary.empty(); }
};

/// Appends lines; each line reaches the file in one write.
class AppendFile {
public:
  AppendFile() = default;
  AppendFile(AppendFile &&other) noexcept { *this = std::move(other); }
  AppendFile &operator=(AppendFile &&other) noexcept;
  ~AppendFile();

  /// Opens `path` for appending after its first `keepBytes` bytes; the rest is
  /// cut off. Creates the file where there is none.
  static llvm::Expected<AppendFile> open(llvm::StringRef path,
                                         uint64_t keepBytes);

  llvm::Error append(llvm::StringRef line);

private:
  int descriptor = -1;
  std::string path;
};

/// Creates a folder and its parents where they do not exist. Fails when it
/// cannot be written to.
llvm::Error createDirectories(llvm::StringRef path);

/// The program or shared library that holds this code.
std::string getOwnFile();

} // namespace nag::runtime

#endif // NAG_RUNTIME_FILES_H
