// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Statements of function bodies.
#include "Parser.h"

namespace ptxvm {

void Parser::parseBody(Function &function) {
  expect("{");
  scopes.emplace_back();
  size_t depth = scopes.size();
  while (!failed) {
    if (token.kind == Token::End)
      return fail("expected '}' at the end of '" + function.name +
                  "', but got end of file");
    if (token.is("}")) {
      bool last = scopes.size() == depth;
      scopes.pop_back();
      advance();
      if (last)
        break;
      continue;
    }
    parseStatement();
  }
  checkLabels();
}

void Parser::parseStatement() {
  if (accept("{")) {
    scopes.emplace_back();
    return;
  }
  if (token.kind == Token::Dotted)
    return static_cast<void>(parseDirective());
  Instruction instruction;
  instruction.line = token.line;
  if (accept(";"))
    return;
  if (token.is("@"))
    parseGuard(instruction);
  instruction.opcode = expectIdentifier("an instruction");
  if (failed)
    return;
  if (!instruction.guarded && accept(":"))
    return parseLabel(instruction.opcode);
  parseInstruction(std::move(instruction));
}

bool Parser::parseDirective() {
  if (token.is(".loc") || token.is(".file")) {
    skipLine(token.line);
    return true;
  }
  if (accept(".reg")) {
    parseRegisters();
    return true;
  }
  if (accept(".pragma")) {
    advance();
    expect(";");
    return true;
  }
  if (accept(".section")) {
    skipDebugSection();
    return true;
  }
  accept(".extern");
  std::optional<Space> space = spaceFromName(token.text);
  if (space && token.kind == Token::Dotted) {
    advance();
    parseLocalVariable(*space);
    return true;
  }
  fail("unknown directive " + found());
  return false;
}

void Parser::declareRegister(std::string_view name, Type type) {
  if (failed)
    return;
  uint32_t index = static_cast<uint32_t>(current->registers.size());
  if (!scopes.back().registers.emplace(name, index).second)
    return fail("register '" + std::string(name) + "' is already declared");
  current->registers.push_back({std::string(name), type});
}

void Parser::parseRegisters() {
  if (token.is(".v2") || token.is(".v4"))
    return fail("vector registers are not supported");
  std::optional<Type> type = typeFromName(token.text);
  if (token.kind != Token::Dotted || !type)
    return fail("expected a register type, but got " + found());
  advance();
  do {
    std::string_view name = expectIdentifier("a register name");
    if (accept("<")) {
      uint64_t count = expectInteger("a register count", 0xffffffff);
      expect(">");
      scopes.back().families.push_back(
          {name, static_cast<uint32_t>(count), *type, {}});
    } else {
      declareRegister(name, *type);
    }
  } while (!failed && accept(","));
  expect(";");
}

void Parser::parseLocalVariable(Space space) {
  do {
    Variable variable = parseVariable(space);
    if (accept("="))
      parseInitializer(variable);
    if (failed)
      return;
    if (variable.isUnsized) {
      if (space != Space::Shared)
        return fail("expected a size of array '" + variable.name + "'");
      variable.size = 0;
      variable.isExtern = true;
    }
    current->variables.push_back(std::move(variable));
    Variable *stored = &current->variables.back();
    if (!scopes.back().variables.emplace(stored->name, stored).second)
      return fail("'" + stored->name + "' is already declared");
  } while (!failed && accept(","));
  expect(";");
}

void Parser::parseBranchTargets(std::string_view label) {
  std::vector<std::string_view> targets;
  do
    targets.push_back(expectIdentifier("a label"));
  while (!failed && accept(","));
  expect(";");
  current->branchTargets[label] = std::move(targets);
}

void Parser::parsePrototype(std::string_view label) {
  Prototype prototype;
  auto parseSizes = [&](std::vector<uint64_t> &sizes) {
    expect("(");
    while (!failed && !token.is(")")) {
      expect(".param");
      sizes.push_back(parseVariable(Space::Param).size);
      if (!token.is(")"))
        expect(",");
    }
    expect(")");
  };
  if (token.is("("))
    parseSizes(prototype.returnSizes);
  expectIdentifier("'_'");
  if (token.is("("))
    parseSizes(prototype.paramSizes);
  accept(".noreturn");
  expect(";");
  current->prototypes[label] = std::move(prototype);
}

void Parser::parseLabel(std::string_view name) {
  if (accept(".branchtargets"))
    return parseBranchTargets(name);
  if (accept(".callprototype"))
    return parsePrototype(name);
  if (!current->labels.emplace(name, current->body.size()).second)
    fail("label '" + std::string(name) + "' is already defined");
}

void Parser::parseGuard(Instruction &instruction) {
  expect("@");
  instruction.guarded = true;
  instruction.guardNegated = accept("!");
  std::string_view name = expectIdentifier("a predicate register");
  if (failed)
    return;
  if (!findRegister(name, instruction.guard))
    return fail("undefined register '" + std::string(name) + "'");
  if (current->registers[instruction.guard].type != Type::Pred)
    fail("expected a predicate register, but got '" + std::string(name) + "'");
}

void Parser::parseInstruction(Instruction instruction) {
  while (token.kind == Token::Dotted) {
    instruction.modifiers.push_back(token.text);
    advance();
  }
  while (!failed && !token.is(";")) {
    instruction.operands.push_back(parseOperand());
    if (!token.is(";"))
      expect(",");
  }
  expect(";");
  if (!failed)
    current->body.push_back(std::move(instruction));
}

void Parser::checkLabels() {
  if (failed)
    return;
  auto check = [&](std::string_view label, uint32_t line) {
    if (!current->labels.count(label) && !current->branchTargets.count(label) &&
        !current->prototypes.count(label))
      failAt(line, "undefined symbol '" + std::string(label) + "'");
  };
  for (const Instruction &instruction : current->body)
    for (const Operand &operand : instruction.operands)
      if (operand.kind == Operand::Label)
        check(operand.text, instruction.line);
  for (const auto &[name, targets] : current->branchTargets)
    for (std::string_view target : targets)
      if (!current->labels.count(target))
        failAt(current->line, "undefined label '" + std::string(target) +
                                  "' in '" + std::string(name) + "'");
}

} // namespace ptxvm
