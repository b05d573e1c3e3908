// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which registers an instruction reads and writes, and the check that those
// it reads were written.
#include "../Decode/Decoder.h"
#include "State.h"

namespace ptxvm {

static void collectRegisters(const Program &program, const Inst &inst,
                             std::vector<Ref> &reads,
                             std::vector<Ref> &writes) {
  auto add = [](std::vector<Ref> &list, Ref ref) {
    if (ref >> 30 == 0)
      list.push_back(ref);
  };
  add(reads, inst.guard);
  for (Ref ref : inst.src)
    add(reads, ref);
  InstructionClass klass = static_cast<InstructionClass>(inst.klass);
  if (klass == InstructionClass::Mma) {
    const MmaOperands &operands = *reinterpret_cast<MmaOperands *>(inst.imm);
    MmaShape shape = shapeOf(static_cast<MmaKind>(inst.op));
    unsigned accumulators =
        inst.flags & mma::halfAccumulators ? shape.accRegs / 2 : shape.accRegs;
    for (unsigned k = 0; k < shape.aRegs; ++k)
      add(reads, operands.a[k]);
    for (unsigned k = 0; k < shape.bRegs; ++k)
      add(reads, operands.b[k]);
    for (unsigned k = 0; k < accumulators; ++k) {
      add(reads, operands.c[k]);
      add(writes, operands.d[k]);
    }
    return;
  }
  bool isStore = inst.run && (inst.run == handlers::storeAny ||
                              inst.run == handlers::storeMatrix ||
                              inst.run == handlers::storeHandler(inst.size));
  bool isLoad = inst.run == handlers::loadAny ||
                inst.run == handlers::loadParam ||
                inst.run == handlers::loadMatrix;
  if (inst.run == handlers::atomic) {
    const auto &list = program.lists[inst.ext];
    for (size_t k = 0; k < list.size(); ++k)
      add(k < inst.count ? reads : writes, list[k]);
    return;
  }
  if (isStore || isLoad)
    for (Ref ref : program.lists[inst.ext])
      add(isStore ? reads : writes, ref);
  if (!isStore) {
    add(writes, inst.dst);
    add(writes, inst.dst2);
  }
}

void findRegisterUses(Program &program) {
  std::vector<Ref> reads, writes;
  program.registerUses.reserve(program.code.size() + 1);
  for (const Inst &inst : program.code) {
    reads.clear();
    writes.clear();
    collectRegisters(program, inst, reads, writes);
    auto &list = program.registerLists;
    program.registerUses.push_back({static_cast<uint32_t>(list.size()),
                                    static_cast<uint32_t>(reads.size())});
    list.insert(list.end(), reads.begin(), reads.end());
    list.insert(list.end(), writes.begin(), writes.end());
  }
  program.registerUses.push_back(
      {static_cast<uint32_t>(program.registerLists.size()), 0});
}

void BlockRunner::checkRegisters(Warp &warp, const Inst &inst, uint32_t pc,
                                 uint32_t mask) {
  RegisterUse use = program.registerUses[pc];
  const Ref *reads = program.registerLists.data() + use.first;
  const Ref *writes = reads + use.reads;
  const Ref *end =
      program.registerLists.data() + program.registerUses[pc + 1].first;
  uint32_t *written = warp.writtenRegisters.data() + warp.frameOffset / 4;
  for (const Ref *ref = reads; ref != writes; ++ref) {
    uint32_t wanted = *ref == inst.guard ? warp.active : mask;
    uint32_t missing = wanted & ~written[*ref / 4];
    if (!missing)
      continue;
    unsigned lane = static_cast<unsigned>(__builtin_ctz(missing));
    block.report(FindingKind::UninitializedRegister, inst.line,
                 warp.thread(lane), 0, "register read before it was written");
    written[*ref / 4] |= missing;
  }
  for (const Ref *ref = writes; ref != end; ++ref)
    written[*ref / 4] |= mask;
}

} // namespace ptxvm
