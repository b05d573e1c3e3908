// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Parser.h"

#include <algorithm>
#include <cstdlib>

namespace ptxvm {

std::string Instruction::spelling() const {
  std::string text(opcode);
  for (std::string_view modifier : modifiers)
    text += modifier;
  return text;
}

bool Function::holdsInFrame(const Variable &variable) const {
  if (variable.space != Space::Param)
    return variable.space == Space::Local;
  return !isEntry ||
         std::find(params.begin(), params.end(), &variable) == params.end();
}

Function *ModuleAst::findFunction(std::string_view name) {
  for (Function &function : functions)
    if (function.name == name)
      return &function;
  return nullptr;
}

Variable *ModuleAst::findGlobal(std::string_view name) {
  for (Variable &variable : globals)
    if (variable.name == name)
      return &variable;
  return nullptr;
}

void Parser::failAt(uint32_t line, std::string message) {
  if (!failed)
    error = {line, std::move(message), Diagnostic::Text};
  failed = true;
  token = {Token::End, "end of file", line};
}

void Parser::advance() {
  if (failed)
    return;
  token = lexer.next();
  if (token.kind == Token::Error)
    fail(std::string(token.text));
}

std::string Parser::found() const {
  if (token.kind == Token::End)
    return "end of file";
  return "'" + std::string(token.text.substr(0, 60)) + "'";
}

bool Parser::accept(std::string_view spelling) {
  if (!token.is(spelling))
    return false;
  advance();
  return true;
}

void Parser::expect(std::string_view spelling) {
  if (!accept(spelling))
    fail("expected '" + std::string(spelling) + "', but got " + found());
}

std::string_view Parser::expectIdentifier(std::string_view what) {
  std::string_view name = token.text;
  if (token.kind != Token::Identifier)
    fail("expected " + std::string(what) + ", but got " + found());
  else
    advance();
  return name;
}

static uint64_t integerFromText(std::string_view text) {
  if (!text.empty() && text.back() == 'U')
    text.remove_suffix(1);
  bool hex = text.size() > 2 && (text[1] == 'x' || text[1] == 'X');
  bool octal = !hex && text.size() > 1 && text[0] == '0';
  return std::strtoull(std::string(text).c_str(), nullptr,
                       hex     ? 16
                       : octal ? 8
                               : 10);
}

uint64_t Parser::expectInteger(std::string_view what, uint64_t limit) {
  if (token.kind != Token::Integer) {
    fail("expected " + std::string(what) + ", but got " + found());
    return 0;
  }
  uint64_t value = integerFromText(token.text);
  if (value > limit) {
    fail("expected " + std::string(what) + " of at most " +
         std::to_string(limit) + ", but got " + found());
    return 0;
  }
  advance();
  return value;
}

int64_t Parser::parseSignedInteger() {
  bool negative = false;
  while (token.is("-") || token.is("+")) {
    negative ^= token.is("-");
    advance();
  }
  uint64_t value = expectInteger("an integer", ~0ull);
  return static_cast<int64_t>(negative ? 0 - value : value);
}

bool Parser::run(Diagnostic &diagnostic) {
  advance();
  parseVersion();
  parseTarget();
  while (!failed && token.kind != Token::End)
    parseTopLevel();
  if (failed)
    diagnostic = error;
  return !failed;
}

} // namespace ptxvm
