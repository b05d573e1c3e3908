// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Errors.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <system_error>

llvm::Error nag::runtime::makeSystemError(llvm::StringRef path,
                                          llvm::StringRef action, int number) {
  return makeError("{0}: {1}: {2}", path, action,
                   std::generic_category().message(number));
}

std::string nag::runtime::formatNumber(double value) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%g", value);
  return text;
}
