// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// JSON from outside.
#ifndef NAG_RUNTIME_JSON_H
#define NAG_RUNTIME_JSON_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/JSON.h"
#include <optional>

namespace nag::runtime {

/// The object that `text` holds; nothing when it is no JSON object or nests
/// deeper than 64 levels (LLVM's parser recurses without a limit).
std::optional<llvm::json::Object> parseJsonObject(llvm::StringRef text);

} // namespace nag::runtime

#endif // NAG_RUNTIME_JSON_H
