// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Turns parsed instructions into handlers. Strict: every modifier must be known
// and used, every operand must have the size its type asks for.
#ifndef PTXVM_DECODE_DECODER_H
#define PTXVM_DECODE_DECODER_H

#include "../Exec/Leaf/Leaf.h"
#include "Program.h"
#include "nag/PTXVM/Launch.h"

#include <map>
#include <unordered_map>

namespace ptxvm {

class Decoder {
public:
  Decoder(Program &result, Diagnostic &where)
      : program(result), diagnostic(where) {}

  /// Decodes every function. False leaves the reason in the diagnostic.
  bool run();

private:
  friend struct OpcodeTable;

  // Errors: the first one counts, decoding then stops.
  void fail(std::string message);
  void failOperand(size_t index, const std::string &expected);

  // Modifiers of the current instruction (Modifiers.cpp).
  bool take(std::string_view modifier);
  std::optional<Type> takeOptionalType();
  Type takeType();
  void takeRounding(bool required);
  std::optional<Space> takeSpace();
  bool takeMemoryOrder();
  uint8_t takeVectorWidth();
  bool takeCacheHints();

  // Operands (Operands.cpp).
  bool expectOperands(size_t least, size_t most);
  const Operand &operand(size_t index) const;
  Ref source(size_t index, unsigned size);
  Ref source(const Operand &value, unsigned size, std::string_view what);
  Ref destination(size_t index, unsigned size);
  Ref destination(const Operand &value, unsigned size);
  Ref predicateSource(const Operand &value, bool allowNegated = true);
  Ref predicateDestination(const Operand &value);
  unsigned registerSize(const Operand &value) const;
  Type registerType(const Operand &value) const;
  Ref immediate(uint64_t bits, unsigned size);
  uint64_t immediateBits(const Operand &value, unsigned size);
  int64_t integerOperand(size_t index, std::string_view what);
  Ref specialRef(Special special);
  Ref temporary(unsigned size);
  Ref localAddress(uint64_t offset);
  uint64_t addressOf(const Operand &value);
  uint32_t addList(std::vector<Ref> list);

  // Emission.
  Inst &emit(Handler handler, InstructionClass klass);
  Inst prepared(InstructionClass klass) const;
  void setLeaf(Inst &inst, const LeafQuery &query);
  void setFloatMode(Inst &inst);
  void emitLeaf(const LeafQuery &query, InstructionClass klass);

  // Functions (Decoder.cpp).
  void decodeFunction(size_t index);
  void layoutRegisters(const Function &function);
  void layoutLocals(Function &function, FunctionCode &code);
  void findFrameUnit();
  void decodeInstruction(const Instruction &source);
  void resolveTargets(const Function &function);
  uint32_t labelTarget(std::string_view label, uint32_t line);

  // DecodeArith.cpp
  void decodeAddSub();
  void decodeMul();
  void decodeMad();
  void decodeMul24();
  void decodeDiv();
  void decodeRem();
  void decodeMinMax();
  void decodeAbsNeg();
  void decodeSad();
  void decodeFma();
  void decodeFunctionApprox();
  void decodeSqrt();
  void decodeRcp();
  void decodeTestp();
  void decodeCopysign();
  void decodeExtended();
  void decodeDot();
  void finishBinary(Op op, Type type, InstructionClass klass);
  void finishFunction(Op op);
  void decodeFloatBinary(Op op, Type type);

  // DecodeLogic.cpp
  void decodeLogic();
  void decodeLop3();
  void decodeShift();
  void decodeFunnel();
  void decodePrmt();
  void decodeBitField();
  void decodeBitCount();
  void decodeSet();
  void decodeSetp();
  void decodeSelp();
  void decodeSlct();
  void compareModifiers(Inst &inst, Type &type, bool isSet);

  // DecodeMove.cpp
  void decodeMov();
  void decodePack();
  void decodeUnpack();
  void decodeCvt();
  uint8_t takeConversionFlags();
  unsigned convertedSize(size_t index, Type type);
  void decodeConvertPair(Inst &inst, Type to, Type from);
  void decodeConvertOne(Inst &inst, Type to, Type from);
  void decodeCvta();
  void decodeIsspacep();

  // DecodeMemory.cpp
  InstructionClass classOfSpace(Space space, bool isStore) const;
  void decodeMemory(const Operand &value);
  void decodeVariableAddress(const Variable &variable, Inst &inst);
  void collectVector(const Operand &value, unsigned count, unsigned size,
                     bool isSource, bool exact, Inst &inst);
  void selectMemoryHandler(Inst &inst, bool isStore);
  void decodeLoad();
  void decodeStore();
  void decodeCp();
  void decodeCopyAsync();
  void decodeNothing();
  void decodePolicy();

  // DecodeAtomic.cpp
  void decodeAtomic();
  void collectAtomic(size_t address, bool isCas, Inst &working);

  // DecodeMatrix.cpp
  void decodeLdmatrix();
  void decodeMma();
  void collectFragment(size_t index, unsigned count, unsigned size,
                       bool isSource, uint32_t *target);

  // DecodeWarp.cpp
  /// The number of the one of `modes` that the instruction has; -1 for none.
  int takeMode(const std::string_view (&modes)[4]);
  void setWarpSync(Inst &inst);
  void decodeShfl();
  void decodeVote();
  void decodeMatch();
  void decodeActivemask();
  void decodeRedux();
  void decodeElect();

  // DecodeBarrier.cpp
  void decodeBarrier();
  void decodeBarrierWarp();
  void decodeFence();

  // DecodeControl.cpp
  void decodeBranch();
  void decodeBranchIndexed();
  CallSite makeCallSite(const Operand *results, const Operand *arguments,
                        const FunctionCode &callee);
  void decodeCall();
  void decodeIndirectCall(const Operand &target, const Operand *results,
                          const Operand *arguments,
                          const Operand &prototypeName);
  void emitCall(CallSite site);
  void decodeReturn();
  void decodeExit();
  void decodeTrap();

  Program &program;
  Diagnostic &diagnostic;
  bool failed = false;
  Function *function = nullptr;
  FunctionCode *code = nullptr;
  const Instruction *current = nullptr;
  std::vector<bool> used; // modifiers of the current instruction
  std::vector<Ref> registerRefs;
  uint32_t frameBytes = 0;
  uint64_t frameUnit = 16; // local frames are multiples of it, in bytes
  std::map<std::pair<unsigned, uint64_t>, Ref> immediates;
  std::map<Special, Ref> specialRefs;
  Rounding rounding = Rounding::Nearest;
  bool roundingGiven = false;
  bool flush = false;
  struct Patch {
    size_t inst;
    std::string_view label;
  };
  std::vector<Patch> branchPatches;
  struct TablePatch {
    uint32_t table;
    std::string_view label;
  };
  std::vector<TablePatch> tablePatches;
  std::vector<uint32_t> instructionStart; // decoded index per parsed one
};

/// Places global, constant and shared variables and kernel parameters, fills
/// Program::globals, kernels and kernelCodes (Layout.cpp).
bool layoutModule(Program &program, DeviceMemory &memory,
                  Diagnostic &diagnostic);

/// Fills KernelCode::stackBytes, codeBegin and codeEnd of a decoded program
/// (Reach.cpp).
void findReach(Program &program);
/// Fills Program::registerUses and registerLists (Exec/Registers.cpp).
void findRegisterUses(Program &program);

} // namespace ptxvm

#endif // PTXVM_DECODE_DECODER_H
