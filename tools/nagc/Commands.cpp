// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Commands.h"

#include "nag/Runtime/Files.h"

#include "llvm/Support/FileSystem.h"

using namespace llvm;
using namespace nag;

char nag::tool::UsageError::ID;

static Error writeStandardOutput(StringRef text) {
  outs() << text;
  outs().flush();
  std::error_code code = outs().error();
  outs().clear_error();
  if (code)
    return createStringError("standard output: cannot write: " +
                             code.message());
  return Error::success();
}

/// A device or a pipe stays what it is; it must not be renamed over.
static Error writeSpecialFile(StringRef path, StringRef text) {
  auto file = runtime::AppendFile::open(path, /*keepBytes=*/0);
  return file ? file->append(text) : file.takeError();
}

static Error writeRegularFile(StringRef path, StringRef text) {
  Expected<runtime::AtomicFile> file = runtime::AtomicFile::create(path);
  if (!file)
    return file.takeError();
  if (Error error = file->write(text))
    return error;
  return file->commit();
}

Error nag::tool::writeFile(StringRef path,
                           llvm::function_ref<void(raw_ostream &)> write) {
  std::string text;
  raw_string_ostream os(text);
  write(os);
  if (path == "-")
    return writeStandardOutput(text);
  if (sys::fs::exists(path) && !sys::fs::is_regular_file(path))
    return writeSpecialFile(path, text);
  return writeRegularFile(path, text);
}
