// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Support/Json.h"
#include "nag/Support/Nesting.h"

#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/FormatVariadic.h"
#include <vector>

namespace json = llvm::json;
using llvm::StringRef;
using nag::skipString;

/// An error like those of LLVM's parser.
static llvm::Error fail(StringRef text, size_t at, const llvm::Twine &message) {
  StringRef before = text.take_front(at);
  size_t line = before.count('\n') + 1;
  size_t column = at - (before.rfind('\n') + 1) + 1;
  return llvm::createStringError(
      llvm::formatv("[{0}:{1}, byte={2}]: {3}", line, column, at, message)
          .str());
}

namespace {
/// A key of an object, without its quotes.
struct Key {
  StringRef text;
  size_t at;
};
} // namespace

/// The first key that its object has before, in well-formed JSON.
static std::optional<Key> findRepeatedKey(StringRef text) {
  std::vector<llvm::StringSet<>> objects;
  Key last{"", 0};
  for (size_t at = 0; at < text.size(); ++at) {
    switch (text[at]) {
    case '{':
    case '[':
      objects.emplace_back();
      break;
    case '}':
    case ']':
      objects.pop_back();
      break;
    case ':':
      if (!objects.back().insert(last.text).second)
        return last;
      break;
    case '"': {
      size_t begin = at;
      at = skipString(text, begin) - 1;
      last = {text.slice(begin + 1, at), begin};
      break;
    }
    default:
      break;
    }
  }
  return std::nullopt;
}

llvm::Expected<json::Value> nag::parseJson(StringRef text) {
  constexpr size_t limit = 64;
  if (std::optional<size_t> at = findDeepBracket(text, "[{", "]}", limit))
    return fail(text, *at, "Nested deeper than 64 levels");
  llvm::Expected<json::Value> value = json::parse(text);
  if (!value)
    return value;
  if (std::optional<Key> key = findRepeatedKey(text))
    return fail(text, key->at, "Key \"" + key->text + "\" for the second time");
  return value;
}

std::optional<json::Object> nag::parseJsonObject(StringRef text) {
  llvm::Expected<json::Value> value = parseJson(text);
  if (!value) {
    llvm::consumeError(value.takeError());
    return std::nullopt;
  }
  if (json::Object *object = value->getAsObject())
    return std::move(*object);
  return std::nullopt;
}
