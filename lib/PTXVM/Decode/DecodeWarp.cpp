// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Instructions between the lanes of a warp: shfl, vote, match, redux, elect.
#include "../Exec/Handlers.h"
#include "Decoder.h"

namespace ptxvm {

/// src[1] holds the member mask; the scheduler waits for its lanes.
void Decoder::setWarpSync(Inst &inst) { inst.control = Control::WarpSync; }

int Decoder::takeMode(const std::string_view (&modes)[4]) {
  int mode = -1;
  for (int k = 0; k < 4; ++k)
    if (take(modes[k]))
      mode = k;
  return mode;
}

void Decoder::decodeShfl() {
  static constexpr std::string_view modes[] = {".up", ".down", ".bfly", ".idx"};
  if (!take(".sync"))
    return fail("expected .sync");
  int mode = takeMode(modes);
  if (mode < 0 || takeType() != Type::B32)
    return fail("expected .up, .down, .bfly or .idx, and type .b32");
  if (!expectOperands(5, 5))
    return;
  const Operand &result = operand(0);
  bool isPair = result.kind == Operand::Pair;
  Inst inst = prepared(InstructionClass::WarpExchange);
  inst.run = handlers::shuffle;
  inst.dst = destination(isPair ? result.elements[0] : result, 4);
  inst.dst2 = isPair ? predicateDestination(result.elements[1]) : noRef;
  inst.src[0] = source(1, 4);
  inst.src[1] = source(4, 4);
  inst.src[2] = source(2, 4);
  inst.src[3] = source(3, 4);
  inst.op = static_cast<uint8_t>(mode);
  setWarpSync(inst);
  program.code.push_back(inst);
}

void Decoder::decodeVote() {
  static constexpr std::string_view modes[] = {".all", ".any", ".uni",
                                               ".ballot"};
  if (!take(".sync"))
    return fail("expected .sync");
  int mode = takeMode(modes);
  bool isBallot = mode == 3;
  if (mode < 0 || takeType() != (isBallot ? Type::B32 : Type::Pred))
    return fail("expected .all, .any or .uni with .pred, or .ballot with .b32");
  if (!expectOperands(3, 3))
    return;
  Inst inst = prepared(InstructionClass::WarpExchange);
  inst.run = handlers::vote;
  inst.dst = isBallot ? destination(0, 4) : predicateDestination(operand(0));
  inst.src[0] = predicateSource(operand(1));
  inst.src[1] = source(2, 4);
  inst.imm = operand(1).negated ? -1 : 0;
  inst.op = static_cast<uint8_t>(mode);
  setWarpSync(inst);
  program.code.push_back(inst);
}

void Decoder::decodeMatch() {
  bool all = take(".all");
  if ((!all && !take(".any")) || !take(".sync"))
    return fail("expected .any.sync or .all.sync");
  Type type = takeType();
  if (type != Type::B32 && type != Type::B64)
    return fail("expected type .b32 or .b64");
  if (!expectOperands(3, 3))
    return;
  const Operand &result = operand(0);
  bool isPair = result.kind == Operand::Pair;
  if (isPair && !all)
    return failOperand(0, "a 32-bit register");
  Inst inst = prepared(InstructionClass::WarpExchange);
  inst.run = all ? handlers::matchAll : handlers::matchAny;
  inst.dst = destination(isPair ? result.elements[0] : result, 4);
  inst.dst2 = isPair ? predicateDestination(result.elements[1]) : noRef;
  inst.src[0] = source(1, sizeOf(type));
  inst.src[1] = source(2, 4);
  inst.size = static_cast<uint8_t>(sizeOf(type));
  setWarpSync(inst);
  program.code.push_back(inst);
}

void Decoder::decodeActivemask() {
  if (takeType() != Type::B32)
    return fail("expected type .b32");
  if (!expectOperands(1, 1))
    return;
  Ref dst = destination(0, 4);
  emit(handlers::activeMask, InstructionClass::WarpExchange).dst = dst;
}

void Decoder::decodeRedux() {
  static constexpr std::pair<std::string_view, AtomicOp> ops[] = {
      {".add", AtomicOp::Add}, {".min", AtomicOp::Min},
      {".max", AtomicOp::Max}, {".and", AtomicOp::And},
      {".or", AtomicOp::Or},   {".xor", AtomicOp::Xor}};
  if (!take(".sync"))
    return fail("expected .sync");
  int op = -1;
  for (const auto &[name, candidate] : ops)
    if (take(name))
      op = static_cast<int>(candidate);
  Type type = takeType();
  if (op < 0 || sizeOf(type) != 4 || isFloat(type))
    return fail("expected an operation and a 32-bit integer type");
  if (!expectOperands(3, 3))
    return;
  Inst inst = prepared(InstructionClass::WarpExchange);
  inst.run = handlers::reduce;
  inst.dst = destination(0, 4);
  inst.src[0] = source(1, 4);
  inst.src[1] = source(2, 4);
  inst.op = static_cast<uint8_t>(op);
  inst.flags = type == Type::S32;
  setWarpSync(inst);
  program.code.push_back(inst);
}

void Decoder::decodeElect() {
  if (!take(".sync"))
    return fail("expected .sync");
  if (!expectOperands(2, 2))
    return;
  const Operand &result = operand(0);
  if (result.kind != Operand::Pair)
    return failOperand(0, "a register and a predicate");
  Inst inst = prepared(InstructionClass::WarpExchange);
  inst.run = handlers::elect;
  inst.dst = destination(result.elements[0], 4);
  inst.dst2 = predicateDestination(result.elements[1]);
  inst.src[1] = source(1, 4);
  setWarpSync(inst);
  program.code.push_back(inst);
}

} // namespace ptxvm
