// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Operands: registers, constants, addresses, vectors (PTX ISA 9.0, section 6).
#include "Parser.h"

#include <cstdlib>
#include <cstring>

namespace ptxvm {
namespace {

struct SpecialName {
  std::string_view name;
  Special special;
};

constexpr SpecialName specialNames[] = {
    {"%tid.x", Special::TidX},
    {"%tid.y", Special::TidY},
    {"%tid.z", Special::TidZ},
    {"%ntid.x", Special::NtidX},
    {"%ntid.y", Special::NtidY},
    {"%ntid.z", Special::NtidZ},
    {"%ctaid.x", Special::CtaidX},
    {"%ctaid.y", Special::CtaidY},
    {"%ctaid.z", Special::CtaidZ},
    {"%nctaid.x", Special::NctaidX},
    {"%nctaid.y", Special::NctaidY},
    {"%nctaid.z", Special::NctaidZ},
    {"%laneid", Special::LaneId},
    {"%warpid", Special::WarpId},
    {"%nwarpid", Special::NwarpId},
    {"%smid", Special::SmId},
    {"%nsmid", Special::NsmId},
    {"%gridid", Special::GridId},
    {"%lanemask_eq", Special::LanemaskEq},
    {"%lanemask_le", Special::LanemaskLe},
    {"%lanemask_lt", Special::LanemaskLt},
    {"%lanemask_ge", Special::LanemaskGe},
    {"%lanemask_gt", Special::LanemaskGt},
    {"%dynamic_smem_size", Special::DynamicSmemSize},
    {"%total_smem_size", Special::TotalSmemSize},
    {"%cluster_ctaid.x", Special::ClusterCtaidX},
    {"%cluster_ctaid.y", Special::ClusterCtaidY},
    {"%cluster_ctaid.z", Special::ClusterCtaidZ},
    {"%cluster_nctaid.x", Special::ClusterNctaidX},
    {"%cluster_nctaid.y", Special::ClusterNctaidY},
    {"%cluster_nctaid.z", Special::ClusterNctaidZ},
    {"%clusterid.x", Special::ClusterIdX},
    {"%clusterid.y", Special::ClusterIdY},
    {"%clusterid.z", Special::ClusterIdZ},
    {"%nclusterid.x", Special::NclusterIdX},
    {"%nclusterid.y", Special::NclusterIdY},
    {"%nclusterid.z", Special::NclusterIdZ},
    {"%cluster_ctarank", Special::ClusterCtaRank},
    {"%cluster_nctarank", Special::ClusterNctaRank},
    {"%clock", Special::Clock},
    {"%clock_hi", Special::ClockHi},
    {"%clock64", Special::Clock64},
    {"%globaltimer", Special::GlobalTimer},
    {"%globaltimer_lo", Special::GlobalTimerLo},
    {"%globaltimer_hi", Special::GlobalTimerHi},
};

/// Splits "%r12" into "%r" and 12; no leading zeros, at most 9 digits.
bool splitIndexedName(std::string_view name, size_t prefixLength,
                      uint32_t &index) {
  std::string_view digits = name.substr(prefixLength);
  if (digits.empty() || digits.size() > 9 ||
      (digits.size() > 1 && digits[0] == '0'))
    return false;
  index = 0;
  for (char c : digits) {
    if (c < '0' || c > '9')
      return false;
    index = index * 10 + static_cast<uint32_t>(c - '0');
  }
  return true;
}

} // namespace

bool Parser::findRegister(std::string_view name, uint32_t &index) {
  for (auto scope = scopes.rbegin(); scope != scopes.rend(); ++scope) {
    auto declared = scope->registers.find(name);
    if (declared != scope->registers.end()) {
      index = declared->second;
      return true;
    }
    for (Scope::Family &family : scope->families) {
      uint32_t member;
      if (name.substr(0, family.prefix.size()) != family.prefix ||
          !splitIndexedName(name, family.prefix.size(), member) ||
          member >= family.count)
        continue;
      auto [slot, isNew] = family.members.emplace(
          member, static_cast<uint32_t>(current->registers.size()));
      if (isNew)
        current->registers.push_back({std::string(name), family.type});
      index = slot->second;
      return true;
    }
  }
  return false;
}

Variable *Parser::findVariable(std::string_view name) {
  for (auto scope = scopes.rbegin(); scope != scopes.rend(); ++scope) {
    auto declared = scope->variables.find(name);
    if (declared != scope->variables.end())
      return declared->second;
  }
  return module.findGlobal(name);
}

bool Parser::findSpecial(std::string_view name, Special &special) {
  for (const SpecialName &candidate : specialNames)
    if (candidate.name == name) {
      special = candidate.special;
      return true;
    }
  return false;
}

uint64_t Parser::parseReal(std::string_view text, bool &isDouble) {
  uint64_t bits = 0;
  char kind = text.size() > 1 ? text[1] : '\0';
  bool isFloatBits = kind == 'f' || kind == 'F';
  isDouble = !isFloatBits;
  if (isFloatBits || kind == 'd' || kind == 'D') {
    size_t digits = isFloatBits ? 8 : 16;
    if (text.size() != digits + 2)
      fail("expected " + std::to_string(digits) +
           " hexadecimal digits in constant '" +
           std::string(text.substr(0, 40)) + "'");
    return std::strtoull(std::string(text.substr(2)).c_str(), nullptr, 16);
  }
  double value = std::strtod(std::string(text).c_str(), nullptr);
  std::memcpy(&bits, &value, 8);
  return bits;
}

Operand Parser::parseNumber() {
  Operand operand;
  operand.text = token.text;
  bool negative = false, inverted = false;
  while (token.is("-") || token.is("+") || token.is("~")) {
    negative ^= token.is("-");
    inverted ^= token.is("~");
    advance();
  }
  if (token.kind == Token::Real) {
    operand.kind = Operand::Real;
    operand.text = token.text;
    operand.realBits = parseReal(token.text, operand.isDouble);
    if (negative)
      operand.realBits ^= operand.isDouble ? 1ull << 63 : 1ull << 31;
    advance();
    return operand;
  }
  operand.kind = Operand::Integer;
  if (accept("WARP_SZ")) {
    operand.value = 32;
    return operand;
  }
  uint64_t value = expectInteger("an operand", ~0ull);
  if (inverted)
    value = ~value;
  operand.value = static_cast<int64_t>(negative ? 0 - value : value);
  return operand;
}

Operand Parser::parseNamed(std::string_view name) {
  Operand operand;
  operand.text = name;
  if (name == "_") {
    operand.kind = Operand::Sink;
    return operand;
  }
  if (findRegister(name, operand.reg)) {
    operand.kind = Operand::Register;
    return operand;
  }
  if (Variable *variable = findVariable(name)) {
    operand.kind = Operand::VariableAddress;
    operand.variable = variable;
    if (token.is("+") || token.is("-"))
      operand.value = parseSignedInteger();
    return operand;
  }
  if (Function *function = module.findFunction(name)) {
    operand.kind = Operand::FunctionAddress;
    operand.function = function;
    return operand;
  }
  std::string full(name);
  if (token.kind == Token::Dotted && name[0] == '%') {
    full += token.text;
    advance();
  }
  if (findSpecial(full, operand.special)) {
    operand.kind = Operand::SpecialRegister;
    return operand;
  }
  if (name[0] == '%')
    fail("undefined register '" + full + "'");
  operand.kind = Operand::Label;
  return operand;
}

Operand Parser::parseSimpleOperand() {
  if (token.kind == Token::Identifier && !token.is("WARP_SZ")) {
    std::string_view name = token.text;
    advance();
    return parseNamed(name);
  }
  return parseNumber();
}

Operand Parser::parseMemory() {
  Operand operand;
  operand.kind = Operand::Memory;
  expect("[");
  Operand base = parseSimpleOperand();
  if (base.kind == Operand::Label)
    fail("undefined symbol '" + std::string(base.text) + "'");
  while (!failed && (token.is("+") || token.is("-")))
    operand.value += parseSignedInteger();
  if (base.kind == Operand::VariableAddress || base.kind == Operand::Integer) {
    operand.value += base.value;
    base.value = 0;
  }
  operand.text = base.text;
  operand.elements.push_back(std::move(base));
  expect("]");
  return operand;
}

Operand Parser::parseList(std::string_view close, Operand::Kind kind) {
  Operand list;
  list.kind = kind;
  list.text = token.text;
  advance();
  while (!failed && !token.is(close)) {
    list.elements.push_back(parseSimpleOperand());
    if (!token.is(close))
      expect(",");
    if (list.elements.size() > 255)
      fail("expected at most 255 operands in a list");
  }
  expect(close);
  return list;
}

Operand Parser::parseOperand() {
  if (token.is("["))
    return parseMemory();
  if (token.is("{"))
    return parseList("}", Operand::Vector);
  if (token.is("("))
    return parseList(")", Operand::Group);
  if (accept("!")) {
    Operand operand = parseSimpleOperand();
    operand.negated = true;
    return operand;
  }
  Operand operand = parseSimpleOperand();
  if (!accept("|"))
    return operand;
  Operand pair;
  pair.kind = Operand::Pair;
  pair.text = operand.text;
  pair.elements.push_back(std::move(operand));
  pair.elements.push_back(parseSimpleOperand());
  return pair;
}

} // namespace ptxvm
