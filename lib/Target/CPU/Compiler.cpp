// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Target/CPU/Compiler.h"
#include "nag/Pipelines/CPUPrecision.h"
#include "nag/Target/Lowering.h"

#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/ExecutionEngine/Orc/JITTargetMachineBuilder.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/SmallVectorMemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"

using namespace llvm;
using namespace nag;
using namespace nag::cpu;

void nag::cpu::registerTranslations(mlir::DialectRegistry &registry) {
  mlir::registerAllToLLVMIRTranslations(registry);
}

/// The widest vectors that generated code is to use.
static int64_t getVectorBits(const CompileOptions &options) {
  bool isWide = sys::getHostCPUFeatures().lookup("avx512f");
  return std::min<int64_t>(options.pipeline.vectorBits, isWide ? 512 : 256);
}

Expected<Manifest> nag::cpu::lowerToLLVMDialect(mlir::ModuleOp program,
                                                const CompileOptions &options) {
  auto plan = [&](mlir::OpPassManager &manager) {
    if (options.differentiate && needsTraining(program, options.training))
      buildTrainingPipeline(manager, options.training);
    buildCPUPrecisionPipeline(manager);
    buildPlanPipeline(manager, options.pipeline);
  };
  if (Error error = runPipeline(program, plan))
    return error;
  Expected<Manifest> manifest = buildManifest(program);
  if (!manifest)
    return manifest.takeError();
  if (Error error = runPipeline(program, [&](mlir::OpPassManager &manager) {
        ProgramPipelineOptions pipeline;
        pipeline.copyOptionValuesFrom(options.pipeline);
        pipeline.vectorBits = getVectorBits(options);
        buildCPUCodegenPipeline(manager, pipeline);
      }))
    return error;
  return manifest;
}

/// The code generator for the processor this runs on.
static Expected<std::unique_ptr<TargetMachine>> createHostMachine() {
  InitializeNativeTarget();
  InitializeNativeTargetAsmPrinter();
  auto builder = orc::JITTargetMachineBuilder::detectHost();
  if (!builder)
    return builder.takeError();
  builder->setRelocationModel(Reloc::PIC_);
  builder->setCodeGenOptLevel(CodeGenOptLevel::Default);
  return builder->createTargetMachine();
}

/// Every function is compiled for the processor's own vectors; 512-bit ones
/// where it has them.
static void setTarget(Module &module, TargetMachine &machine) {
  module.setTargetTriple(machine.getTargetTriple());
  module.setDataLayout(machine.createDataLayout());
  for (Function &function : module) {
    function.addFnAttr("target-cpu", machine.getTargetCPU());
    function.addFnAttr("target-features", machine.getTargetFeatureString());
    function.addFnAttr("prefer-vector-width", "512");
    function.addFnAttr("frame-pointer", "none");
  }
}

Expected<std::unique_ptr<Module>>
nag::cpu::translateToLLVM(mlir::ModuleOp program, LLVMContext &context) {
  auto machine = createHostMachine();
  if (!machine)
    return machine.takeError();
  std::unique_ptr<Module> module =
      mlir::translateModuleToLLVMIR(program, context, "nag");
  if (!module)
    return createStringError("the module cannot be translated to LLVM IR");
  setTarget(*module, **machine);
  optimise(*module, **machine, /*joinScalars=*/true);
  return module;
}

Expected<SmallVector<char, 0>> nag::cpu::emitObject(Module &module) {
  auto machine = createHostMachine();
  if (!machine)
    return machine.takeError();
  SmallVector<char, 0> bytes;
  raw_svector_ostream os(bytes);
  legacy::PassManager passes;
  if ((*machine)->addPassesToEmitFile(passes, os, nullptr,
                                      CodeGenFileType::ObjectFile))
    return createStringError("this processor's target writes no object files");
  passes.run(module);
  return bytes;
}
