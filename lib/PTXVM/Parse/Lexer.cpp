// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Lexer.h"

namespace ptxvm {
namespace {

bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isHexDigit(char c) {
  return isDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool isWordChar(char c) {
  return isDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         c == '_' || c == '$' || c == '%';
}
bool isBlank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' ||
         c == '\v';
}

} // namespace

bool Lexer::skipBlanks() {
  while (position < source.size()) {
    if (isBlank(source[position])) {
      line += source[position++] == '\n';
    } else if (at('/') && at('/', 1)) {
      while (position < source.size() && source[position] != '\n')
        ++position;
    } else if (at('/') && at('*', 1)) {
      size_t close = source.find("*/", position + 2);
      if (close == std::string_view::npos)
        return false;
      for (; position < close + 2; ++position)
        line += source[position] == '\n';
    } else {
      break;
    }
  }
  return true;
}

Token Lexer::finish(Token::Kind kind, size_t begin) {
  return {kind, source.substr(begin, position - begin), line};
}

Token Lexer::word(Token::Kind kind, size_t begin) {
  while (position < source.size()) {
    if (isWordChar(source[position]))
      ++position;
    else if (kind == Token::Dotted && at(':') && at(':', 1))
      position += 2;
    else
      break;
  }
  return finish(kind, begin);
}

Token Lexer::number() {
  size_t begin = position;
  char second = position + 1 < source.size() ? source[position + 1] : '\0';
  if (at('0') &&
      (second == 'f' || second == 'F' || second == 'd' || second == 'D')) {
    position += 2;
    while (position < source.size() && isHexDigit(source[position]))
      ++position;
    return finish(Token::Real, begin);
  }
  if (at('0') && (second == 'x' || second == 'X')) {
    position += 2;
    while (position < source.size() && isHexDigit(source[position]))
      ++position;
    position += at('U');
    return finish(Token::Integer, begin);
  }
  while (position < source.size() && isDigit(source[position]))
    ++position;
  bool real = false;
  if (at('.') && position + 1 < source.size() &&
      isDigit(source[position + 1])) {
    real = true;
    ++position;
    while (position < source.size() && isDigit(source[position]))
      ++position;
  }
  if (at('e') || at('E')) {
    size_t sign = at('+', 1) || at('-', 1) ? 2 : 1;
    if (position + sign < source.size() && isDigit(source[position + sign])) {
      real = true;
      position += sign;
      while (position < source.size() && isDigit(source[position]))
        ++position;
    }
  }
  position += !real && at('U');
  return finish(real ? Token::Real : Token::Integer, begin);
}

Token Lexer::string() {
  size_t begin = ++position;
  while (position < source.size() && source[position] != '"' &&
         source[position] != '\n')
    position +=
        source[position] == '\\' && position + 1 < source.size() ? 2 : 1;
  if (!at('"'))
    return {Token::Error, "string without closing quote", line};
  Token token = finish(Token::String, begin);
  ++position;
  return token;
}

Token Lexer::next() {
  if (!skipBlanks())
    return {Token::Error, "comment without end", line};
  if (position >= source.size())
    return {Token::End, "end of file", line};
  size_t begin = position;
  char c = source[position];
  if (c == '.' && position + 1 < source.size() &&
      isWordChar(source[position + 1])) {
    ++position;
    return word(Token::Dotted, begin);
  }
  if (isDigit(c))
    return number();
  if (isWordChar(c))
    return word(Token::Identifier, begin);
  if (c == '"')
    return string();
  ++position;
  return finish(Token::Punctuation, begin);
}

} // namespace ptxvm
