// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// atom and red.
#include "../Exec/Handlers.h"
#include "Decoder.h"

#include <optional>

namespace ptxvm {

namespace {

struct AtomicRow {
  std::string_view name;
  AtomicOp op;
};
constexpr AtomicRow atomicRows[] = {
    {".add", AtomicOp::Add},       {".min", AtomicOp::Min},
    {".max", AtomicOp::Max},       {".inc", AtomicOp::Inc},
    {".dec", AtomicOp::Dec},       {".and", AtomicOp::And},
    {".or", AtomicOp::Or},         {".xor", AtomicOp::Xor},
    {".exch", AtomicOp::Exchange}, {".cas", AtomicOp::CompareSwap}};

/// Whether the ISA has the operation for a type.
bool isAtomic(AtomicOp op, Type type) {
  bool isCas = op == AtomicOp::CompareSwap;
  bool isIncDec = op == AtomicOp::Inc || op == AtomicOp::Dec;
  bool isAddOrOrder =
      op == AtomicOp::Add || op == AtomicOp::Min || op == AtomicOp::Max;
  unsigned size = sizeOf(type);
  if (size < 2 || size > 8 || (size == 2 && !isFloat(type) && !isCas))
    return false;
  if (isIncDec)
    return type == Type::U32;
  if (type == Type::F32 || type == Type::F64)
    return op == AtomicOp::Add;
  return isFloat(type) ? isAddOrOrder : !isUntyped(type) || !isAddOrOrder;
}

} // namespace

void Decoder::decodeAtomic() {
  bool isRed = current->opcode == "red";
  takeMemoryOrder();
  take(".noftz");
  takeCacheHints();
  Space space = takeSpace().value_or(Space::Generic);
  std::optional<AtomicOp> op;
  for (const AtomicRow &row : atomicRows)
    if (!op && take(row.name))
      op = row.op;
  uint8_t width = takeVectorWidth();
  Type type = takeType();
  if (!op)
    return fail("expected an operation such as .add");
  bool isCas = *op == AtomicOp::CompareSwap;
  bool hasSpace = space == Space::Global || space == Space::Shared ||
                  space == Space::Generic;
  if (!isAtomic(*op, type) || !hasSpace ||
      (isRed && (isCas || *op == AtomicOp::Exchange)))
    return fail("unsupported operation, type or space");
  size_t count = (isRed ? 2 : 3) + isCas;
  if (!expectOperands(count, count + 1))
    return;
  Inst working = prepared(InstructionClass::Atomic);
  working.space = static_cast<uint8_t>(space);
  working.size = static_cast<uint8_t>(sizeOf(type));
  working.count = width;
  working.flags = memory::strong | (isRed ? memory::noResult : 0);
  working.op = static_cast<uint8_t>(*op);
  working.rounding = Rounding::Nearest;
  size_t address = isRed ? 0 : 1;
  collectAtomic(address, isCas, working);
  if (failed)
    return;
  working.regSize = static_cast<uint8_t>(type);
  working.run = handlers::atomic;
  program.code.push_back(working);
  decodeMemory(operand(address));
}

/// The registers behind the address, and those of the result.
void Decoder::collectAtomic(size_t address, bool isCas, Inst &working) {
  bool wantsResult = !(working.flags & memory::noResult);
  collectVector(operand(address + 1), working.count, working.size, true, true,
                working);
  std::vector<Ref> values =
      failed ? std::vector<Ref>() : program.lists[working.ext];
  working.src[1] = failed ? noRef : values[0];
  if (isCas)
    working.src[2] = source(address + 2, working.size);
  working.dst = noRef;
  if (wantsResult && operand(0).kind == Operand::Sink) {
    working.flags |= memory::noResult;
  } else if (wantsResult && !failed) {
    Inst shape = working;
    collectVector(operand(0), working.count, working.size, false, true, shape);
    if (!failed)
      values.insert(values.end(), program.lists[shape.ext].begin(),
                    program.lists[shape.ext].end());
  }
  if (!failed)
    working.ext = addList(std::move(values));
}

} // namespace ptxvm
