// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The decoded form of a module: what the executor runs.
#ifndef PTXVM_DECODE_PROGRAM_H
#define PTXVM_DECODE_PROGRAM_H

#include "../Exec/Lanes.h"
#include "../Exec/Mma.h"
#include "../Parse/Ast.h"
#include "nag/PTXVM/Module.h"

#include <deque>

namespace ptxvm {

/// Windows of the generic address space; global memory is everything from
/// DeviceMemory::base on.
inline constexpr uint64_t sharedWindow = 1ull << 32;
inline constexpr uint64_t localWindow = 2ull << 32;
inline constexpr uint64_t paramWindow = 3ull << 32;
inline constexpr uint64_t functionWindow = 4ull << 32;

/// Bytes kept free between shared variables: a multiple of 128, so that banks
/// stay what they are without them.
inline constexpr uint64_t sharedRedZone = 128;

struct CallSite {
  int callee = -1;    // index into Program::functions; -1: indirect
  Ref target = noRef; // of indirect calls
  struct Copy {
    uint32_t callerOffset; // in the caller's local frame
    uint32_t size;
  };
  std::vector<Copy> arguments, results;
};

struct FunctionCode {
  std::string name;
  bool isEntry = false;
  bool isBuiltin = false; // vprintf, __assertfail, malloc, free
  uint32_t entry = 0, end = 0;
  uint32_t frameBytes = 0;       // of the register frame
  uint32_t localBytes = 0;       // of the local frame, call parameters included
  uint32_t packedLocalBytes = 0; // the same without gaps that GPUs do not need
  struct Slot {
    uint32_t offset; // in the own local frame
    uint32_t size;
  };
  std::vector<Slot> params, results;
};

struct SharedVariable {
  std::string name;
  uint64_t offset = 0, size = 0;
};

struct KernelCode {
  uint32_t function = 0;
  std::vector<SharedVariable> shared;  // static ones it can reach
  uint64_t stackBytes = 0;             // per thread, calls included
  uint32_t codeBegin = 0, codeEnd = 0; // holds all it can reach
};

/// The registers of one instruction in Program::registerLists: `reads` from
/// `first` on, then those it writes, up to the next one's `first`.
struct RegisterUse {
  uint32_t first, reads;
};

struct Program {
  std::string text;
  ModuleAst ast;
  std::vector<Inst> code;
  /// Loads with a memory order, ascending: by these blocks wait for others.
  std::vector<uint32_t> strongLoads;
  std::vector<std::vector<Ref>> lists;
  std::vector<RegisterUse> registerUses; // per instruction, and one more
  std::vector<Ref> registerLists;
  std::vector<CallSite> calls;
  std::vector<std::vector<uint32_t>> branchTables;
  std::deque<MmaOperands> mmaOperands;
  std::vector<uint8_t> constants;
  std::vector<Special> specials; // k-th lives at specialOffset(k)
  std::vector<FunctionCode> functions;
  std::vector<KernelCode> kernelCodes; // parallel to kernels
  std::vector<KernelInfo> kernels;
  std::vector<GlobalInfo> globals;
  uint64_t dynamicSharedBase = 0; // the same for all kernels

  static uint32_t specialOffset(size_t index) {
    return static_cast<uint32_t>(64 + index * warpSize * 8);
  }
};

} // namespace ptxvm

#endif // PTXVM_DECODE_PROGRAM_H
