// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Commands.h"

#include "llvm/Support/FileSystem.h"

using namespace llvm;

char nag::tool::UsageError::ID;

Error nag::tool::writeFile(StringRef path,
                           llvm::function_ref<void(raw_ostream &)> write) {
  Error error = writeToOutput(path, [&](raw_ostream &os) {
    write(os);
    return Error::success();
  });
  if (!error)
    return Error::success();
  return createStringError(path + ": " + toString(std::move(error)));
}
