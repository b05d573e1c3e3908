// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Support/Nesting.h"

using llvm::StringRef;

size_t nag::skipString(StringRef text, size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at)
    at += text[at] == '\\';
  return at + 1;
}

std::optional<size_t> nag::findDeepBracket(StringRef text, StringRef openers,
                                           StringRef closers, size_t limit) {
  size_t depth = 0;
  for (size_t at = 0; at < text.size();) {
    if (text[at] == '"') {
      at = skipString(text, at);
      continue;
    }
    if (text.substr(at).starts_with("//")) {
      at = text.find('\n', at);
      continue;
    }
    if (openers.contains(text[at]) && depth++ == limit)
      return at;
    if (closers.contains(text[at]) && depth > 0)
      --depth;
    ++at;
  }
  return std::nullopt;
}
