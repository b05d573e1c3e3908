// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// JSON from outside: what LLVM's parser takes, less what would end in a crash
// or in one of two values.
#include "nag/Support/Json.h"
#include "nag/Support/Nesting.h"

#include <gtest/gtest.h>

using namespace nag;

static std::string getFault(llvm::StringRef text) {
  auto value = parseJson(text);
  return value ? "" : llvm::toString(value.takeError());
}

TEST(Json, Values) {
  auto value = parseJson(R"({"a": [1, {"a": "\"a\": {"}], "b": {"a": null}})");
  ASSERT_TRUE(bool(value));
  const llvm::json::Object *object = value->getAsObject();
  ASSERT_TRUE(object);
  EXPECT_EQ(object->size(), 2u);
  EXPECT_FALSE(parseJsonObject("[1]"));
  EXPECT_FALSE(parseJsonObject("{"));
  EXPECT_TRUE(parseJsonObject(" {} "));
}

TEST(Json, KeysOnce) {
  EXPECT_EQ(getFault("{\"a\": 1,\n \"b\": {\"a\": 2}, \"a\": 3}"),
            "[2:17, byte=25]: Key \"a\" for the second time");
  EXPECT_EQ(getFault(R"([{"a": 1}, {"a": 2}])"), "");
  EXPECT_EQ(getFault(R"({"a": "a", "b": "a"})"), "");
}

TEST(Json, Depth) {
  std::string open(64, '['), close(64, ']');
  EXPECT_EQ(getFault(open + close), "");
  EXPECT_EQ(getFault(open + "[" + close + "]"),
            "[1:65, byte=64]: Nested deeper than 64 levels");
  EXPECT_EQ(getFault(std::string(10'000'000, '[')),
            "[1:65, byte=64]: Nested deeper than 64 levels");
  EXPECT_EQ(getFault("[\"" + std::string(100, '[') + "\\\"[\"]"), "");
}

TEST(Json, Syntax) {
  EXPECT_NE(getFault("{\"a\" 1}"), "");
  EXPECT_NE(getFault("\""), "");
  EXPECT_NE(getFault("\"\\"), "");
  EXPECT_NE(getFault("// \n"), "");
  EXPECT_NE(getFault(""), "");
}

TEST(Nesting, Comments) {
  EXPECT_FALSE(findDeepBracket("// ((\n(\"((\") // \" ((", "(", ")", 1));
  EXPECT_EQ(findDeepBracket("()(()", "(", ")", 1), 3u);
}
