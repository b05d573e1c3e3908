// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Recursive-descent parser of PTX modules. The first error stops it: from then
// on every token reads as the end of the file.
#ifndef PTXVM_PARSE_PARSER_H
#define PTXVM_PARSE_PARSER_H

#include "Ast.h"
#include "Lexer.h"
#include "nag/PTXVM/Diagnostic.h"

#include <unordered_map>

namespace ptxvm {

/// Newest PTX ISA this machine reads (major * 10 + minor).
inline constexpr unsigned newestIsa = 90;
inline constexpr unsigned oldestIsa = 60;

class Parser {
public:
  /// `source` must outlive the result: operands and opcodes point into it.
  Parser(std::string_view source, ModuleAst &result)
      : lexer(source), module(result) {}

  /// Fills the module; false leaves the reason in `diagnostic`.
  bool run(Diagnostic &diagnostic);

private:
  // Tokens (Parser.cpp).
  void advance();
  bool accept(std::string_view spelling);
  void expect(std::string_view spelling);
  std::string_view expectIdentifier(std::string_view what);
  uint64_t expectInteger(std::string_view what, uint64_t limit);
  int64_t parseSignedInteger();
  void fail(std::string message) { failAt(token.line, std::move(message)); }
  void failAt(uint32_t line, std::string message);
  std::string found() const;

  // Module level (ParseModule.cpp).
  void parseVersion();
  void parseTarget();
  void parseTopLevel();
  void parseFunction(bool isExtern);
  void parseTuning(Function &function);
  std::array<uint32_t, 3> parseDims();
  void skipDebugSection();
  void skipLine(uint32_t line);
  void parseParams(Function &function, std::vector<Variable *> &list);
  bool mergeDeclaration(Function &declared, Function &previous);

  // Variables (ParseVariable.cpp).
  Variable parseVariable(Space space);
  Type parseVariableType(Variable &variable, unsigned &vectorWidth);
  void parseArraySize(Variable &variable);
  void parsePointerAttribute(Variable &variable);
  void parseInitializer(Variable &variable);
  void parseInitializerValue(Variable &variable, uint64_t &offset);
  void storeInitializer(Variable &variable, uint64_t offset, uint64_t bits);
  void parseGlobalVariable(Space space, bool isExtern);

  // Function bodies (ParseBody.cpp).
  void parseBody(Function &function);
  void parseStatement();
  bool parseDirective();
  void parseRegisters();
  void declareRegister(std::string_view name, Type type);
  void parseLocalVariable(Space space);
  void parseLabel(std::string_view name);
  void parseBranchTargets(std::string_view label);
  void parsePrototype(std::string_view label);
  void parseGuard(Instruction &instruction);
  void parseInstruction(Instruction instruction);
  void checkLabels();

  // Operands (ParseOperand.cpp).
  Operand parseOperand();
  Operand parseSimpleOperand();
  Operand parseNumber();
  Operand parseMemory();
  Operand parseList(std::string_view close, Operand::Kind kind);
  Operand parseNamed(std::string_view name);
  bool findRegister(std::string_view name, uint32_t &index);
  Variable *findVariable(std::string_view name);
  bool findSpecial(std::string_view name, Special &special);
  uint64_t parseReal(std::string_view text, bool &isDouble);

  struct Scope {
    std::unordered_map<std::string_view, uint32_t> registers;
    struct Family {
      std::string_view prefix;
      uint32_t count;
      Type type;
      std::unordered_map<uint32_t, uint32_t> members;
    };
    std::vector<Family> families;
    std::unordered_map<std::string_view, Variable *> variables;
  };

  Lexer lexer;
  ModuleAst &module;
  Token token;
  bool failed = false;
  Diagnostic error;
  Function *current = nullptr;
  std::vector<Scope> scopes;
};

} // namespace ptxvm

#endif // PTXVM_PARSE_PARSER_H
