// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Variable declarations and initialisers (PTX ISA 9.0, section 5.4).
#include "Parser.h"

#include <cstring>

namespace ptxvm {
namespace {

/// One variable may take at most this much: keeps a hostile text from
/// exhausting memory.
constexpr uint64_t largestVariable = 1ull << 32;
constexpr uint64_t largestInitializer = 1ull << 28;

bool isPowerOfTwo(uint64_t value) {
  return value != 0 && (value & (value - 1)) == 0;
}

} // namespace

void Parser::parsePointerAttribute(Variable &variable) {
  variable.isPointer = true;
  if (token.kind == Token::Dotted && spaceFromName(token.text))
    advance();
  if (accept(".align"))
    expectInteger("an alignment", 1 << 20);
}

Type Parser::parseVariableType(Variable &variable, unsigned &vectorWidth) {
  vectorWidth = 1;
  for (;;) {
    if (accept(".align")) {
      uint64_t align = expectInteger("an alignment", 1 << 20);
      if (!failed && !isPowerOfTwo(align))
        fail("expected an alignment that is a power of two, but got " +
             std::to_string(align));
      variable.align = static_cast<uint32_t>(align);
    } else if (accept(".v2")) {
      vectorWidth = 2;
    } else if (accept(".v4")) {
      vectorWidth = 4;
    } else if (accept(".attribute")) {
      expect("(");
      while (!failed && !accept(")"))
        advance();
    } else {
      break;
    }
  }
  std::optional<Type> type = typeFromName(token.text);
  if (token.kind != Token::Dotted || !type || sizeOf(*type) == 0) {
    fail("expected a variable type, but got " + found());
    return Type::B8;
  }
  advance();
  return *type;
}

void Parser::parseArraySize(Variable &variable) {
  while (!failed && accept("[")) {
    if (accept("]")) {
      variable.isUnsized = true;
      continue;
    }
    uint64_t count = expectInteger("an array size", largestVariable);
    variable.size *= count;
    if (variable.size > largestVariable)
      return fail("variable '" + variable.name + "' is larger than " +
                  std::to_string(largestVariable) + " bytes");
    expect("]");
  }
}

Variable Parser::parseVariable(Space space) {
  Variable variable;
  variable.space = space;
  variable.line = token.line;
  variable.align = 0;
  unsigned vectorWidth = 1;
  variable.type = parseVariableType(variable, vectorWidth);
  if (accept(".ptr"))
    parsePointerAttribute(variable);
  // ".param .u64 .ptr .global .align 4 name" and ".align 8 .b8 name[16]".
  uint64_t elementSize = uint64_t(sizeOf(variable.type)) * vectorWidth;
  variable.size = elementSize;
  if (variable.align == 0)
    variable.align = static_cast<uint32_t>(elementSize);
  variable.name = std::string(expectIdentifier("a variable name"));
  parseArraySize(variable);
  return variable;
}

void Parser::storeInitializer(Variable &variable, uint64_t offset,
                              uint64_t bits) {
  unsigned size = sizeOf(variable.type);
  if (size > 8)
    return fail("initialisers of " + std::string(nameOf(variable.type)) +
                " variables are not supported");
  if (variable.isUnsized && offset + size > variable.size)
    variable.size = offset + size;
  if (offset + size > variable.size || offset + size > largestInitializer)
    return fail("too many initialisers for '" + variable.name + "' of " +
                std::to_string(variable.size) + " bytes");
  if (variable.init.size() < offset + size)
    variable.init.resize(offset + size);
  std::memcpy(variable.init.data() + offset, &bits, size);
}

void Parser::parseInitializerValue(Variable &variable, uint64_t &offset) {
  unsigned size = sizeOf(variable.type);
  if (accept("{")) {
    while (!failed && !token.is("}")) {
      parseInitializerValue(variable, offset);
      if (!token.is("}"))
        expect(",");
    }
    return expect("}");
  }
  if (token.kind == Token::Identifier) {
    Relocation relocation;
    relocation.line = token.line;
    relocation.offset = offset;
    relocation.size = static_cast<uint8_t>(size);
    bool isGeneric = token.is("generic");
    relocation.symbol = std::string(token.text);
    advance();
    if (isGeneric) {
      expect("(");
      relocation.symbol = std::string(expectIdentifier("a symbol"));
      expect(")");
    }
    if (token.is("+") || token.is("-"))
      relocation.addend = parseSignedInteger();
    storeInitializer(variable, offset, 0);
    if (size != 8)
      fail("expected a 64-bit variable for the address of '" +
           relocation.symbol + "'");
    variable.relocations.push_back(std::move(relocation));
    offset += size;
    return;
  }
  Operand value = parseNumber();
  uint64_t bits = static_cast<uint64_t>(value.value);
  if (value.kind == Operand::Real) {
    bits = value.realBits;
    if (size == 4 && value.isDouble) {
      double wide;
      std::memcpy(&wide, &bits, 8);
      float narrow = static_cast<float>(wide);
      bits = 0;
      std::memcpy(&bits, &narrow, 4);
    }
  }
  storeInitializer(variable, offset, bits);
  offset += size;
}

void Parser::parseInitializer(Variable &variable) {
  if (variable.space != Space::Global && variable.space != Space::Const)
    return fail("expected no initialiser for a " +
                std::string(nameOf(variable.space)) + " variable");
  uint64_t offset = 0;
  if (variable.isUnsized)
    variable.size = 0;
  parseInitializerValue(variable, offset);
}

void Parser::parseGlobalVariable(Space space, bool isExtern) {
  do {
    Variable variable = parseVariable(space);
    variable.isExtern = isExtern;
    if (accept("="))
      parseInitializer(variable);
    else if (variable.isUnsized)
      variable.size = 0;
    if (failed)
      return;
    if (variable.isUnsized && variable.size == 0 &&
        !(isExtern && space == Space::Shared))
      return failAt(variable.line,
                    "expected a size of array '" + variable.name + "'");
    if (space == Space::Local || space == Space::Generic)
      return failAt(variable.line, "expected a .global, .const or .shared "
                                   "variable at module level");
    if (module.findFunction(variable.name) || module.findGlobal(variable.name))
      return failAt(variable.line,
                    "'" + variable.name + "' is already defined");
    module.globals.push_back(std::move(variable));
  } while (!failed && accept(","));
  expect(";");
}

} // namespace ptxvm
