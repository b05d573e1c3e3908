// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Module-level directives (PTX ISA 9.0, section 11).
#include "Parser.h"

#include <cstdlib>

namespace ptxvm {

void Parser::parseVersion() {
  uint32_t line = token.line;
  expect(".version");
  if (failed)
    return;
  if (token.kind != Token::Real)
    return fail("expected a version such as 8.0, but got " + found());
  std::string text(token.text);
  size_t dot = text.find('.');
  unsigned long major = std::strtoul(text.c_str(), nullptr, 10);
  unsigned long minor = dot == std::string::npos
                            ? 0
                            : std::strtoul(text.c_str() + dot + 1, nullptr, 10);
  if (minor > 9 || major * 10 + minor < oldestIsa ||
      major * 10 + minor > newestIsa) {
    failAt(line, "expected a PTX version from " +
                     std::to_string(oldestIsa / 10) + ".0 to " +
                     std::to_string(newestIsa / 10) + ".0, but got " + text);
    error.cause = Diagnostic::IsaVersion;
    return;
  }
  module.isaVersion = static_cast<unsigned>(major * 10 + minor);
  advance();
}

void Parser::parseTarget() {
  expect(".target");
  do {
    std::string_view name = expectIdentifier("a target such as sm_80");
    if (failed)
      return;
    if (name.substr(0, 3) != "sm_") {
      if (name != "debug" && name != "texmode_independent")
        return fail("unsupported target option '" + std::string(name) + "'");
      continue;
    }
    unsigned long chip =
        std::strtoul(std::string(name.substr(3)).c_str(), nullptr, 10);
    if (chip < 50 || chip > 90)
      return fail("expected a target from sm_50 to sm_90a, but got " +
                  std::string(name));
    module.target = std::string(name);
  } while (accept(","));
  if (!accept(".address_size"))
    return;
  if (!failed && token.text != "64")
    return fail("expected address size 64, but got " + found());
  advance();
}

void Parser::skipDebugSection() {
  if (token.kind == Token::Dotted || token.kind == Token::Identifier)
    advance();
  expect("{");
  while (!failed && !token.is("}")) {
    if (token.kind == Token::End)
      return fail("expected '}' at the end of a .section, but got end of file");
    advance();
  }
  expect("}");
}

void Parser::skipLine(uint32_t line) {
  while (!failed && token.kind != Token::End && token.line == line)
    advance();
}

void Parser::parseTopLevel() {
  if (token.is(".file"))
    return skipLine(token.line);
  if (accept(".section"))
    return skipDebugSection();
  if (accept(".pragma")) {
    advance();
    return expect(";");
  }
  bool isExtern = false;
  while (token.is(".visible") || token.is(".extern") || token.is(".weak") ||
         token.is(".common")) {
    isExtern |= token.is(".extern");
    advance();
  }
  if (token.is(".entry") || token.is(".func"))
    return parseFunction(isExtern);
  if (std::optional<Space> space = spaceFromName(token.text);
      space && token.kind == Token::Dotted && *space != Space::Param) {
    advance();
    return parseGlobalVariable(*space, isExtern);
  }
  fail(token.kind == Token::Dotted
           ? "unknown directive " + found()
           : "expected a directive at module level, but got " + found());
}

void Parser::parseParams(Function &function, std::vector<Variable *> &list) {
  expect("(");
  while (!failed && !token.is(")")) {
    if (accept(".reg"))
      return fail("register parameters are not supported; use .param");
    expect(".param");
    Variable variable = parseVariable(Space::Param);
    if (failed)
      return;
    function.variables.push_back(std::move(variable));
    Variable *stored = &function.variables.back();
    list.push_back(stored);
    scopes.back().variables.emplace(stored->name, stored);
    if (!token.is(")"))
      expect(",");
  }
  expect(")");
}

std::array<uint32_t, 3> Parser::parseDims() {
  std::array<uint32_t, 3> dims = {1, 1, 1};
  unsigned count = 0;
  do {
    uint64_t value = expectInteger("a dimension", 0x7fffffff);
    if (count == 3)
      fail("expected at most 3 dimensions");
    else
      dims[count++] = static_cast<uint32_t>(value);
  } while (!failed && accept(","));
  return dims;
}

void Parser::parseTuning(Function &function) {
  for (;;) {
    if (accept(".maxntid"))
      function.maxThreads = parseDims();
    else if (accept(".reqntid"))
      function.requiredThreads = parseDims();
    else if (accept(".minnctapersm") || accept(".maxnreg") ||
             accept(".maxclusterrank"))
      expectInteger("a count", 0xffffffff);
    else if (accept(".reqnctapercluster"))
      function.clusterSize = parseDims();
    else if (accept(".pragma"))
      advance(), accept(";");
    else if (!accept(".noreturn") && !accept(".explicitcluster"))
      return;
  }
}

/// A definition after a declaration of the same name keeps its place: calls
/// that were read before point to it.
bool Parser::mergeDeclaration(Function &declared, Function &previous) {
  if (previous.hasBody && declared.hasBody)
    return false;
  return previous.params.size() == declared.params.size() &&
         previous.returns.size() == declared.returns.size();
}

void Parser::parseFunction(bool isExtern) {
  Function function;
  function.isEntry = token.is(".entry");
  function.line = token.line;
  advance();
  scopes.assign(1, Scope());
  current = &function;
  if (!function.isEntry && token.is("("))
    parseParams(function, function.returns);
  function.name = std::string(expectIdentifier("a function name"));
  if (token.is("("))
    parseParams(function, function.params);
  parseTuning(function);
  Function *target = module.findFunction(function.name);
  function.hasBody = token.is("{");
  if (failed)
    return;
  if (module.findGlobal(function.name) ||
      (target && !mergeDeclaration(function, *target)))
    return failAt(function.line, "'" + function.name + "' is already defined");
  if (function.isEntry && !function.hasBody)
    return fail("expected a body of kernel '" + function.name + "', but got " +
                found());
  if (!target)
    target = &module.functions.emplace_back();
  if (function.hasBody || !target->hasBody)
    *target = std::move(function);
  current = target;
  if (target->hasBody && token.is("{"))
    parseBody(*target);
  else if (!accept(";") && !isExtern)
    fail("expected '{' or ';' after a function header, but got " + found());
  current = nullptr;
}

} // namespace ptxvm
