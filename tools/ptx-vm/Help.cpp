// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Help.h"
#include "Version.h"

#include "llvm/ADT/StringSwitch.h"

using namespace llvm;

static constexpr StringLiteral kRunExamples = R"(
EXAMPLES:
  ptx-vm run K.ptx --grid 8 --block 128 --arg s32:1000 --arg f32[1000]:iota --arg f32[1000]:zero --print 2:4
  ptx-vm run K.ptx --entry saxpy --arg npy:x.npy --arg f32[1024]:zero --out 1=y.npy --json
  ptx-vm run K.ptx --check=races,barriers --arg f32[256]:random=7 --counters

EXIT STATUS:
  0 the kernel ran and nothing was found; 1 a finding, a trap or PTX that is refused; 2 wrong use
)";
static constexpr StringLiteral kListExamples = R"(
EXAMPLES:
  ptx-vm list K.ptx
)";
static constexpr StringLiteral kExecExamples = R"(
EXAMPLES:
  ptx-vm exec -- ./program arguments
  ptx-vm exec --chip=sm_80 --check=bounds,races --findings-file=findings.jsonl -- python3 script.py

EXIT STATUS:
  the program's; 1 when that was 0 and a check found something; 2 wrong use
)";
static constexpr StringLiteral kExamples = R"(
EXAMPLES:
  ptx-vm list K.ptx
  ptx-vm run K.ptx --entry saxpy --grid 8 --block 128 --arg f32[1024]:iota --print 0:4
  ptx-vm exec -- ./program arguments
  ptx-vm SUBCOMMAND --help
)";

static StringRef getExamples(StringRef command) {
  return StringSwitch<StringRef>(command)
      .Case("run", kRunExamples)
      .Case("list", kListExamples)
      .Case("exec", kExecExamples)
      .Default(kExamples);
}

void ptxvm_tool::setUpHelp(StringRef command) {
  nag::tool::hideLibraryOptions();
  cl::SetVersionPrinter(
      [](raw_ostream &os) { nag::tool::printBuild("ptx-vm", os); });
  static cl::extrahelp examples(getExamples(command));
}
