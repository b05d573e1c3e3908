// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Matrices that the lanes of a warp hold together: ldmatrix, stmatrix, mma.
#include "../Exec/Handlers.h"
#include "Decoder.h"

#include <array>
#include <optional>

namespace ptxvm {

void Decoder::decodeLdmatrix() {
  bool isStore = current->opcode == "stmatrix";
  bool known = take(".sync") && take(".aligned") && take(".m8n8");
  unsigned count = take(".x4") ? 4 : take(".x2") ? 2 : take(".x1") ? 1 : 0;
  if (!known || count == 0)
    return fail("expected .sync.aligned.m8n8 and .x1, .x2 or .x4");
  uint8_t flags = take(".trans") ? matrix::transposed : 0;
  Space space = takeSpace().value_or(Space::Generic);
  if (takeType() != Type::B16)
    return fail("expected type .b16");
  if (space != Space::Shared && space != Space::Generic)
    return fail("expected .shared");
  if (!expectOperands(2, 2))
    return;
  Inst working = prepared(InstructionClass::MatrixLoad);
  working.count = static_cast<uint8_t>(count);
  working.space = static_cast<uint8_t>(space);
  working.size = 16;
  working.flags = flags;
  collectVector(operand(isStore ? 1 : 0), count, 4, isStore, true, working);
  working.run = isStore ? handlers::storeMatrix : handlers::loadMatrix;
  working.src[1] = immediate(allLanes, 4);
  setWarpSync(working);
  program.code.push_back(working);
  decodeMemory(operand(isStore ? 0 : 1));
}

namespace {

struct MmaRow {
  std::string_view shape;
  Type input;
  MmaKind kind;
};
constexpr MmaRow mmaRows[] = {
    {".m16n8k16", Type::F16, MmaKind::F16_16x8x16},
    {".m16n8k8", Type::F16, MmaKind::F16_16x8x8},
    {".m16n8k16", Type::BF16, MmaKind::BF16_16x8x16},
    {".m16n8k8", Type::BF16, MmaKind::BF16_16x8x8},
    {".m16n8k8", Type::TF32, MmaKind::TF32_16x8x8},
    {".m16n8k4", Type::TF32, MmaKind::TF32_16x8x4},
    {".m8n8k4", Type::F64, MmaKind::F64_8x8x4},
    {".m16n8k32", Type::S8, MmaKind::I8_16x8x32},
    {".m16n8k16", Type::S8, MmaKind::I8_16x8x16},
    {".m8n8k16", Type::S8, MmaKind::I8_8x8x16},
};

/// What an mma says before its operands.
struct MmaForm {
  MmaKind kind;
  Type a, b, wide; // `wide`: of sums that are not f16
  bool halfSums;
};

/// The table's row for a shape and types, all of which must go together.
std::optional<MmaForm> findMma(std::string_view shape,
                               const std::array<Type, 4> &types) {
  auto [d, a, b, c] = types;
  auto isByte = [](Type type) { return type == Type::S8 || type == Type::U8; };
  Type input = isByte(a) && isByte(b) ? Type::S8 : a;
  Type wide = input == Type::S8    ? Type::S32
              : input == Type::F64 ? Type::F64
                                   : Type::F32;
  bool half = input == Type::F16 && d == Type::F16 && c == Type::F16;
  if ((a != b && input != Type::S8) || (!half && (d != wide || c != wide)))
    return std::nullopt;
  for (const MmaRow &row : mmaRows)
    if (row.shape == shape && row.input == input)
      return MmaForm{row.kind, a, b, wide, half};
  return std::nullopt;
}

} // namespace

/// The registers of operand `index`, which must be `count`.
void Decoder::collectFragment(size_t index, unsigned count, unsigned size,
                              bool isSource, uint32_t *target) {
  const Operand &value = operand(index);
  size_t have = value.kind == Operand::Vector ? value.elements.size() : 1;
  if (have != count)
    return fail("expected " + std::to_string(count) + " registers as operand " +
                std::to_string(index + 1) + ", but got " +
                std::to_string(have));
  for (unsigned k = 0; k < count; ++k) {
    const Operand &element =
        value.kind == Operand::Vector ? value.elements[k] : value;
    target[k] = isSource ? source(element, size, "fragment")
                         : destination(element, size);
  }
}

void Decoder::decodeMma() {
  bool known = take(".sync") && take(".aligned");
  if (!known || !take(".row") || !take(".col"))
    return fail("expected .sync.aligned and the layout .row.col");
  std::string_view shape;
  for (const MmaRow &row : mmaRows)
    if (shape.empty() && take(row.shape))
      shape = row.shape;
  bool saturates = take(".satfinite");
  // bf16 and tf32 name their type in each place; f64 may carry .rn.
  take(".rn");
  std::array<Type, 4> types;
  for (Type &type : types)
    type = takeType();
  std::optional<MmaForm> form = findMma(shape, types);
  if (!form)
    return fail("unsupported shape or types");
  if (!expectOperands(4, 4))
    return;
  MmaShape counts = shapeOf(form->kind);
  unsigned sums = form->halfSums ? counts.accRegs / 2 : counts.accRegs;
  unsigned size = form->wide == Type::F64 ? 8 : 4;
  MmaOperands operands = {};
  Inst inst = prepared(InstructionClass::Mma);
  collectFragment(0, sums, size, false, operands.d);
  collectFragment(1, counts.aRegs, size, true, operands.a);
  collectFragment(2, counts.bRegs, size, true, operands.b);
  collectFragment(3, sums, size, true, operands.c);
  if (failed)
    return;
  program.mmaOperands.push_back(operands);
  inst.imm = reinterpret_cast<int64_t>(&program.mmaOperands.back());
  inst.flags =
      static_cast<uint8_t>((form->a == Type::S8 ? mma::signedA : 0) |
                           (form->b == Type::S8 ? mma::signedB : 0) |
                           (form->halfSums ? mma::halfAccumulators : 0) |
                           (saturates ? mma::saturate : 0));
  inst.op = static_cast<uint8_t>(form->kind);
  inst.flops = 2u * counts.m * counts.n * counts.k;
  inst.run = selectMmaHandler(inst.op);
  inst.src[1] = immediate(allLanes, 4);
  setWarpSync(inst);
  program.code.push_back(inst);
}

} // namespace ptxvm
