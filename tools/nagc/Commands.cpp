// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Commands.h"

#include "nag/Runtime/Files.h"

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

static Error writeNamedFile(StringRef path, StringRef text) {
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
  return writeNamedFile(path, text);
}
