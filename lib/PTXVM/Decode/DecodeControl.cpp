// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Branches, calls, barriers, warp-wide instructions and mma.
#include "../Exec/Handlers.h"
#include "Decoder.h"

#include <algorithm>
#include <array>
#include <optional>

namespace ptxvm {

/// src[1] holds the member mask; the scheduler waits for its lanes.
void Decoder::setWarpSync(Inst &inst) { inst.control = Control::WarpSync; }

void Decoder::decodeShfl() {
  static constexpr std::string_view modes[] = {".up", ".down", ".bfly", ".idx"};
  if (!take(".sync"))
    return fail("expected .sync");
  int mode = -1;
  for (int k = 0; k < 4; ++k)
    if (take(modes[k]))
      mode = k;
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
  int mode = -1;
  for (int k = 0; k < 4; ++k)
    if (take(modes[k]))
      mode = k;
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

void Decoder::decodeBarrierWarp() {
  if (!take(".sync"))
    return fail("expected .sync");
  if (!expectOperands(1, 1))
    return;
  Inst inst = prepared(InstructionClass::Barrier);
  inst.run = handlers::warpBarrier;
  inst.src[1] = source(0, 4);
  setWarpSync(inst);
  program.code.push_back(inst);
}

/// bar.{sync,arrive,red} and barrier.{...}: operands are result, barrier,
/// thread count, predicate, as far as the form has them.
void Decoder::decodeBarrier() {
  if (take(".warp"))
    return decodeBarrierWarp();
  if (take(".cluster"))
    return fail("thread-block clusters are not supported");
  take(".cta");
  bool aligned = take(".aligned") || current->opcode == "bar";
  bool isArrive = take(".arrive"), isRed = take(".red");
  if (!isArrive && !isRed && !take(".sync"))
    return fail("expected .sync, .arrive or .red");
  Inst inst = prepared(InstructionClass::Barrier);
  inst.control = isArrive ? Control::BarrierArrive : Control::Barrier;
  inst.flags = aligned ? barrier::aligned : 0;
  BarrierReduction reduction = BarrierReduction::None;
  if (isRed) {
    reduction = take(".popc")  ? BarrierReduction::PopCount
                : take(".and") ? BarrierReduction::And
                : take(".or")  ? BarrierReduction::Or
                               : BarrierReduction::None;
    bool isCount = reduction == BarrierReduction::PopCount;
    if (reduction == BarrierReduction::None ||
        takeType() != (isCount ? Type::U32 : Type::Pred))
      return fail("expected .popc.u32, .and.pred or .or.pred");
  }
  inst.op = static_cast<uint8_t>(reduction);
  size_t next = isRed ? 1 : 0, total = current->operands.size();
  if (!expectOperands(isRed ? 3 : isArrive ? 2 : 1, isRed ? 4 : 2))
    return;
  inst.src[0] = source(next++, 4);
  if (total - next > (isRed ? 1u : 0u)) {
    inst.src[1] = source(next++, 4);
    inst.flags |= barrier::hasCount;
  }
  if (isRed) {
    inst.dst = reduction == BarrierReduction::PopCount
                   ? destination(0, 4)
                   : predicateDestination(operand(0));
    inst.src[2] = predicateSource(operand(next));
    if (operand(next).negated)
      inst.flags |= barrier::invertPredicate;
  }
  program.code.push_back(inst);
}

void Decoder::decodeBranch() {
  take(".uni");
  if (!expectOperands(1, 1))
    return;
  if (operand(0).kind != Operand::Label)
    return failOperand(0, "a label");
  emit(nullptr, InstructionClass::Control).control = Control::Branch;
  branchPatches.push_back({program.code.size() - 1, operand(0).text});
}

void Decoder::decodeBranchIndexed() {
  if (!take(".idx"))
    return fail("expected .idx");
  take(".uni");
  if (!expectOperands(2, 2))
    return;
  auto targets = function->branchTargets.find(operand(1).text);
  if (targets == function->branchTargets.end())
    return failOperand(1, "a .branchtargets label");
  Ref index = source(0, 4);
  Inst &inst = emit(nullptr, InstructionClass::Control);
  inst.control = Control::BranchIndexed;
  inst.src[0] = index;
  inst.ext = static_cast<uint32_t>(program.branchTables.size());
  program.branchTables.emplace_back();
  for (std::string_view label : targets->second)
    tablePatches.push_back({inst.ext, label});
}

CallSite Decoder::makeCallSite(const Operand *results, const Operand *arguments,
                               const FunctionCode &callee) {
  CallSite site;
  auto copies = [&](const Operand *group, size_t wanted,
                    const std::vector<FunctionCode::Slot> *slots,
                    const char *what) {
    std::vector<CallSite::Copy> list;
    size_t count = group ? group->elements.size() : 0;
    if (count != wanted) {
      fail("expected " + std::to_string(wanted) + " " + what + ", but got " +
           std::to_string(count));
      return list;
    }
    for (size_t k = 0; k < count; ++k) {
      const Operand &element = group->elements[k];
      bool isParam = element.kind == Operand::VariableAddress &&
                     element.variable->space == Space::Param;
      if (!isParam) {
        fail("expected a .param variable, but got '" +
             std::string(element.text) + "'");
        return list;
      }
      uint64_t size = element.variable->size;
      if (slots && (*slots)[k].size != size) {
        fail("expected " + std::string(what) + " of " +
             std::to_string((*slots)[k].size) + " bytes, but got '" +
             element.variable->name + "' of " + std::to_string(size));
        return list;
      }
      list.push_back({static_cast<uint32_t>(element.variable->address),
                      static_cast<uint32_t>(size)});
    }
    return list;
  };
  site.arguments =
      copies(arguments, callee.params.size(), &callee.params, "arguments");
  site.results =
      copies(results, callee.results.size(), &callee.results, "results");
  return site;
}

void Decoder::decodeCall() {
  take(".uni");
  const Operand *results = nullptr, *arguments = nullptr;
  size_t next = 0;
  if (operand(0).kind == Operand::Group)
    results = &operand(next++);
  const Operand &target = operand(next++);
  if (operand(next).kind == Operand::Group)
    arguments = &operand(next++);
  if (target.kind == Operand::FunctionAddress) {
    if (next != current->operands.size())
      return fail("unexpected operand after the arguments");
    size_t index = 0;
    while (program.functions[index].name != target.function->name)
      ++index;
    const FunctionCode &callee = program.functions[index];
    static constexpr std::string_view builtins[] = {"vprintf", "__assertfail"};
    bool known = std::find(std::begin(builtins), std::end(builtins),
                           callee.name) != std::end(builtins);
    if (callee.isEntry || (callee.isBuiltin && !known))
      return fail("function '" + callee.name + "' has no body");
    CallSite site = makeCallSite(results, arguments, callee);
    site.callee = static_cast<int>(index);
    program.calls.push_back(std::move(site));
    Inst &inst = emit(nullptr, InstructionClass::Control);
    inst.control = Control::Call;
    inst.ext = static_cast<uint32_t>(program.calls.size() - 1);
    return;
  }
  auto prototype = function->prototypes.find(operand(next).text);
  if (target.kind != Operand::Register ||
      prototype == function->prototypes.end())
    return fail("expected a function, or a register and a .callprototype, "
                "but got '" +
                std::string(target.text) + "'");
  FunctionCode shape;
  for (uint64_t size : prototype->second.paramSizes)
    shape.params.push_back({0, static_cast<uint32_t>(size)});
  for (uint64_t size : prototype->second.returnSizes)
    shape.results.push_back({0, static_cast<uint32_t>(size)});
  CallSite site = makeCallSite(results, arguments, shape);
  site.target = source(target, 8, "function address");
  program.calls.push_back(std::move(site));
  Inst &inst = emit(nullptr, InstructionClass::Control);
  inst.control = Control::Call;
  inst.ext = static_cast<uint32_t>(program.calls.size() - 1);
}

void Decoder::decodeReturn() {
  take(".uni");
  emit(nullptr, InstructionClass::Control).control =
      code->isEntry ? Control::Exit : Control::Return;
}
void Decoder::decodeExit() {
  emit(nullptr, InstructionClass::Control).control = Control::Exit;
}
void Decoder::decodeTrap() {
  emit(nullptr, InstructionClass::Control).control = Control::Trap;
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
