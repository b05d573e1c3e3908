// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// JSON from outside.
#ifndef NAG_SUPPORT_JSON_H
#define NAG_SUPPORT_JSON_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/JSON.h"
#include <optional>

namespace nag {

/// The value that `text` holds. Fails with "[line:column, byte=n]: ..." where
/// it is no JSON, where an object has a key twice, and where it nests deeper
/// than 64 levels (LLVM's parser recurses without a limit).
llvm::Expected<llvm::json::Value> parseJson(llvm::StringRef text);

/// The same of an object; nothing where there is none.
std::optional<llvm::json::Object> parseJsonObject(llvm::StringRef text);

} // namespace nag

#endif // NAG_SUPPORT_JSON_H
