// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A parsed module: names are resolved, instructions are not yet decoded.
#ifndef PTXVM_PARSE_AST_H
#define PTXVM_PARSE_AST_H

#include "Types.h"

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ptxvm {

enum class Special : uint8_t {
  TidX,
  TidY,
  TidZ,
  NtidX,
  NtidY,
  NtidZ,
  CtaidX,
  CtaidY,
  CtaidZ,
  NctaidX,
  NctaidY,
  NctaidZ,
  LaneId,
  WarpId,
  NwarpId,
  SmId,
  NsmId,
  GridId,
  LanemaskEq,
  LanemaskLe,
  LanemaskLt,
  LanemaskGe,
  LanemaskGt,
  DynamicSmemSize,
  TotalSmemSize,
  ClusterCtaidX,
  ClusterCtaidY,
  ClusterCtaidZ,
  ClusterNctaidX,
  ClusterNctaidY,
  ClusterNctaidZ,
  ClusterIdX,
  ClusterIdY,
  ClusterIdZ,
  NclusterIdX,
  NclusterIdY,
  NclusterIdZ,
  ClusterCtaRank,
  ClusterNctaRank,
  // Read anew by every mov.
  Clock,
  ClockHi,
  Clock64,
  GlobalTimer,
  GlobalTimerLo,
  GlobalTimerHi,
  Count
};

/// An address of another symbol inside an initialiser.
struct Relocation {
  uint64_t offset = 0;
  std::string symbol;
  int64_t addend = 0;
  uint8_t size = 8;
  uint32_t line = 0;
};

struct Variable {
  std::string name;
  Space space = Space::None;
  Type type = Type::None;
  uint32_t align = 1;
  uint64_t size = 0; // bytes; 0 for an unsized extern array
  bool isExtern = false;
  bool isUnsized = false;
  bool isPointer = false; // kernel parameter with a .ptr attribute
  std::vector<uint8_t> init;
  std::vector<Relocation> relocations;
  uint32_t line = 0;
  uint64_t address = 0; // set by layout; meaning depends on the space
};

struct Function;

struct Operand {
  enum Kind : uint8_t {
    None,
    Register,
    Integer,
    Real,
    VariableAddress, // variable, plus value
    FunctionAddress,
    Label,
    SpecialRegister,
    Memory, // [elements[0] + value]
    Vector,
    Pair,  // p|q
    Group, // (a, b) of call
    Sink   // _
  };
  Kind kind = None;
  bool negated = false; // !p
  bool isDouble = false;
  uint32_t reg = 0;
  int64_t value = 0;     // integer, or address offset
  uint64_t realBits = 0; // f32 or f64 bits, by isDouble
  Special special = Special::Count;
  Variable *variable = nullptr;
  Function *function = nullptr;
  std::string_view text; // as written, for messages
  std::vector<Operand> elements;
};

struct Instruction {
  std::string_view opcode;
  std::vector<std::string_view> modifiers;
  std::vector<Operand> operands;
  bool guarded = false;
  bool guardNegated = false;
  uint32_t guard = 0;
  uint32_t line = 0;

  /// "add.s32", as written.
  std::string spelling() const;
};

struct RegisterInfo {
  std::string name;
  Type type = Type::None;
};

/// A .callprototype: sizes of results and parameters.
struct Prototype {
  std::vector<uint64_t> returnSizes, paramSizes;
};

struct Function {
  std::string name;
  bool isEntry = false;
  bool hasBody = false;
  uint32_t line = 0;
  std::vector<Variable *> returns, params;
  std::vector<RegisterInfo> registers;
  std::deque<Variable> variables; // of the body and the signature
  std::vector<Instruction> body;
  std::map<std::string_view, size_t> labels; // index of the next instruction
  std::map<std::string_view, std::vector<std::string_view>> branchTargets;
  std::map<std::string_view, Prototype> prototypes;
  std::array<uint32_t, 3> maxThreads = {0, 0, 0}; // .maxntid
  std::array<uint32_t, 3> requiredThreads = {0, 0, 0};
  std::array<uint32_t, 3> clusterSize = {0, 0, 0};

  /// Whether a variable lies in a thread's local frame: local ones, and
  /// parameters but a kernel's own.
  bool holdsInFrame(const Variable &variable) const;
};

struct ModuleAst {
  unsigned isaVersion = 0; // major * 10 + minor
  std::string target;
  std::deque<Variable> globals;
  std::deque<Function> functions;

  Function *findFunction(std::string_view name);
  Variable *findGlobal(std::string_view name);
};

} // namespace ptxvm

#endif // PTXVM_PARSE_AST_H
