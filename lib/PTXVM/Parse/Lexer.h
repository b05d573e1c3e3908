// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Splits PTX text into tokens (PTX ISA 9.0, section 4).
#ifndef PTXVM_PARSE_LEXER_H
#define PTXVM_PARSE_LEXER_H

#include <cstdint>
#include <string_view>

namespace ptxvm {

struct Token {
  enum Kind : uint8_t {
    End,
    Error,      // text says what is wrong
    Identifier, // add, %r1, $L__BB0_1, _
    Dotted,     // .reg, .s32, .L2::128B: the dot is part of the text
    Integer,
    Real, // 1.5, 0f3F800000, 0d3FF0000000000000
    String,
    Punctuation
  };
  Kind kind = End;
  std::string_view text;
  uint32_t line = 1;

  bool is(std::string_view spelling) const {
    return (kind == Punctuation || kind == Dotted || kind == Identifier) &&
           text == spelling;
  }
};

class Lexer {
public:
  explicit Lexer(std::string_view text) : source(text) {}
  Token next();

private:
  /// False when a block comment never ends.
  bool skipBlanks();
  Token word(Token::Kind kind, size_t begin);
  Token number();
  Token string();
  Token finish(Token::Kind kind, size_t begin);
  bool at(char c, size_t ahead = 0) const {
    return position + ahead < source.size() && source[position + ahead] == c;
  }

  std::string_view source;
  size_t position = 0;
  uint32_t line = 1;
};

} // namespace ptxvm

#endif // PTXVM_PARSE_LEXER_H
