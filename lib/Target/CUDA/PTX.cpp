// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Target/CUDA/PTX.h"
#include "nag/Target/Lowering.h"

#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

using namespace llvm;
using namespace nag;

/// The PTX ISA that both chips and CUDA 12.0 know.
static constexpr StringLiteral kFeatures = "+ptx80";

static Expected<std::unique_ptr<TargetMachine>> createMachine(StringRef chip) {
  LLVMInitializeNVPTXTarget();
  LLVMInitializeNVPTXTargetInfo();
  LLVMInitializeNVPTXTargetMC();
  LLVMInitializeNVPTXAsmPrinter();
  Triple triple("nvptx64-nvidia-cuda");
  std::string error;
  const llvm::Target *target = TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return createStringError(error);
  TargetOptions options;
  options.AllowFPOpFusion = FPOpFusion::Standard;
  return std::unique_ptr<TargetMachine>(target->createTargetMachine(
      triple, chip, kFeatures, options, Reloc::PIC_));
}

Expected<std::unique_ptr<Module>>
nag::cuda::translateToLLVM(mlir::gpu::GPUModuleOp device, StringRef chip,
                           LLVMContext &context) {
  auto machine = createMachine(chip);
  if (!machine)
    return machine.takeError();
  std::unique_ptr<Module> module =
      mlir::translateModuleToLLVMIR(device, context, "nag");
  if (!module)
    return createStringError("the kernels cannot be translated to LLVM IR");
  module->setTargetTriple((*machine)->getTargetTriple());
  module->setDataLayout((*machine)->createDataLayout());
  optimise(*module, **machine, /*joinScalars=*/false);
  return module;
}

Expected<std::string> nag::cuda::emitPTX(Module &module, StringRef chip) {
  auto machine = createMachine(chip);
  if (!machine)
    return machine.takeError();
  SmallString<0> text;
  raw_svector_ostream os(text);
  legacy::PassManager passes;
  if ((*machine)->addPassesToEmitFile(passes, os, nullptr,
                                      CodeGenFileType::AssemblyFile))
    return createStringError("the NVPTX target writes no PTX text");
  passes.run(module);
  return std::string(text);
}
