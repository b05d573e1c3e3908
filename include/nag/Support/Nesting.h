// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Text whose brackets nest deeper than a recursive parser's stack is long.
#ifndef NAG_SUPPORT_NESTING_H
#define NAG_SUPPORT_NESTING_H

#include "llvm/ADT/StringRef.h"
#include <optional>

namespace nag {

/// The place behind the string in double quotes that begins at `at`.
size_t skipString(llvm::StringRef text, size_t at);

/// The place of the first bracket of `text` with more than `limit` others open
/// around it: those of `openers`, which those of `closers` end. Strings in
/// double quotes and comments that begin with two slashes are passed over.
std::optional<size_t> findDeepBracket(llvm::StringRef text,
                                      llvm::StringRef openers,
                                      llvm::StringRef closers, size_t limit);

} // namespace nag

#endif // NAG_SUPPORT_NESTING_H
